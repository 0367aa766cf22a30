"""What is kept of time and order in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import msgspec
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow, dict_row

from devices.clock import to_datetime
from gateway.detect.model import Explanation
from gateway.order.episodes import Recorded
from gateway.order.saved import VERSION
from gateway.order.shown import Shown
from gateway.order.tracker import Late
from gateway.store.times import datetime_of, us_of

Connection = AsyncConnection[TupleRow]

PUT_ASIDE: LiteralString = "INSERT INTO order_aside (tenant_id, batch_seq, told) VALUES (%s, %s, %s)"


async def put_aside(conn: Connection, tenant_id: str, batch_seq: int, told: bytes) -> None:
    """Write down messages of a batch that were not stored for themselves."""
    await conn.execute(PUT_ASIDE, (tenant_id, batch_seq, told))


READ_ASIDE: LiteralString = "SELECT batch_seq, told FROM order_aside WHERE batch_seq > %s AND batch_seq <= %s"


async def read_aside(conn: Connection, after: int, until: int) -> dict[int, bytes]:
    """What the batches after one and up to another wrote aside, by batch."""
    return {row[0]: row[1] for row in await (await conn.execute(READ_ASIDE, (after, until))).fetchall()}


PUT_CHECKPOINT: LiteralString = """
INSERT INTO order_checkpoint (tenant_id, partition, version, state) VALUES (%s, %s, %s, %s)
ON CONFLICT (partition) DO UPDATE
SET version = excluded.version, state = excluded.state, written_at = clock_timestamp()
"""


async def put_checkpoint(conn: Connection, tenant_id: str, partition: int, state: bytes) -> None:
    """Write down what is known of a partition's devices."""
    await conn.execute(PUT_CHECKPOINT, (tenant_id, partition, VERSION, state))


READ_CHECKPOINTS: LiteralString = "SELECT state FROM order_checkpoint WHERE version = %s ORDER BY partition"


async def read_checkpoints(conn: Connection) -> list[bytes]:
    """What was written down of each partition."""
    return [row[0] for row in await (await conn.execute(READ_CHECKPOINTS, (VERSION,))).fetchall()]


PUT_VIEWS: LiteralString = """
INSERT INTO device_order AS o (tenant_id, device_id, missing, restarts, is_numbered, clock, offset_s, is_sure, looks,
                               moved_at, moved_by_s, says)
SELECT %(tenant_id)s, told.*
FROM unnest(%(device_ids)s::text[], %(missing)s::bigint[], %(restarts)s::bigint[], %(is_numbered)s::boolean[],
            %(clock)s::text[], %(offset_s)s::double precision[], %(is_sure)s::boolean[], %(looks)s::integer[],
            %(moved_at)s::timestamptz[], %(moved_by_s)s::double precision[], %(says)s::text[]) AS told
ON CONFLICT (device_id) DO UPDATE
SET missing = excluded.missing, restarts = excluded.restarts, is_numbered = excluded.is_numbered,
    clock = excluded.clock, offset_s = excluded.offset_s, is_sure = excluded.is_sure, looks = excluded.looks,
    moved_at = excluded.moved_at, moved_by_s = excluded.moved_by_s, says = excluded.says,
    updated_at = clock_timestamp()
"""


async def put_views(conn: Connection, tenant_id: str, views: Mapping[str, Shown]) -> None:
    """Write what is shown of devices."""
    if not views:
        return
    device_ids = sorted(views)
    rows = [views[device_id] for device_id in device_ids]
    values: dict[str, object] = {name: [getattr(row, name) for row in rows] for name in Shown.__slots__}
    values["moved_at"] = [None if row.moved_at_s is None else to_datetime(row.moved_at_s) for row in rows]
    await conn.execute(PUT_VIEWS, {"tenant_id": tenant_id, "device_ids": device_ids, **values})


