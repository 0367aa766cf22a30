"""What differs between plain PostgreSQL and TimescaleDB: how a reading table is divided by time."""

from typing import LiteralString, Protocol

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from gateway.database.edition import Edition
from gateway.store.rows import Longs
from gateway.store.spans import Span, spans_of

Connection = AsyncConnection[TupleRow]


class Divider(Protocol):
    """Divides reading tables by device time."""

    create_suffix: LiteralString
    """What a CREATE TABLE ends with."""

    async def divide(self, conn: Connection, table: str) -> None:
        """Prepare a table that was created in this transaction."""
        ...

    async def make_room(self, conn: Connection, table: str, ts_us: Longs) -> None:
        """See to it that readings of these times can be stored; outside any transaction."""
        ...

    def forget(self) -> None:
        """Look again at what there is, for something went wrong."""
        ...


def divider_of(edition: Edition, chunk_interval_s: float) -> Divider:
    """The divider for what the database is."""
    return Hypertables(chunk_interval_s) if edition.is_timescaledb else NativePartitions()


class Hypertables:
    """TimescaleDB, either edition: chunks appear by themselves."""

    create_suffix: LiteralString = ""

    def __init__(self, chunk_interval_s: float) -> None:
        self._chunk_interval_s = chunk_interval_s

    async def divide(self, conn: Connection, table: str) -> None:
        """Make the table a hypertable."""
        await create_hypertable(conn, table, self._chunk_interval_s)

    async def make_room(self, conn: Connection, table: str, ts_us: Longs) -> None:
        """Nothing to do."""

    def forget(self) -> None:
        """Nothing is remembered."""


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
