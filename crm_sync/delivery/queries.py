"""Claiming and settling streams; every function runs in its caller's transaction, and times are real seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, tuple_row

from crm_sync.adapters.contract import Outcome
from crm_sync.outbox import QueuedMessage
from crm_sync.settings import MessageType

Connection = AsyncConnection[Any]

MAX_TEXT_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Claim:
    """One stream's head, lent to one worker until its lease ends."""

    stream_id: int
    lease_token: int
    failures: int
    message: QueuedMessage
    external_id: str | None
    attempts: int  # requests made for this message so far
    uncertain: bool  # one of them may have succeeded, whatever was answered
    asked_s: float | None = None  # when the last of those was heard of
    overtaken: bool = False  # a message that was written later has been delivered
    lost_leases: int = 0  # in a row: its workers died, or could not settle it
    stumbling_since_s: float | None = None  # the policy has failed over it since
    parent_id: str | None = None  # what the endpoint calls the major case that the message names


_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT stream.stream_id
      FROM unnest(%(endpoints)s::text[], %(rooms)s::int[]) AS ready (endpoint, room)
      LEFT JOIN endpoint_state e ON e.tenant_id = %(tenant_id)s AND e.endpoint = ready.endpoint
     CROSS JOIN LATERAL (
           SELECT s.stream_id
             FROM outbox_stream s
            WHERE s.tenant_id = %(tenant_id)s AND s.endpoint = ready.endpoint AND s.state = 'live'
              AND s.next_attempt_at <= to_timestamp(%(now_s)s)
              AND (s.leased_until IS NULL OR s.leased_until <= to_timestamp(%(now_s)s))
            ORDER BY s.next_attempt_at, s.stream_id
            LIMIT ready.room
              FOR UPDATE SKIP LOCKED
           ) AS stream
     WHERE e.disabled_at IS NULL AND (e.paused_until IS NULL OR e.paused_until <= to_timestamp(%(now_s)s))
)
UPDATE outbox_stream s
   SET leased_until = to_timestamp(%(now_s)s + %(lease_s)s), lease_token = s.lease_token + 1,
       lost_leases = s.lost_leases + (s.leased_until IS NOT NULL)::int  -- whoever settles a claim gives the lease back
  FROM due
 WHERE s.stream_id = due.stream_id
RETURNING s.stream_id
"""

_HEADS = """
SELECT s.stream_id, s.lease_token, s.failures,
       s.tenant_id, s.endpoint, s.stream_key, m.seq, m.message_id, m.type, m.body, m.created_at,
       x.external_id, a.attempts, a.asked_s IS NOT NULL, a.asked_s,
       s.lost_leases, extract(epoch FROM s.stumbling_since)::float8,
       parent.external_id,
       m.replayed > 0 AND said.data ->> 'outreach' IS NULL AND EXISTS (
              SELECT FROM outbox_message n
               WHERE n.stream_id = s.stream_id AND n.state = 'delivered' AND n.number > m.number)
  FROM outbox_stream s
  JOIN outbox_message m ON m.stream_id = s.stream_id AND m.seq = s.head_seq
  LEFT JOIN external_ref x ON (x.tenant_id, x.endpoint, x.case_id) = (s.tenant_id, s.endpoint, s.stream_key)
 CROSS JOIN LATERAL (SELECT convert_from(m.body, 'UTF8')::json -> 'data' AS data) AS said
  LEFT JOIN external_ref parent ON (parent.tenant_id, parent.endpoint) = (s.tenant_id, s.endpoint)
        AND parent.case_id = coalesce(said.data ->> 'parent', said.data ->> 'left')
 CROSS JOIN LATERAL (
       SELECT count(*) AS attempts,
              extract(epoch FROM max(coalesce(d.settled_at, d.started_at)) FILTER (
                      WHERE d.result IS NULL OR d.result = 'unknown' OR d.status IS NOT NULL))::float8 AS asked_s
         FROM delivery_attempt d
        WHERE d.message_id = m.message_id
       ) AS a
 WHERE s.stream_id = ANY(%s)
