"""Sending a range of dead letters again: looked at before, and no more of them in a minute than was said."""

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg.rows import dict_row, tuple_row

from crm_sync.delivery.queries import Connection
from crm_sync.delivery.records import DeliveryFilter
from crm_sync.delivery.replay import Replayed, replay
from devices.errors import CareloopError

MOST: Final = 1000
"""Messages that one call sends again; the rest with the next one."""

PER_MINUTE: Final = 60


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Dead letters of a range, as they were counted."""

    count: int
    by_endpoint: dict[str, int]
    oldest: datetime | None
    newest: datetime | None
    up_to: int  # the highest of their numbers: what dies after the count is not sent again with them


@dataclass(frozen=True, slots=True)
class Ranged:
    """What sending a range again did."""

    again: int  # without those that somebody else sent again meanwhile
    left: int  # more than one call takes: for the next one
    lasts_s: float  # until the last of them is due


_COUNT: Final[LiteralString] = """
SELECT s.endpoint, count(*)::int AS count, min(m.created_at) AS oldest, max(m.created_at) AS newest,
       max(m.number) AS up_to
  FROM outbox_message m
  JOIN outbox_stream s USING (stream_id)
 WHERE m.tenant_id = %(tenant_id)s AND m.state = 'dead'
   AND (%(endpoint)s::text IS NULL OR s.endpoint = %(endpoint)s)
   AND (%(case_id)s::text IS NULL OR s.stream_key = %(case_id)s)
   AND (%(type)s::text IS NULL OR m.type = %(type)s)
   AND (%(since)s::timestamptz IS NULL OR m.created_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR m.created_at < %(until)s)
   AND (%(up_to)s::bigint IS NULL OR m.number <= %(up_to)s)
 GROUP BY s.endpoint ORDER BY s.endpoint
"""


async def count_dead(
    conn: Connection, tenant_id: str, which: DeliveryFilter, *, up_to: int | None = None
) -> DeadLetters:
    """How many dead letters there are in a range; whatever state `which` asks for."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_COUNT, _values(tenant_id, which, up_to))
        rows = await cursor.fetchall()
    return DeadLetters(
        count=sum(row["count"] for row in rows),
        by_endpoint={row["endpoint"]: row["count"] for row in rows},
        oldest=min((row["oldest"] for row in rows), default=None),
        newest=max((row["newest"] for row in rows), default=None),
        up_to=max((row["up_to"] for row in rows), default=0),
    )


_SOME: Final[LiteralString] = """
SELECT m.message_id, m.stream_id
  FROM outbox_message m
  JOIN outbox_stream s USING (stream_id)
 WHERE m.tenant_id = %(tenant_id)s AND m.state = 'dead' AND m.number <= %(up_to)s
   AND (%(endpoint)s::text IS NULL OR s.endpoint = %(endpoint)s)
   AND (%(case_id)s::text IS NULL OR s.stream_key = %(case_id)s)
   AND (%(type)s::text IS NULL OR m.type = %(type)s)
   AND (%(since)s::timestamptz IS NULL OR m.created_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR m.created_at < %(until)s)
 ORDER BY m.number LIMIT %(most)s
"""
_LATER: Final[LiteralString] = """
UPDATE outbox_stream s
   SET next_attempt_at = greatest(next_attempt_at, to_timestamp(%s))
 WHERE stream_id = %s AND leased_until IS NULL
   AND head_seq = (SELECT min(m.seq) FROM outbox_message m WHERE m.message_id = ANY(%s) AND m.stream_id = s.stream_id)
"""


async def replay_range(
    conn: Connection, tenant_id: str, which: DeliveryFilter, seen: DeadLetters, *, per_minute: int, now_s: float
) -> Ranged:
    """Send again what was `seen`, the oldest first, as many a minute as said; in the caller's transaction.

    `now_s` is real time. Raises CareloopError where it is not what is there any more: then it is to be looked at again.
    """
    present = await count_dead(conn, tenant_id, which, up_to=seen.up_to)
    if present.count != seen.count:
        detail = f"{seen.count} dead letters were seen, and now there are {present.count}: look again, then decide"
        raise CareloopError("counted_otherwise", detail)
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_SOME, _values(tenant_id, which, seen.up_to) | {"most": MOST})
        rows = await cursor.fetchall()
    ids = [message_id for message_id, _ in rows]
    again = sum([await replay(conn, tenant_id, message_id) is Replayed.AGAIN for message_id in ids])
    before, gap_s = 0, 60.0 / per_minute
    for stream_id, count in Counter(stream_id for _, stream_id in rows).items():  # the oldest first
        if before:  # what is new in a stream that lives is not kept waiting
            await conn.execute(_LATER, [now_s + before * gap_s, stream_id, ids])
        before += count
    return Ranged(again, present.count - len(rows), max(before - 1, 0) * gap_s)


def _values(tenant_id: str, which: DeliveryFilter, up_to: int | None) -> dict[str, Any]:
    return asdict(which) | {"tenant_id": tenant_id, "up_to": up_to}
