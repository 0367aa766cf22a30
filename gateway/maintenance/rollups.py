"""Usage rollups of careloop's own: hourly and daily, brought up to what has been stored, in small transactions.

What is new is found by its batch number. Readings that go on where their hour ends are added to it; late ones, and
those that completed a stored reading, have their hour computed anew, however far back it lies. Progress is written in
the same transaction, so that a crash leaves neither gap nor double.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.profiles.model import Profile
from gateway.maintenance.rollup_columns import MOST_METRICS, RollupTables, rollup_tables_of
from gateway.maintenance.rollup_queries import (
    Bucket,
    Span,
    blend_in,
    compute_days,
    compute_hours,
    create_rollup,
    filled_buckets,
    index_buckets,
    months_of,
    roll,
    widen_rollup,
)
from gateway.maintenance.sessions import maintaining
from gateway.store.editions import NativePartitions
from gateway.store.queries import last_batch
from gateway.store.tables import lock_tables, read_tables
from gateway.store.times import us_of_all

Connection = AsyncConnection[TupleRow]

HOUR: Final = "1 hour"
DAY: Final = "1 day"
_LONG_S: Final = 0.5
_SHORT_S: Final = 0.1
_FIRST_BATCHES: Final = 16
_MOST_BATCHES: Final = 4096


class OwnRollups:
    """Rolls up product models one slice of batches at a time."""

    def __init__(self, profiles: Mapping[str, Profile], now_s: Callable[[], float]) -> None:
        """`now_s` is for measuring how long a slice takes."""
        self._profiles = profiles
        self._now_s = now_s
        self.slices = 0  # taken in so far
        self._partitions = NativePartitions()
        self._batches: dict[str, int] = {}  # of the next slice, by model
        self._tables: dict[str, RollupTables] = {}
        self._others: frozenset[str] = frozenset()

    @property
    def models(self) -> Collection[RollupTables]:
        """What it rolls up, as far as it has looked."""
        return self._tables.values()

    def leave(self, others: AbstractSet[str]) -> None:
        """Leave these models to somebody else."""
        if self._others != others:
            self._others = frozenset(others)
            self.forget()

    def forget(self) -> None:
        """Look at the tables again before the next slice: something went wrong, or some were dropped."""
        self._tables.clear()

    async def prepare(self, conn: Connection) -> None:
        """Make the rollups that are missing, and widen those whose reading table has grown."""
        self._partitions.forget()
        self._tables = {}
        async with maintaining(conn):
            await lock_tables(conn)
            await keep_rollups(conn, sorted(self._others))
            existing = {rolled.model: rolled.columns for rolled in await find_rollups(conn)}
            for table in await read_tables(conn):
                if table.model not in self._others:
                    wanted = self._tables[table.model] = rollup_tables_of(table, self._profiles)
                    await _make(conn, wanted, existing.get(table.model))

    async def advance(self, conn: Connection) -> bool:
        """Take in one slice of each model that is behind; whether more is waiting."""
        if not self._tables:
            await self.prepare(conn)
        is_behind = False
        for tables in list(self._tables.values()):
            started_s = self._now_s()
            is_behind |= await self._advance(conn, tables)
            self._adapt(tables.model, self._now_s() - started_s)
        return is_behind

    def _adapt(self, model: str, took_s: float) -> None:
        batches = self._batches.get(model, _FIRST_BATCHES)
        if took_s > _LONG_S:
            self._batches[model] = max(batches // 2, 1)
        elif took_s < _SHORT_S:
            self._batches[model] = min(batches * 2, _MOST_BATCHES)

    async def _advance(self, conn: Connection, tables: RollupTables) -> bool:
        async with maintaining(conn):
            after = (await read_progress(conn, tables.model)).batch_seq
            last, _ = await last_batch(conn)
        if after >= last:
            return False
        until = min(after + self._batches.get(tables.model, _FIRST_BATCHES), last)
        await self._make_room(conn, tables, after, until)
        async with maintaining(conn):
            progress = await read_progress(conn, tables.model)
            if progress.columns > len(tables.metrics):  # the reading table has grown since
                self.forget()
                return True
            if progress.batch_seq == after:
                await self._roll(conn, tables, after, until)
                await put_progress(conn, tables.model, until)
        self.slices += 1
        return until < last

    async def _make_room(self, conn: Connection, tables: RollupTables, after: int, until: int) -> None:
        months = await months_of(conn, tables.source, after, until)
        for name in (tables.hour, tables.day) if months else ():
            await self._partitions.make_room(conn, name, us_of_all(months))

    async def _roll(self, conn: Connection, tables: RollupTables, after: int, until: int) -> None:
        hour, day = Span(tables.hour, HOUR), Span(tables.day, DAY)
        late = await roll(conn, tables, hour, after, until)
        late |= await filled_buckets(conn, tables.model, after, until)
        gone = late - await compute_hours(conn, tables, hour, late)
        await blend_in(conn, tables, hour, gone)
        late_days = await roll(conn, tables, day, after, until) | {_day_of(bucket) for bucket in late}
        gone = late_days - await compute_days(conn, tables, day, late_days)
        await blend_in(conn, tables, day, gone)


async def _make(conn: Connection, wanted: RollupTables, known: int | None) -> None:
    """Make the rollups of a model of which so many columns are there."""
    if known == len(wanted.metrics):
        return
    for name in (wanted.hour, wanted.day):
        if known is None:
            await create_rollup(conn, name, wanted.metrics, "PARTITION BY RANGE (bucket)")
            await index_buckets(conn, name)
        else:
            await widen_rollup(conn, name, wanted.metrics[known:])
    await put_rollup(conn, wanted)


def _day_of(bucket: Bucket) -> Bucket:
    return Bucket(bucket.device_id, bucket.start.replace(hour=0))


@dataclass(frozen=True, slots=True)
class Rolled:
    """The rollups of a product model, and how far they have come."""

    model: str
    hour: str
    day: str
    columns: int
    batch_seq: int
    is_kept: bool


FIND_ROLLUPS: LiteralString = """
SELECT model, hour_table, day_table, jsonb_array_length(columns), batch_seq, is_kept FROM rollup ORDER BY model
"""


async def find_rollups(conn: Connection) -> list[Rolled]:
    """The rollups that there are."""
    return [Rolled(*row) for row in await (await conn.execute(FIND_ROLLUPS)).fetchall()]


KEEP_ROLLUPS: LiteralString = """
UPDATE rollup SET is_kept = true, batch_seq = 0, hours_in_order_to = NULL, days_in_order_to = NULL
WHERE NOT is_kept AND model <> ALL (%s::text[])
"""


async def keep_rollups(conn: Connection, others: Sequence[str]) -> None:
    """Start anew with what had been turned off, other than these models."""
    await conn.execute(KEEP_ROLLUPS, (others,))


LEAVE_ROLLUPS: LiteralString = "UPDATE rollup SET is_kept = false WHERE is_kept"


async def leave_rollups(conn: Connection) -> None:
    """Note that nothing is rolled up any more, so that nothing is kept for it."""
    await conn.execute(LEAVE_ROLLUPS)


PUT_ROLLUP: LiteralString = """
INSERT INTO rollup (model, hour_table, day_table, columns) VALUES (%s, %s, %s, %s)
ON CONFLICT (model) DO UPDATE SET columns = excluded.columns, updated_at = clock_timestamp()
"""


async def put_rollup(conn: Connection, tables: RollupTables) -> None:
    """Write down what is rolled up."""
    columns = json.dumps([(metric.name, metric.column) for metric in tables.metrics])
    await conn.execute(PUT_ROLLUP, (tables.model, tables.hour, tables.day, columns))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the rollups of a model have come, and how many columns the reading table offers them."""

    batch_seq: int
    columns: int


READ_PROGRESS: LiteralString = """
SELECT r.batch_seq, least(jsonb_array_length(t.columns), %s) FROM rollup r JOIN reading_table t USING (model)
WHERE r.model = %s
"""


async def read_progress(conn: Connection, model: str) -> Progress:
    """How far the rollups of a model have come."""
    row = await (await conn.execute(READ_PROGRESS, (MOST_METRICS, model))).fetchone()
    return Progress(*row) if row else Progress(0, 0)


PUT_PROGRESS: LiteralString = "UPDATE rollup SET batch_seq = %s, updated_at = clock_timestamp() WHERE model = %s"


async def put_progress(conn: Connection, model: str, batch_seq: int) -> None:
    """Note that every batch up to this one is rolled up."""
    await conn.execute(PUT_PROGRESS, (batch_seq, model))


RESTART: LiteralString = """
UPDATE rollup SET batch_seq = 0, hours_in_order_to = NULL, days_in_order_to = NULL
WHERE is_kept AND (%(model)s::text IS NULL OR model = %(model)s)
"""


async def restart_rollups(conn: Connection, model: str | None) -> int:
    """Have everything computed anew from the readings that are there; how many models."""
    return (await conn.execute(RESTART, {"model": model})).rowcount