"""


async def claim(
    conn: Connection, tenant_id: str, rooms: Mapping[str, int], *, now_s: float, lease_s: float
) -> list[Claim]:
    """Lease due streams, at most as many of each endpoint as there is room for."""
    values = {
        "tenant_id": tenant_id,
        "endpoints": list(rooms),
        "rooms": list(rooms.values()),
        "now_s": now_s,
        "lease_s": lease_s,
    }
    stream_ids = [row[0] for row in await _rows(conn, _CLAIM, values)]
    return [_claim(row) for row in await _rows(conn, _HEADS, [stream_ids])] if stream_ids else []


def _claim(row: TupleRow) -> Claim:
    tenant_id, endpoint, stream_key, seq, message_id, kind, body, created_at = row[3:11]
    return Claim(
        stream_id=row[0],
        lease_token=row[1],
        failures=row[2],
        message=QueuedMessage(
            tenant_id, endpoint, stream_key, seq, message_id, MessageType(kind), bytes(body), created_at
        ),
        external_id=row[11],
        attempts=row[12],
        uncertain=row[13],
        asked_s=row[14],
        lost_leases=row[15],
        stumbling_since_s=row[16],
        parent_id=row[17],
        overtaken=row[18],
    )


_BEGIN_ATTEMPT = """
INSERT INTO delivery_attempt (tenant_id, message_id, lease_token, started_at)
SELECT tenant_id, %s, lease_token, to_timestamp(%s)
  FROM outbox_stream
 WHERE stream_id = %s AND lease_token = %s AND leased_until IS NOT NULL
RETURNING attempt_id
"""

_LOSE_OTHERS = """
UPDATE delivery_attempt
   SET result = 'unknown', code = 'worker_lost', settled_at = to_timestamp(%s)
 WHERE message_id = %s AND attempt_id <> %s AND result IS NULL
"""


async def begin_attempt(conn: Connection, claimed: Claim, now_s: float) -> int | None:
    """Note that a request is about to leave; None when the lease is another's by now.

    An earlier attempt that never came back belonged to a worker that died.
    """
    message_id = claimed.message.message_id
    rows = await _rows(conn, _BEGIN_ATTEMPT, [message_id, now_s, claimed.stream_id, claimed.lease_token])
    if not rows:
        return None
    attempt_id = int(rows[0][0])
    if claimed.attempts > 0:
        await conn.execute(_LOSE_OTHERS, [now_s, message_id, attempt_id])
    return attempt_id


_LOSE_ALL = """
UPDATE delivery_attempt SET result = 'unknown', code = 'worker_lost', settled_at = to_timestamp(%s)
 WHERE message_id = %s AND result IS NULL
"""


async def lose_attempts(conn: Connection, claimed: Claim, now_s: float) -> None:
    """Note that nobody will settle the attempts of a message that is given up."""
    await conn.execute(_LOSE_ALL, [now_s, claimed.message.message_id])


_SETTLE_ATTEMPT = """
UPDATE delivery_attempt
   SET settled_at = to_timestamp(%(now_s)s), result = %(result)s, code = %(code)s, field = %(field)s,
       status = %(status)s, duration_s = %(duration_s)s, detail = %(detail)s, answer = %(answer)s,
       request = nullif(%(request)s, '')
 WHERE attempt_id = %(attempt_id)s AND result IS NULL
"""


async def settle_attempt(
    conn: Connection, attempt_id: int, outcome: Outcome, *, now_s: float, duration_s: float
) -> None:
    """Note what became of a request."""
    values = {
        "attempt_id": attempt_id,
        "now_s": now_s,
        "result": outcome.result.value,
        "code": _storable(outcome.code),
        "field": None if outcome.field is None else _storable(outcome.field),
        "status": outcome.status,
        "duration_s": duration_s,
        "detail": _storable(outcome.detail),
        "answer": _storable(outcome.answer),
        "request": _storable(outcome.request),
    }
    await conn.execute(_SETTLE_ATTEMPT, values)


def _storable(text: str) -> str:
    """What PostgreSQL can hold of a text from outside: an adapter's oddity must not keep its message unsettled."""
    return text.replace("\x00", "").encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")


