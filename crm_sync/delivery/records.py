"""What the outbox holds, for people: lists, one delivery in full, counts."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final, Literal, cast

import msgspec
from psycopg.rows import class_row, tuple_row

from crm_sync.delivery.queries import Connection
from crm_sync.owner_link import without_links

MessageState = Literal["pending", "delivered", "dead", "withdrawn"]


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which messages; None leaves a question open."""

    state: MessageState | None = None
    endpoint: str | None = None
    case_id: str | None = None
    type: str | None = None
    since: datetime | None = None  # written at or after
    until: datetime | None = None  # written before


_OF_THE_OWNER: Final = frozenset({"owner_ref", "account_ref", "outreach"})
"""Fields of messages that not everybody who may look at deliveries is to see."""

EVERYTHING: Final = DeliveryFilter()


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """One message and how far it has come; all instants are real time."""

    number: int  # rises with each message written; the cursor of lists
    message_id: str
    endpoint: str
    case_id: str
    seq: int
    type: str
    state: MessageState
    reason: str | None  # why it is dead or withdrawn
    stream: Literal["live", "parked"]  # parked: a dead message before it, or itself, waits for a person
    endpoint_disabled: bool
    created_at: datetime
    settled_at: datetime | None
    next_attempt_at: datetime | None  # of its stream, while the message is the next one; null: waits behind another
    attempts: int
    replayed: int
    last_result: str | None
    last_code: str | None
    last_status: int | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request and its answer."""

    started_at: datetime
    settled_at: datetime | None
    result: str | None  # null: under way, or its worker died and the lease has not ended yet
    code: str | None
    field: str | None
    status: int | None
    duration_s: float | None
    detail: str | None
    answer: str | None  # redacted
    request: str | None  # what a CRM did not take, where an adapter makes several calls; redacted


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """One message in full, but for the owner's link."""

    summary: DeliverySummary
    external_id: str | None
    body: str
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Some messages, the newest first, and the cursor of the next page."""

    items: tuple[DeliverySummary, ...]
    next: int | None


_LIST = """
SELECT m.number, m.message_id, s.endpoint, s.stream_key AS case_id, m.seq, m.type, m.state, m.reason,
       s.state AS stream, e.disabled_at IS NOT NULL AS endpoint_disabled, m.created_at, m.settled_at,
       CASE WHEN m.state = 'pending' AND m.seq = s.head_seq AND s.state = 'live'
            THEN greatest(s.next_attempt_at, m.created_at) END AS next_attempt_at,
       a.attempts, m.replayed, d.result AS last_result, d.code AS last_code, d.status AS last_status
  FROM outbox_message m
  JOIN outbox_stream s USING (stream_id)
  LEFT JOIN endpoint_state e ON (e.tenant_id, e.endpoint) = (s.tenant_id, s.endpoint)
 CROSS JOIN LATERAL (
       SELECT count(*)::int AS attempts, max(attempt_id) AS last_id
         FROM delivery_attempt
        WHERE message_id = m.message_id
       ) AS a
  LEFT JOIN delivery_attempt d ON d.attempt_id = a.last_id
 WHERE m.tenant_id = %(tenant_id)s
   AND (%(state)s::text IS NULL OR m.state = %(state)s)
   AND (%(endpoint)s::text IS NULL OR s.endpoint = %(endpoint)s)
   AND (%(case_id)s::text IS NULL OR s.stream_key = %(case_id)s)
   AND (%(type)s::text IS NULL OR m.type = %(type)s)
   AND (%(since)s::timestamptz IS NULL OR m.created_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR m.created_at < %(until)s)
   AND (%(message_id)s::text IS NULL OR m.message_id = %(message_id)s)
   AND (%(below)s::bigint IS NULL OR m.number < %(below)s)
 ORDER BY m.number DESC
 LIMIT %(limit)s
"""


async def list_deliveries(
    conn: Connection,
    tenant_id: str,
    which: DeliveryFilter = EVERYTHING,
    *,
    cursor: int | None = None,
    limit: int = 100,
) -> DeliveryPage:
    """A page of messages, the newest first; `cursor` is the `next` of the page before."""
    found = await _list(conn, tenant_id, which, below=cursor, limit=limit + 1)
    items = found[:limit]
    return DeliveryPage(tuple(items), items[-1].number if len(found) > limit else None)


async def _list(
    conn: Connection,
    tenant_id: str,
    which: DeliveryFilter,
    *,
    message_id: str | None = None,
    below: int | None = None,
    limit: int,
) -> list[DeliverySummary]:
    values = {
        **asdict(which),
        "tenant_id": tenant_id,
        "message_id": message_id,
        "below": below,
        "limit": limit,
    }
    async with conn.cursor(row_factory=class_row(DeliverySummary)) as cursor:
        await cursor.execute(_LIST, values)
        return await cursor.fetchall()


_ATTEMPTS = """
SELECT started_at, settled_at, result, code, field, status, duration_s, detail, answer, request
  FROM delivery_attempt
 WHERE message_id = %s
 ORDER BY attempt_id
