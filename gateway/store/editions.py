"""What differs between plain PostgreSQL and TimescaleDB: how a reading table is divided by time."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, LiteralString, Protocol

import numpy as np
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from gateway.database.edition import Edition
from gateway.store.rows import Longs
from gateway.store.spans import Span, spans_of
from gateway.store.times import datetime_of, us_of

Connection = AsyncConnection[TupleRow]

_DAY_S: Final = 86_400
_YEAR_S: Final = 365 * _DAY_S
WEEK_S: Final = 7.0 * _DAY_S
"""How much device time a chunk of readings covers."""


class Divider(Protocol):
    """Divides tables by device time."""

    create_suffix: LiteralString
    """What a CREATE TABLE ends with."""

    async def divide(self, conn: Connection, table: str) -> None:
        """Prepare a table that was created in this transaction."""
        ...

    async def make_room(self, conn: Connection, table: str, ts_us: Longs) -> None:
        """See to it that rows of these times can be stored; outside any transaction."""
        ...

    def forget(self) -> None:
        """Look again at what there is, for something went wrong."""
        ...


def divider_of(edition: Edition, chunk_interval_s: float = WEEK_S, now_s: Callable[[], float] = time.time) -> Divider:
    """The divider for what the database is."""
    return Hypertables(chunk_interval_s, now_s) if edition.is_timescaledb else NativePartitions()


class Hypertables:
    """TimescaleDB, either edition: chunks appear by themselves, wider ones where hardly anything lies.

    Chunks of a week are for the present. A device whose clock runs wild would make one with every reading; so chunks
    for times further away are made beforehand, as wide as `STRIDES` says.
    """

    create_suffix: LiteralString = ""
    STRIDES: Final = (
        (5 * _YEAR_S, 28 * _DAY_S),
        (20 * _YEAR_S, 364 * _DAY_S),
        (100 * _YEAR_S, 3640 * _DAY_S),
        (None, 36_400 * _DAY_S),
    )
    """Beyond a year: up to how far from now, in seconds, and how wide chunks are there."""

    def __init__(self, chunk_interval_s: float, now_s: Callable[[], float] = time.time) -> None:
        self._chunk_interval_s = chunk_interval_s
        self._now_s = now_s
        self._known: dict[str, list[tuple[int, int]]] = {}

    async def divide(self, conn: Connection, table: str) -> None:
        """Make the table a hypertable."""
        await create_hypertable(conn, table, self._chunk_interval_s)

    async def make_room(self, conn: Connection, table: str, ts_us: Longs) -> None:
        """Make wide chunks for times far from now."""
        now_us = round(self._now_s() * 1e6)
        far = np.abs(ts_us - now_us) > _YEAR_S * 1_000_000
        for at_us in np.unique(ts_us[far]).tolist() if far.any() else ():
            if not self._covers(table, at_us):
                self._known[table] = await find_chunks(conn, table)
            if not self._covers(table, at_us):
                await create_wide_chunk(conn, table, at_us, self._stride_s(at_us - now_us), self._chunk_interval_s)
                self._known[table] = await find_chunks(conn, table)

    def _stride_s(self, away_us: int) -> float:
        return float(next(width for limit, width in self.STRIDES if limit is None or abs(away_us) < limit * 1_000_000))

    def _covers(self, table: str, at_us: int) -> bool:
        return any(start <= at_us < end for start, end in self._known.get(table, ()))

    def forget(self) -> None:
        """Look again for chunks, which somebody may have dropped."""
        self._known.clear()


class NativePartitions:
    """Plain PostgreSQL: partitions by range, made before the COPY that needs them."""

    create_suffix: LiteralString = "PARTITION BY RANGE (ts)"

    def __init__(self) -> None:
        self._known: set[tuple[str, Span]] = set()

    async def divide(self, conn: Connection, table: str) -> None:
        """Nothing to do: the table was created partitioned."""

    async def make_room(self, conn: Connection, table: str, ts_us: Longs) -> None:
        """Make the partitions that are missing, each in a transaction of its own."""
        for span in sorted(spans_of(ts_us)):
            if (table, span) not in self._known:
                await create_partition(conn, table, span)
                self._known.add((table, span))

    def forget(self) -> None:
        """Look again for partitions, which somebody may have dropped."""
        self._known.clear()


CREATE_HYPERTABLE: LiteralString = """
SELECT create_hypertable(%s::regclass, by_range('ts', make_interval(secs => %s)), create_default_indexes => false)
"""


async def create_hypertable(conn: Connection, table: str, chunk_interval_s: float) -> None:
    """Make a new, empty table a hypertable."""
    await conn.execute(CREATE_HYPERTABLE, (sql.Identifier(table).as_string(conn), chunk_interval_s))


FIND_CHUNKS: LiteralString = """
SELECT range_start, least(range_end, '9999-12-31 23:59:59.999999+00') FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema() AND hypertable_name = %s
"""


async def find_chunks(conn: Connection, table: str) -> list[tuple[int, int]]:
    """The spans that the chunks of a hypertable cover, microseconds since the epoch."""
    rows: list[tuple[datetime, datetime]] = await (await conn.execute(FIND_CHUNKS, (table,))).fetchall()
    return [(us_of(start), us_of(end)) for start, end in rows]


SET_CHUNK_INTERVAL: LiteralString = "SELECT set_chunk_time_interval(%s::regclass, make_interval(secs => %s))"
PUT_PLACEHOLDER: LiteralString = """
INSERT INTO {table} (device_id, ts, received_at, batch_seq, batch_row) VALUES ('', %s, %s, 0, 0)
"""
DELETE_PLACEHOLDER: LiteralString = "DELETE FROM {table} WHERE device_id = '' AND ts = %s"


async def create_wide_chunk(conn: Connection, table: str, at_us: int, stride_s: float, chunk_interval_s: float) -> None:
    """Make one chunk of a reading table around a time, cut where others are; a transaction of its own.

    The Apache edition has no function for that: a chunk comes with the row that needs it, as wide as chunks are then.
    """
    name, at = sql.Identifier(table), datetime_of(at_us)
    async with conn.transaction():
        await conn.execute(SET_CHUNK_INTERVAL, (name.as_string(conn), stride_s))
        await conn.execute(sql.SQL(PUT_PLACEHOLDER).format(table=name), (at, at))
        await conn.execute(sql.SQL(DELETE_PLACEHOLDER).format(table=name), (at,))
        await conn.execute(SET_CHUNK_INTERVAL, (name.as_string(conn), chunk_interval_s))


# Late readings for a compressed chunk have some of it decompressed; beyond a limit the batch would fail for ever.
LIFT_LIMITS: LiteralString = "SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0"


async def lift_limits(conn: Connection, edition: Edition | None) -> None:
    """Let a session write into the columnstore, where the edition has one."""
    if edition is not None and edition.is_community:
        await conn.execute(LIFT_LIMITS)


LOCK_PARTITIONS: LiteralString = "SELECT pg_advisory_xact_lock(hashtextextended('careloop partitions ' || %s, 0))"
PARTITION_EXISTS: LiteralString = "SELECT to_regclass(%s) IS NOT NULL"
# Attached rather than created as one: that would wait for every query that reads the table, and all others for it.
CREATE_PARTITION: LiteralString = "CREATE TABLE {partition} (LIKE {table} INCLUDING DEFAULTS)"
ATTACH_PARTITION: LiteralString = (
    "ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ({start}) TO ({end})"
)


async def create_partition(conn: Connection, table: str, span: Span) -> None:
    """Make one partition, unless another gateway has been faster; a transaction of its own."""
    partition = sql.Identifier(f"{table}_{span.suffix}")
    names = {"partition": partition, "table": sql.Identifier(table)}
    create = sql.SQL(CREATE_PARTITION).format(**names)
    attach = sql.SQL(ATTACH_PARTITION).format(**names, start=sql.Literal(span.start), end=sql.Literal(span.end))
    async with conn.transaction():
        await conn.execute(LOCK_PARTITIONS, (table,))
        found = await (await conn.execute(PARTITION_EXISTS, (partition.as_string(conn),))).fetchone()
        if found == (False,):
            await conn.execute(create)
            await conn.execute(attach)