_ADVANCE = """
UPDATE outbox_stream
   SET head_seq = head_seq + 1, failures = 0, leased_until = NULL, lost_leases = 0, stumbling_since = NULL,
       next_attempt_at = CASE WHEN head_seq + 1 < next_seq THEN 'epoch'::timestamptz END
 WHERE stream_id = %s AND lease_token = %s AND leased_until IS NOT NULL
RETURNING stream_id
"""

_SETTLE_MESSAGE = """
UPDATE outbox_message SET state = %s, reason = %s, settled_at = to_timestamp(%s) WHERE message_id = %s
"""


async def advance(
    conn: Connection,
    claimed: Claim,
    state: Literal["delivered", "dead", "withdrawn"],
    *,
    reason: str | None,
    now_s: float,
) -> bool:
    """Settle the head and go on to the next message; False, and nothing done, when the lease is another's by now."""
    if not await _rows(conn, _ADVANCE, [claimed.stream_id, claimed.lease_token]):
        return False
    await conn.execute(_SETTLE_MESSAGE, [state, reason, now_s, claimed.message.message_id])
    return True


_PARK = """
UPDATE outbox_stream
   SET state = 'parked', failures = 0, leased_until = NULL, next_attempt_at = NULL, lost_leases = 0,
       stumbling_since = NULL
 WHERE stream_id = %s AND lease_token = %s AND leased_until IS NOT NULL
RETURNING stream_id
"""


async def park(conn: Connection, claimed: Claim, *, reason: str, now_s: float) -> bool:
    """Settle the head as dead and keep what is behind it; False when the lease is another's by now."""
    if not await _rows(conn, _PARK, [claimed.stream_id, claimed.lease_token]):
        return False
    await conn.execute(_SETTLE_MESSAGE, ["dead", reason, now_s, claimed.message.message_id])
    return True


_RESCHEDULE = """
UPDATE outbox_stream
   SET failures = %s, leased_until = NULL, next_attempt_at = to_timestamp(%s), lost_leases = 0,
       stumbling_since = to_timestamp(%s)
 WHERE stream_id = %s AND lease_token = %s AND leased_until IS NOT NULL
RETURNING stream_id
"""


async def reschedule(
    conn: Connection, claimed: Claim, *, failures: int, next_attempt_s: float, stumbling_since_s: float | None = None
) -> bool:
    """Try the head again later; False when the lease is another's by now."""
    values = [failures, next_attempt_s, stumbling_since_s, claimed.stream_id, claimed.lease_token]
    return bool(await _rows(conn, _RESCHEDULE, values))


_NOTE_SUCCESS = """
UPDATE endpoint_state
   SET failing_since = NULL, failed_attempts = 0, not_let_in_since = NULL
 WHERE tenant_id = %s AND endpoint = %s AND failing_since IS NOT NULL
"""


async def note_success(conn: Connection, tenant_id: str, endpoint: str) -> None:
    """The endpoint took something."""
    await conn.execute(_NOTE_SUCCESS, [tenant_id, endpoint])


_STANDING = """
SELECT failing_since IS NOT NULL, extract(epoch FROM not_let_in_since)::float8
  FROM endpoint_state WHERE tenant_id = %s AND endpoint = %s
   FOR UPDATE
"""


async def standing_of(conn: Connection, tenant_id: str, endpoint: str) -> tuple[bool, float | None]:
    """Whether an endpoint has taken nothing since it last failed, and since when it refuses who careloop is.

    It is locked: what others are told of it meanwhile comes after what follows from this, and undoes it.
    """
    rows = await _rows(conn, _STANDING, [tenant_id, endpoint])
    return (rows[0][0], rows[0][1]) if rows else (False, None)