"""

_BODY = """
SELECT m.body, x.external_id
  FROM outbox_message m
  JOIN outbox_stream s USING (stream_id)
  LEFT JOIN external_ref x ON (x.tenant_id, x.endpoint, x.case_id) = (s.tenant_id, s.endpoint, s.stream_key)
 WHERE m.message_id = %s
"""


async def get_delivery(
    conn: Connection, tenant_id: str, message_id: str, *, names_owner: bool = True
) -> DeliveryDetail | None:
    """One message with all its attempts, or None; nobody sees the link by which its owner answers."""
    found = await _list(conn, tenant_id, EVERYTHING, message_id=message_id, limit=1)
    if not found:
        return None
    async with conn.cursor(row_factory=class_row(Attempt)) as cursor:
        await cursor.execute(_ATTEMPTS, [message_id])
        attempts = [_shown(each, names_owner=names_owner) for each in await cursor.fetchall()]
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_BODY, [message_id])
        ((body, external_id),) = await cursor.fetchall()
    text = without_links(bytes(body).decode())
    return DeliveryDetail(found[0], external_id, text if names_owner else _nameless(text), tuple(attempts))


def _shown(attempt: Attempt, *, names_owner: bool) -> Attempt:
    """An attempt without links; whoever is not to see the owner sees no more of a request than method and path."""
    asked = without_links(attempt.request or "")
    if not names_owner:
        asked = asked.partition("\n")[0].partition("?")[0]
    detail, answer = without_links(attempt.detail or ""), without_links(attempt.answer or "")
    return replace(attempt, detail=detail or None, answer=answer or None, request=asked or None)


def _nameless(body: str) -> str:
    """A message without its owner and what is said to them."""
    return msgspec.json.encode(_masked(msgspec.json.decode(body))).decode()


def _masked(told: object) -> object:
    if isinstance(told, dict):
        fields = cast("dict[str, object]", told)
        return {
            name: "…" if name in _OF_THE_OWNER and value is not None else _masked(value)
            for name, value in fields.items()
        }
    return [_masked(each) for each in cast("list[object]", told)] if isinstance(told, list) else told


# From one name to the next by the index: there are few, and a stream for each case.
_ENDPOINTS = """
WITH RECURSIVE named AS (
    SELECT min(endpoint) AS endpoint FROM outbox_stream WHERE tenant_id = %(tenant_id)s
    UNION ALL
    SELECT (SELECT min(s.endpoint) FROM outbox_stream s
             WHERE s.tenant_id = %(tenant_id)s AND s.endpoint > named.endpoint)
      FROM named WHERE named.endpoint IS NOT NULL
)
SELECT n.endpoint,
       (SELECT count(*) FROM outbox_stream s
         WHERE s.tenant_id = %(tenant_id)s AND s.state = 'parked' AND s.endpoint = n.endpoint)::int AS parked,
       e.disabled_at, e.disabled_reason, e.paused_until, e.failing_since,
       e.not_let_in_since
  FROM named n
  LEFT JOIN endpoint_state e ON (e.tenant_id, e.endpoint) = (%(tenant_id)s, n.endpoint)
 WHERE n.endpoint IS NOT NULL
 ORDER BY n.endpoint
"""


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """How an endpoint that has ever been written to is doing."""

    endpoint: str
    parked: int  # cases whose announcement is dead
    disabled_at: datetime | None
    disabled_reason: str | None
    paused_until: datetime | None
    failing_since: datetime | None
    not_let_in_since: datetime | None  # it refuses our credentials, and is asked every 15 minutes at most


async def list_endpoints(conn: Connection, tenant_id: str) -> list[EndpointStatus]:
    """Every endpoint that has ever been written to."""
    async with conn.cursor(row_factory=class_row(EndpointStatus)) as cursor:
        await cursor.execute(_ENDPOINTS, {"tenant_id": tenant_id})
        return await cursor.fetchall()
