"""Detector checkpoints, and what has been written since them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from gateway.store.ownership import hold_fence
from gateway.store.rows import EventRow, Extra, ReadingTable, floats_of
from gateway.store.times import us_of

Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The detectors' state of one partition, after the batch that it names."""

    partition: int
    version: int
    batch_seq: int
    state: bytes


READ_CHECKPOINTS: LiteralString = (
    "SELECT partition, version, batch_seq, state FROM detector_checkpoint ORDER BY partition"
)


async def read_checkpoints(conn: Connection) -> list[Checkpoint]:
    """Every partition's checkpoint."""
    return [Checkpoint(*row) for row in await (await conn.execute(READ_CHECKPOINTS)).fetchall()]


PUT_CHECKPOINT: LiteralString = """
INSERT INTO detector_checkpoint (tenant_id, partition, version, batch_seq, healthy_s, state)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (partition) DO UPDATE
SET version = excluded.version, batch_seq = excluded.batch_seq, healthy_s = excluded.healthy_s, state = excluded.state,
    written_at = clock_timestamp()
"""
# A partition that has not changed is as good as new.
MOVE_CHECKPOINTS: LiteralString = "UPDATE detector_checkpoint SET batch_seq = %s, healthy_s = %s WHERE batch_seq < %s"


async def put_checkpoints(  # noqa: PLR0917 - whose, by whom, what, as of when
    conn: Connection, tenant_id: str, fence: int, changed: Sequence[Checkpoint], batch_seq: int, healthy_s: float
) -> bool:
    """Write the partitions that have changed, and move the others on; False when another gateway owns ingest now."""
    if not await hold_fence(conn, fence):
        return False
    for checkpoint in changed:
        values = (tenant_id, checkpoint.partition, checkpoint.version, batch_seq, healthy_s, checkpoint.state)
        await conn.execute(PUT_CHECKPOINT, values)
    await conn.execute(MOVE_CHECKPOINTS, (batch_seq, healthy_s, batch_seq))
    return True


# The newest batch stays: it says how far the numbers and the healthy clock have come.
PRUNE: Sequence[LiteralString] = (
    "DELETE FROM batch WHERE batch_seq < %s",
    "DELETE FROM timer_decision WHERE batch_seq < %s",
    "DELETE FROM order_aside WHERE batch_seq < %s",
    "DELETE FROM rejudged_state WHERE batch_seq < %s",
    "DELETE FROM reading_fill WHERE batch_seq < least(%s, (SELECT min(batch_seq) FROM rollup WHERE is_kept))",
)


async def prune(conn: Connection, before: int) -> None:
    """Forget how batches came about that every checkpoint includes; fills also wait for the usage rollups."""
    for statement in PRUNE:
        await conn.execute(statement, (before,))


@dataclass(frozen=True, slots=True)
class BatchMark:
    """When a batch was judged."""

    batch_seq: int
    kind: Literal["ingest", "timer", "rejudge", "forget", "prior"]
    alive_s: float
    now_s: float
    rows: int  # readings, events and statuses that it stored, and readings that it completed


READ_MARKS: LiteralString = """
SELECT batch_seq, kind, alive_s, now_s, stored + events + filled FROM batch WHERE batch_seq > %s ORDER BY batch_seq
"""


async def read_marks(conn: Connection, after: int) -> list[BatchMark]:
    """The batches after one, in order."""
    return [BatchMark(*row) for row in await (await conn.execute(READ_MARKS, (after,))).fetchall()]


READ_EVENTS: LiteralString = """
SELECT batch_seq, batch_row, tenant_id, device_id, ts, code, seq, received_at FROM device_event
WHERE batch_seq > %(after)s AND batch_seq <= %(until)s
UNION ALL
SELECT batch_seq, batch_row, tenant_id, device_id, ts, code, seq, received_at FROM device_status
WHERE batch_seq > %(after)s AND batch_seq <= %(until)s
ORDER BY batch_seq, batch_row
"""


async def read_events(conn: Connection, after: int, until: int) -> dict[int, list[EventRow]]:
    """Events and statuses that the batches after one and up to another have stored, by batch; without their data."""
    found: dict[int, list[EventRow]] = {}
    rows = await (await conn.execute(READ_EVENTS, {"after": after, "until": until})).fetchall()
    for batch_seq, row, tenant_id, device_id, ts, code, seq, received_at in rows:
        event = EventRow(tenant_id, device_id, us_of(ts), code, seq, None, us_of(received_at), 0, 0, row)
        found.setdefault(batch_seq, []).append(event)
    return found


@dataclass(frozen=True, slots=True)
class LoggedFill:
    """What a batch has added to a stored reading."""

    batch_seq: int
    batch_row: int
    model: str
    device_id: str
    ts_us: int
    metrics: Extra


READ_FILLS: LiteralString = """
SELECT batch_seq, batch_row, model, device_id, ts, metrics FROM reading_fill
WHERE batch_seq > %(after)s AND batch_seq <= %(until)s
ORDER BY batch_seq, batch_row
"""


async def read_fills(conn: Connection, after: int, until: int) -> list[LoggedFill]:
    """With what the batches after one and up to another have completed stored readings, in order."""
    rows = await (await conn.execute(READ_FILLS, {"after": after, "until": until})).fetchall()
    return _fills(rows)


HAS_FILLS: LiteralString = "SELECT EXISTS (SELECT FROM reading_fill WHERE batch_seq > %s AND model = %s)"

READ_ADDED: LiteralString = """
SELECT added.batch_seq, added.batch_row, added.model, added.device_id, added.ts, added.metrics
FROM reading_fill AS added JOIN {table} AS stored ON stored.device_id = added.device_id AND stored.ts = added.ts
WHERE added.model = %(model)s AND added.batch_seq > %(after)s
      AND stored.batch_seq > %(after)s AND stored.batch_seq <= %(until)s
"""


async def read_added(conn: Connection, table: ReadingTable, after: int, until: int) -> list[LoggedFill]:
    """With what any batch has completed the readings that those after one and up to another have stored."""
    if await (await conn.execute(HAS_FILLS, (after, table.model))).fetchone() == (False,):
        return []
    statement = sql.SQL(READ_ADDED).format(table=sql.Identifier(table.name))
    wanted = {"model": table.model, "after": after, "until": until}
    return _fills(await (await conn.execute(statement, wanted)).fetchall())


def _fills(rows: Sequence[TupleRow]) -> list[LoggedFill]:
    return [
        LoggedFill(seq, row, model, device, us_of(ts), floats_of(metrics))
        for seq, row, model, device, ts, metrics in rows
    ]


def fills_by_batch(fills: Sequence[LoggedFill]) -> Mapping[tuple[int, str], list[LoggedFill]]:
    """Fills by batch and model, in order."""
    grouped: dict[tuple[int, str], list[LoggedFill]] = {}
    for fill in fills:
        grouped.setdefault((fill.batch_seq, fill.model), []).append(fill)
    return grouped