_NOTE_NOT_LET_IN = """
UPDATE endpoint_state e
   SET failed_attempts = 0,  -- a refusal is no failure to be disabled for
       not_let_in_since = coalesce(e.not_let_in_since, to_timestamp(%s))
  FROM endpoint_state before
 WHERE (e.tenant_id, e.endpoint) = (%s, %s) AND (before.tenant_id, before.endpoint) = (e.tenant_id, e.endpoint)
RETURNING before.not_let_in_since IS NULL
"""


async def note_not_let_in(conn: Connection, tenant_id: str, endpoint: str, now_s: float) -> bool:
    """An endpoint that was just noted to fail refuses who careloop is; whether that is news."""
    return (await _rows(conn, _NOTE_NOT_LET_IN, [now_s, tenant_id, endpoint]))[0][0]


_NOTE_FAILURE = """
INSERT INTO endpoint_state AS e (tenant_id, endpoint, failing_since, failed_attempts, paused_until)
VALUES (%(tenant_id)s, %(endpoint)s, to_timestamp(%(now_s)s), 1, to_timestamp(%(pause_until_s)s))
ON CONFLICT (tenant_id, endpoint) DO UPDATE
   SET failing_since = coalesce(e.failing_since, excluded.failing_since),
       failed_attempts = e.failed_attempts + 1,
       paused_until = greatest(e.paused_until, excluded.paused_until)
RETURNING extract(epoch FROM e.failing_since)::float8, e.failed_attempts, e.disabled_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class FailingEndpoint:
    """How long an endpoint has been doing nothing but fail."""

    since_s: float
    attempts: int
    disabled: bool


async def note_failure(
    conn: Connection, tenant_id: str, endpoint: str, *, now_s: float, pause_until_s: float | None
) -> FailingEndpoint:
    """The endpoint did not take something, and may have asked to be left alone until some time."""
    values = {"tenant_id": tenant_id, "endpoint": endpoint, "now_s": now_s, "pause_until_s": pause_until_s}
    (row,) = await _rows(conn, _NOTE_FAILURE, values)
    return FailingEndpoint(*row)


_DISABLE = """
UPDATE endpoint_state
   SET disabled_at = to_timestamp(%s), disabled_reason = %s
 WHERE tenant_id = %s AND endpoint = %s AND disabled_at IS NULL
RETURNING endpoint
"""


async def disable(conn: Connection, tenant_id: str, endpoint: str, *, reason: str, now_s: float) -> bool:
    """Stop delivering to an endpoint that has a state; False when it was disabled already."""
    return bool(await _rows(conn, _DISABLE, [now_s, reason, tenant_id, endpoint]))


_RECORD_EXTERNAL_ID = """
INSERT INTO external_ref AS x (tenant_id, endpoint, case_id, external_id, recorded_at)
VALUES (%s, %s, %s, %s, to_timestamp(%s))
ON CONFLICT (tenant_id, endpoint, case_id) DO UPDATE
   SET external_id = excluded.external_id, recorded_at = excluded.recorded_at
 WHERE x.external_id <> excluded.external_id
"""


async def record_external_id(
    conn: Connection, tenant_id: str, endpoint: str, case_id: str, external_id: str, *, now_s: float
) -> None:
    """Keep what a CRM calls a case."""
    await conn.execute(_RECORD_EXTERNAL_ID, [tenant_id, endpoint, case_id, _storable(external_id), now_s])


_RECORD_OWN_MOVE = """
UPDATE external_ref SET put_as = %s WHERE (tenant_id, endpoint, case_id) = (%s, %s, %s)
"""


async def record_own_move(conn: Connection, tenant_id: str, endpoint: str, case_id: str, put_as: Sequence[str]) -> None:
    """Keep in which words we have put a CRM's record."""
    words = [_storable(word) for word in put_as]
    await conn.execute(_RECORD_OWN_MOVE, [words, tenant_id, endpoint, case_id])


async def _rows(
    conn: Connection, query: LiteralString, values: Sequence[object] | Mapping[str, object]
) -> list[TupleRow]:
    """The rows of a query, whatever the pool's own row factory is."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()
