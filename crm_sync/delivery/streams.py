"""Streams of the outbox, for people: each case's messages to one CRM in their order, and what holds them up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, LiteralString

from psycopg.rows import class_row

from crm_sync.delivery.queries import Connection
from crm_sync.delivery.records import MessageState

Waits = Literal["nothing", "person", "endpoint_off", "endpoint_paused", "answer", "attempt"]
"""What the head of a stream waits for; what is behind it waits for the head."""

MOST_MESSAGES: Final = 20
"""Of one stream, from its head on; of a single case's its last ones, from its head on where that is further back."""


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """One message of a stream; all instants are real time."""

    stream_id: int
    seq: int
    message_id: str
    type: str
    state: MessageState
    reason: str | None
    created_at: datetime
    attempts: int
    last_result: str | None
    last_code: str | None
    last_status: int | None


@dataclass(frozen=True, slots=True)
class _Row:
    stream_id: int
    endpoint: str
    case_id: str
    state: Literal["live", "parked"]
    head_seq: int
    last_seq: int
    next_attempt_at: datetime | None
    is_leased: bool
    disabled_at: datetime | None
    paused_until: datetime | None


@dataclass(frozen=True, slots=True)
class Stream:
    """What one CRM is told of one case, and how far it has come."""

    stream_id: int
    endpoint: str
    case_id: str
    head_seq: int
    waiting: int  # messages that are not delivered, the head among them
    waits: Waits
    until: datetime | None  # when it is tried next, where that is known
    messages: Sequence[StreamMessage]

    def is_behind(self, message: StreamMessage) -> bool:
        """Whether a message waits for the head, which goes before it."""
        return message.state == "pending" and message.seq > self.head_seq


@dataclass(frozen=True, slots=True)
class StreamPage:
    """Some streams, the newest first, and the cursor of the next page."""

    items: Sequence[Stream]
    next: int | None


_STREAMS: Final[LiteralString] = """
SELECT s.stream_id, s.endpoint, s.stream_key AS case_id, s.state, s.head_seq, s.next_seq - 1 AS last_seq,
       CASE WHEN s.next_attempt_at > clock_timestamp() THEN s.next_attempt_at END AS next_attempt_at,
       coalesce(s.leased_until > clock_timestamp(), false) AS is_leased,
       e.disabled_at, CASE WHEN e.paused_until > clock_timestamp() THEN e.paused_until END AS paused_until
  FROM outbox_stream s
  LEFT JOIN endpoint_state e ON (e.tenant_id, e.endpoint) = (s.tenant_id, s.endpoint)
 WHERE s.tenant_id = %(tenant_id)s AND (%(below)s::bigint IS NULL OR s.stream_id < %(below)s)
   AND (%(endpoint)s::text IS NULL OR s.endpoint = %(endpoint)s) AND {which}
 ORDER BY s.stream_id DESC
 LIMIT %(limit)s
"""
_WAITING: Final[LiteralString] = "s.head_seq < s.next_seq"
_OF_CASE: Final[LiteralString] = "s.stream_key = %(case_id)s"
CASES_STREAMS: Final[LiteralString] = _STREAMS.format(which=_OF_CASE)

_MESSAGES: Final[LiteralString] = """
SELECT m.stream_id, m.seq, m.message_id, m.type, m.state, m.reason, m.created_at,
       a.attempts, d.result AS last_result, d.code AS last_code, d.status AS last_status
  FROM unnest(%(streams)s::bigint[], %(since)s::bigint[]) AS wanted (stream_id, since_seq)
 CROSS JOIN LATERAL (
       SELECT * FROM outbox_message m
        WHERE m.stream_id = wanted.stream_id AND m.seq >= wanted.since_seq ORDER BY m.seq LIMIT %(most)s
       ) AS m
 CROSS JOIN LATERAL (
       SELECT count(*)::int AS attempts, max(attempt_id) AS last_id FROM delivery_attempt
        WHERE message_id = m.message_id
       ) AS a
  LEFT JOIN delivery_attempt d ON d.attempt_id = a.last_id
 ORDER BY m.stream_id, m.seq
"""


async def list_streams(  # noqa: PLR0917 - whose, which, and which page
    conn: Connection,
    tenant_id: str,
    case_id: str | None = None,
    endpoint: str | None = None,
    cursor: int | None = None,
    limit: int = 50,
) -> StreamPage:
    """A page of the streams in which something waits, the newest first; of one case all, done or not."""
    query = _STREAMS.format(which=_WAITING) if case_id is None else CASES_STREAMS
    values = {"tenant_id": tenant_id, "case_id": case_id, "endpoint": endpoint, "below": cursor, "limit": limit + 1}
    async with conn.cursor(row_factory=class_row(_Row)) as rows:
        found = await (await rows.execute(query, values)).fetchall()
    streams = found[:limit]
    messages = await _messages(conn, streams, from_head=case_id is None)
    items = [_shown(row, [each for each in messages if each.stream_id == row.stream_id]) for row in streams]
    return StreamPage(items, streams[-1].stream_id if len(found) > limit else None)


async def _messages(conn: Connection, streams: Sequence[_Row], *, from_head: bool) -> list[StreamMessage]:
    values = {
        "streams": [row.stream_id for row in streams],
        "since": [
            row.head_seq if from_head else min(row.head_seq, row.last_seq - MOST_MESSAGES + 1) for row in streams
        ],
        "most": MOST_MESSAGES,
    }
    async with conn.cursor(row_factory=class_row(StreamMessage)) as rows:
        return await (await rows.execute(_MESSAGES, values)).fetchall()


def _shown(row: _Row, messages: Sequence[StreamMessage]) -> Stream:
    waits, until = _waits(row)
    waiting = row.last_seq - row.head_seq + 1
    return Stream(row.stream_id, row.endpoint, row.case_id, row.head_seq, waiting, waits, until, messages)


def _waits(row: _Row) -> tuple[Waits, datetime | None]:
    if row.head_seq > row.last_seq:
        return "nothing", None
    if row.state == "parked":
        return "person", None
    if row.disabled_at is not None:
        return "endpoint_off", None
    if row.is_leased:
        return "answer", None
    if row.paused_until is not None:
        return "endpoint_paused", row.paused_until
    return "attempt", row.next_attempt_at