READ_REJUDGED: LiteralString = """
SELECT batch_seq, device_id, state FROM rejudged_state WHERE batch_seq > %s AND batch_seq <= %s
ORDER BY batch_seq, device_id
"""


async def read_rejudged(conn: Connection, after: int, until: int) -> dict[int, dict[str, bytes]]:
    """The states that devices were given by the re-judgings after one batch and up to another, by batch and device."""
    found: dict[int, dict[str, bytes]] = {}
    for batch_seq, device_id, state in await (await conn.execute(READ_REJUDGED, (after, until))).fetchall():
        found.setdefault(batch_seq, {})[device_id] = state
    return found


@dataclass(frozen=True, slots=True)
class Waits:
    """How long late readings wait to be judged, in seconds of the gateway's clock."""

    now_s: float
    after_s: float  # until others that were on the way with them have come
    every_s: float  # between two judgements of a device whose alarms they touch
    rest_s: float  # and of one where they touch none


# Late readings that a re-judging has seen already, read back after a crash, are no news.
PUT_LATES: LiteralString = """
INSERT INTO rejudge_queue AS q (tenant_id, device_id, first_ts, behind_s, batch_seq, is_urgent, due_at)
SELECT %(tenant_id)s, late.device_id, late.first_ts, late.behind_s, late.batch_seq, touched.is_urgent,
       greatest(%(due_at)s, d.done_at
           + CASE WHEN touched.is_urgent THEN %(every_s)s ELSE %(rest_s)s END * interval '1 second')
FROM unnest(%(device_ids)s::text[], %(first_ts)s::timestamptz[], %(behind_s)s::double precision[],
            %(batch_seqs)s::bigint[]) AS late (device_id, first_ts, behind_s, batch_seq)
LEFT JOIN rejudge_done d ON d.device_id = late.device_id
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM alarm a
        WHERE a.device_id = late.device_id AND a.kind <> 'silence' AND a.state <> 'retracted'
          AND (a.ended_at IS NULL OR a.ended_at >= late.first_ts)
    ) AS is_urgent
) AS touched
WHERE d.batch_seq IS NULL OR late.batch_seq > d.batch_seq
ON CONFLICT (device_id) DO UPDATE
SET first_ts = least(q.first_ts, excluded.first_ts), behind_s = greatest(q.behind_s, excluded.behind_s),
    batch_seq = greatest(q.batch_seq, excluded.batch_seq), is_urgent = q.is_urgent OR excluded.is_urgent,
    due_at = least(q.due_at, excluded.due_at)
"""


async def put_lates(conn: Connection, tenant_id: str, lates: Mapping[str, tuple[Late, int]], waits: Waits) -> None:
    """Queue devices whose readings came late."""
    if not lates:
        return
    device_ids = sorted(lates)
    values = {
        "tenant_id": tenant_id,
        "device_ids": device_ids,
        "first_ts": [datetime_of(lates[name][0].first_us) for name in device_ids],
        "behind_s": [lates[name][0].behind_us / 1e6 for name in device_ids],
        "batch_seqs": [lates[name][1] for name in device_ids],
        "due_at": to_datetime(waits.now_s + waits.after_s),
        "every_s": waits.every_s,
        "rest_s": waits.rest_s,
    }
    await conn.execute(PUT_LATES, values)


HURRY: LiteralString = """
UPDATE rejudge_queue SET due_at = least(due_at, %s), is_urgent = true WHERE device_id = ANY(%s)
"""


