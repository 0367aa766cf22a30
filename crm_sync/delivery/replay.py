"""Sending again what a person decided to send again, under its old id."""

from enum import StrEnum

from psycopg.rows import tuple_row

from crm_sync.delivery.queries import Connection
from crm_sync.outbox import enqueue_again


class Replayed(StrEnum):
    """What asking for a message again did."""

    AGAIN = "again"  # it is pending again: its case's stream goes on from it, or comes to it at its end
    SOONER = "sooner"  # it was pending: its stream is tried at once, and its schedule begins anew
    PARKED = "parked"  # it waits behind a dead message, which must be sent again first
    UNKNOWN = "unknown"  # there is no such message


_LOCK = """
SELECT stream_id FROM outbox_stream
 WHERE stream_id = (SELECT stream_id FROM outbox_message WHERE tenant_id = %s AND message_id = %s)
   FOR UPDATE
"""

# A statement of its own: one that waits for a lock sees the other tables as they were before it waited, and two that
# ask for the same message at once would each give it a new place and leave a hole where the stream stops.
_STANDING = """
SELECT s.stream_id, s.state, s.head_seq, m.seq, m.state
  FROM outbox_message m
  JOIN outbox_stream s USING (stream_id)
 WHERE m.tenant_id = %s AND m.message_id = %s
"""

_REVIVE = """
UPDATE outbox_stream
   SET state = 'live', failures = 0, lost_leases = 0, stumbling_since = NULL, next_attempt_at = 'epoch'
 WHERE stream_id = %s
"""

_PEND = """
UPDATE outbox_message SET state = 'pending', reason = NULL, settled_at = NULL, replayed = replayed + 1
 WHERE message_id = %s
"""


async def replay(conn: Connection, tenant_id: str, message_id: str) -> Replayed:
    """Send a message again, with its id and body as they were; the policy is asked again before it leaves."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_LOCK, [tenant_id, message_id])
        await cursor.execute(_STANDING, [tenant_id, message_id])
        row = await cursor.fetchone()
    if row is None:
        return Replayed.UNKNOWN
    stream_id, stream_state, head_seq, seq, state = row
    if state == "pending":
        if stream_state == "parked":
            return Replayed.PARKED
        await conn.execute(_REVIVE, [stream_id])
        return Replayed.SOONER
    if seq == head_seq:  # the dead head of a parked stream: what is behind it goes on after it
        await conn.execute(_PEND, [message_id])
        await conn.execute(_REVIVE, [stream_id])
    else:
        await enqueue_again(conn, message_id)
    return Replayed.AGAIN


_RESUME = """
UPDATE endpoint_state
   SET disabled_at = NULL, disabled_reason = NULL, paused_until = NULL, failing_since = NULL, failed_attempts = 0,
       not_let_in_since = NULL
 WHERE tenant_id = %s AND endpoint = %s
RETURNING endpoint
"""


async def resume_endpoint(conn: Connection, tenant_id: str, endpoint: str) -> bool:
    """Deliver again to an endpoint that was disabled or paused; False when it was neither, ever."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_RESUME, [tenant_id, endpoint])
        return await cursor.fetchone() is not None