async def hurry(conn: Connection, device_ids: Sequence[str], at_s: float) -> None:
    """Let devices be judged anew soon: an alarm was raised while late readings waited."""
    await conn.execute(HURRY, (to_datetime(at_s), list(device_ids)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A device that is to be judged anew."""

    device_id: str
    first_ts: datetime
    behind_s: float
    batch_seq: int


LIST_DUE: LiteralString = """
(SELECT device_id, first_ts, behind_s, batch_seq FROM rejudge_queue
 WHERE is_urgent AND due_at <= %(now)s ORDER BY due_at, device_id LIMIT %(limit)s)
UNION ALL
(SELECT device_id, first_ts, behind_s, batch_seq FROM rejudge_queue
 WHERE NOT is_urgent AND due_at <= %(now)s ORDER BY due_at, device_id LIMIT %(limit)s)
LIMIT %(limit)s
"""


async def list_due(conn: Connection, now_s: float, limit: int) -> list[Wanted]:
    """Devices whose turn has come; those whose alarms may be touched first."""
    values = {"now": to_datetime(now_s), "limit": limit}
    return [Wanted(*row) for row in await (await conn.execute(LIST_DUE, values)).fetchall()]


FINISH: LiteralString = """
WITH gone AS (
    DELETE FROM rejudge_queue WHERE device_id = ANY(%(device_ids)s) AND batch_seq <= %(batch_seq)s
)
INSERT INTO rejudge_done AS d (tenant_id, device_id, done_at, batch_seq, outcome, total)
SELECT %(tenant_id)s, device_id, %(done_at)s, %(batch_seq)s, outcome, 1
FROM unnest(%(device_ids)s::text[], %(outcomes)s::text[]) AS told (device_id, outcome)
ON CONFLICT (device_id) DO UPDATE
SET done_at = excluded.done_at, batch_seq = excluded.batch_seq, outcome = excluded.outcome, total = d.total + 1
"""


async def finish(
    conn: Connection, tenant_id: str, outcomes: Mapping[str, str], batch_seq: int, done_at_s: float
) -> None:
    """Take devices out of the queue: all that came up to a batch has been judged."""
    values = {
        "tenant_id": tenant_id,
        "device_ids": list(outcomes),
        "outcomes": list(outcomes.values()),
        "batch_seq": batch_seq,
        "done_at": to_datetime(done_at_s),
    }
    await conn.execute(FINISH, values)


ORDER_OF: LiteralString = """
SELECT o.device_id, o.missing, o.restarts, o.is_numbered, o.clock, o.offset_s, o.is_sure, o.moved_at, o.moved_by_s,
       o.says, d.done_at AS rejudged_at, d.outcome AS rejudged
FROM device_order o LEFT JOIN rejudge_done d USING (device_id)
WHERE o.tenant_id = %s AND o.device_id = ANY(%s)
"""


async def order_of(conn: Connection, tenant_id: str, device_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What is shown of some devices, by device; those of which nothing is known yet are left out."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        rows = await (await cursor.execute(ORDER_OF, (tenant_id, list(device_ids)))).fetchall()
    return {row.pop("device_id"): row for row in rows}


# What was said before the device was forgotten is not looked at: the history that it was said of is not judged again.
LIST_ALARMS: LiteralString = """
SELECT a.alarm_id, a.device_id, a.watch, a.kind, a.metric, a.problem, a.severity, a.state, a.started_at, told.ts,
       a.decided_ts, a.ended_at, a.score, a.explanation::text,
       (SELECT count(*) FROM {table} t
        WHERE t.device_id = a.device_id AND t.received_at > a.raised_at
          AND t.ts >= a.started_at - coalesce((a.explanation ->> 'window_s')::float8, 0) * interval '1 second'
          AND t.ts <= coalesce(a.ended_at, a.decided_ts))
FROM unnest(%s::text[], %s::timestamptz[]) AS late (device_id, first_ts)
JOIN alarm a ON a.device_id = late.device_id AND (a.ended_at IS NULL OR a.ended_at >= late.first_ts)
JOIN LATERAL (
    SELECT e.ts FROM alarm_event e WHERE e.alarm_id = a.alarm_id AND e.event = 'raised' ORDER BY e.n DESC LIMIT 1
) AS told ON true
WHERE a.kind NOT IN ('silence', 'event_burst')
  AND NOT EXISTS (SELECT FROM forgotten_device f WHERE f.device_id = a.device_id AND f.forgotten_at > a.raised_at)
ORDER BY a.started_at, a.alarm_id
"""


async def list_alarms(conn: Connection, table: str, firsts: Mapping[str, datetime]) -> dict[str, list[Recorded]]:
    """The alarms of some devices that were not over before a moment, as they were told, but for those that stay."""
    statement = sql.SQL(LIST_ALARMS).format(table=sql.Identifier(table))
    found: dict[str, list[Recorded]] = {}
    for row in await (await conn.execute(statement, (list(firsts), list(firsts.values())))).fetchall():
        found.setdefault(row[1], []).append(
            Recorded(
                *row[:8],
                started_at_s=row[8].timestamp(),
                raised_ts_s=row[9].timestamp(),
                decided_ts_s=row[10].timestamp(),
                ended_at_s=None if row[11] is None else row[11].timestamp(),
                score=row[12],
                explanation=msgspec.json.decode(row[13], type=Explanation),
                came_since=row[14],
            )
        )
    return found


LIST_SILENT: LiteralString = """
SELECT DISTINCT device_id FROM alarm WHERE device_id = ANY(%s) AND kind = 'silence' AND state = 'active'
"""


async def list_silent(conn: Connection, device_ids: Sequence[str]) -> set[str]:
    """Those that are silent now."""
    return {row[0] for row in await (await conn.execute(LIST_SILENT, (list(device_ids),))).fetchall()}


LIST_LATER: LiteralString = "SELECT device_id FROM rejudge_queue WHERE device_id = ANY(%s) AND batch_seq > %s"


async def list_later(conn: Connection, device_ids: Sequence[str], batch_seq: int) -> set[str]:
    """Those to which a later batch has brought late readings."""
    return {row[0] for row in await (await conn.execute(LIST_LATER, (list(device_ids), batch_seq))).fetchall()}


COUNT_WAITING: LiteralString = "SELECT count(*) FROM rejudge_queue"


async def count_waiting(conn: Connection) -> int:
    """How many devices wait to be judged anew."""
    row = await (await conn.execute(COUNT_WAITING)).fetchone()
    return 0 if row is None else row[0]


PUT_REJUDGED: LiteralString = """
INSERT INTO rejudged_state (tenant_id, batch_seq, device_id, state)
SELECT %s, %s, told.* FROM unnest(%s::text[], %s::bytea[]) AS told
"""


async def put_rejudged(conn: Connection, tenant_id: str, batch_seq: int, states: Mapping[str, bytes]) -> None:
    """Write down the states that devices were given, to be given again after a crash."""
    if states:
        await conn.execute(PUT_REJUDGED, (tenant_id, batch_seq, list(states), list(states.values())))


PUT_NAME: LiteralString = """
INSERT INTO alarm_name (tenant_id, device_id, watch, started_at, alarm_id) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (device_id, watch, started_at) DO UPDATE SET alarm_id = excluded.alarm_id
"""


async def put_name(  # noqa: PLR0917 - the columns of one row
    conn: Connection, tenant_id: str, device_id: str, watch: str, started_at_s: float, alarm_id: str
) -> None:
    """Let an episode with a corrected beginning go on as the alarm that it was told as."""
    await conn.execute(PUT_NAME, (tenant_id, device_id, watch, to_datetime(started_at_s), alarm_id))


LIST_NAMES: LiteralString = "SELECT device_id, watch, started_at, alarm_id FROM alarm_name WHERE device_id = ANY(%s)"


async def list_names(conn: Connection, device_ids: Sequence[str]) -> dict[tuple[str, str, int], str]:
    """The alarms as which episodes with corrected beginnings go on, by device, watch and beginning in microseconds."""
    rows = await (await conn.execute(LIST_NAMES, (list(device_ids),))).fetchall()
    return {(device_id, watch, us_of(started_at)): alarm_id for device_id, watch, started_at, alarm_id in rows}
