"""What TimescaleDB's Community edition does by itself: continuous aggregates and the columnstore, as policies.

The names of the rollups are views here, over one continuous aggregate and a further one for each time that metrics were
added: an aggregate cannot be widened, and making it anew would roll up all of history again. Where readings are kept
for a limited time, careloop's own rollups are used here too, for an aggregate forgets what its readings were.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

import psycopg
import structlog
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from devices.profiles.model import Profile
from gateway.maintenance.rollup_columns import FIXED, RolledMetric, RollupTables, aggregates, rollup_tables_of
from gateway.maintenance.rollups import put_rollup
from gateway.maintenance.sessions import maintaining, unhurried
from gateway.maintenance.settings import MaintenanceSettings, RetentionSettings
from gateway.store.tables import read_tables

Connection = AsyncConnection[TupleRow]
Work = Callable[[Connection, RollupTables], Awaitable[None]]

SPANS: Final = (("1 hour", "5 minutes"), ("1 day", "1 hour"))
"""How long the buckets of the two rollups are, and how often each is refreshed."""


class Community:
    """Keeps the policies of each product model; what the server refuses is told, and done without."""

    def __init__(
        self,
        settings: MaintenanceSettings,
        retention: RetentionSettings,
        profiles: Mapping[str, Profile],
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._settings = settings
        self._retention = retention
        self._profiles = profiles
        self._log = log
        self._kept: dict[str, int] = {}  # columns of the models that continuous aggregates roll up
        self._refused: set[str] = set()  # what this server has refused
        self._compressing: set[str] = set()

    async def keep_up(self, conn: Connection) -> set[str]:
        """See to it that everything has its policies; the models whose usage this rolls up."""
        for table in await read_tables(conn):
            tables = rollup_tables_of(table, self._profiles)
            await self._keep_compressed(conn, tables)
            await self._keep_aggregated(conn, tables)
        await vacuum_compressed(conn)
        return set(self._kept)

    async def _keep_compressed(self, conn: Connection, tables: RollupTables) -> None:
        is_new = self._settings.columnstore_after and tables.source not in self._compressing
        if is_new and await self._try(conn, f"columnstore of {tables.source}", self._compress, tables):
            self._compressing.add(tables.source)

    async def _keep_aggregated(self, conn: Connection, tables: RollupTables) -> None:
        if self._settings.rollups == "off":
            return
        if self._settings.rollups == "own" or self._retention.of(tables.model).readings:
            async with maintaining(conn):
                await drop_aggregates(conn, tables)
        elif self._kept.get(tables.model) != len(tables.metrics) and await self._try(
            conn, f"continuous aggregates of {tables.source}", self._aggregate, tables
        ):
            self._kept[tables.model] = len(tables.metrics)

    async def _try(self, conn: Connection, what: str, work: Work, tables: RollupTables) -> bool:
        if what in self._refused:
            return False
        try:
            await work(conn, tables)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            self._refused.add(what)
            self._log.warning("community.refused", what=what, error=type(error).__name__, sqlstate=error.sqlstate)
            return False
        return True

    async def _compress(self, conn: Connection, tables: RollupTables) -> None:
        async with maintaining(conn):
            await add_columnstore(conn, tables.source, self._settings.columnstore_after)

    async def _aggregate(self, conn: Connection, tables: RollupTables) -> None:
        if await kind_of(conn, tables.hour) in {"r", "p"}:
            message = "careloop's own rollups are there already, and go on"
            raise psycopg.errors.DuplicateTable(message)
        for name, (width, every) in zip((tables.hour, tables.day), SPANS, strict=True):
            await make_aggregates(conn, tables, name, width, every)
        async with maintaining(conn):
            for name in (tables.hour, tables.day):
                await put_view(conn, name)
            await put_rollup(conn, tables)
            await leave_rollup(conn, tables.model)


KIND: LiteralString = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)"


async def kind_of(conn: Connection, name: str) -> str:
    """What kind of relation bears a name, in PostgreSQL's letters; "" for none."""
    row = await (await conn.execute(KIND, (sql.Identifier(name).as_string(conn),))).fetchone()
    return str(row[0]) if row else ""


CREATE_AGGREGATE: LiteralString = """
CREATE MATERIALIZED VIEW IF NOT EXISTS {name}
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT r.device_id, time_bucket({width}::interval, r.ts) AS bucket, count(*)::integer AS readings,
  min(r.ts) AS first_ts, max(r.ts) AS last_ts, max(r.batch_seq) AS through_seq{aggregates}
FROM {source} r GROUP BY 1, 2 WITH NO DATA
"""
# Late data is refreshed however far back it lies. The first refresh is put off: it rolls up all of history.
ADD_REFRESH_POLICY: LiteralString = """
SELECT add_continuous_aggregate_policy({literal}, start_offset => NULL, end_offset => {width}::interval,
  schedule_interval => {every}::interval, initial_start => now() + {every}::interval, if_not_exists => true)
"""


def aggregate_statement(source: str, name: str, metrics: Sequence[RolledMetric], width: str) -> sql.Composed:
    """A continuous aggregate over some of the metrics; may not be in a transaction."""
    names = {"name": sql.Identifier(name), "source": sql.Identifier(source), "width": sql.Literal(width)}
    return sql.SQL(CREATE_AGGREGATE).format(**names, aggregates=aggregates(metrics, of_table=True))


def policy_statement(name: str, width: str, every: str) -> sql.Composed:
    """What has a continuous aggregate refreshed; one that is refreshed already stays as it is."""
    return sql.SQL(ADD_REFRESH_POLICY).format(
        literal=sql.Literal(name), width=sql.Literal(width), every=sql.Literal(every)
    )


@dataclass(frozen=True, slots=True)
class Generation:
    """One continuous aggregate of a rollup: the first has every row, each later one the metrics that were new."""

    view: str
    columns: Sequence[str]


def unrolled(metrics: Iterable[RolledMetric], generations: Iterable[Generation]) -> list[RolledMetric]:
    """The metrics that no continuous aggregate has yet."""
    rolled = {column for generation in generations for column in generation.columns}
    return [metric for metric in metrics if f"{metric.column}_n" not in rolled]


def next_view(name: str, generations: Sequence[Generation]) -> str:
    """What a rollup's next continuous aggregate is called, so that it comes last.

    No model has two underscores in its name: with one, it could be called as the rollup of a model `kettle-1` is.
    """
    numbers = [int(generation.view.rpartition("_")[2]) for generation in generations]
    return f"{name}__{max(numbers, default=-1) + 1}"


async def make_aggregates(conn: Connection, tables: RollupTables, name: str, width: str, every: str) -> None:
    """See to it that every metric is in a continuous aggregate of a rollup, and that each of these has its policy.

    Each statement is a transaction of its own: after a crash in between, the next call makes what is missing.
    """
    generations = await find_generations(conn, name)
    missing = unrolled(tables.metrics, generations)
    if missing or not generations:
        view = next_view(name, generations)
        await conn.execute(aggregate_statement(tables.source, view, missing, width))
        generations = await find_generations(conn, name)
    for generation in generations:
        await conn.execute(policy_statement(generation.view, width, every))


FIND_GENERATIONS: LiteralString = """
SELECT c.view_name, array_agg(a.attname ORDER BY a.attnum)
FROM timescaledb_information.continuous_aggregates c
JOIN pg_attribute a ON a.attrelid = format('%%I.%%I', c.view_schema, c.view_name)::regclass AND a.attnum > 0
WHERE c.view_schema = current_schema() AND c.view_name ~ ('^' || %s || '__?[0-9]+$')
GROUP BY c.view_name ORDER BY length(c.view_name), c.view_name
"""


async def find_generations(conn: Connection, name: str) -> list[Generation]:
    """The continuous aggregates of a rollup, in the order in which they were made."""
    return [Generation(*row) for row in await (await conn.execute(FIND_GENERATIONS, (name,))).fetchall()]


CREATE_VIEW: LiteralString = "CREATE OR REPLACE VIEW {name} AS SELECT {columns} FROM {first}{others}"
JOIN_GENERATION: LiteralString = " LEFT JOIN {view} USING (device_id, bucket)"


def view_columns(generations: Sequence[Generation]) -> list[tuple[str, str]]:
    """The columns of a rollup, each with the continuous aggregate that it comes from."""
    first, *_ = generations
    statistics = [(one.view, column) for one in generations for column in one.columns if column not in FIXED]
    return [*((first.view, column) for column in FIXED), *statistics]


def view_statement(name: str, generations: Sequence[Generation]) -> sql.Composed:
    """The rollup as a view over its continuous aggregates."""
    first, *others = generations
    joins = [sql.SQL(JOIN_GENERATION).format(view=sql.Identifier(other.view)) for other in others]
    return sql.SQL(CREATE_VIEW).format(
        name=sql.Identifier(name),
        columns=sql.SQL(", ").join(sql.Identifier(*column) for column in view_columns(generations)),
        first=sql.Identifier(first.view),
        others=sql.SQL("").join(joins),
    )


COLUMNS: LiteralString = """
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


async def put_view(conn: Connection, name: str) -> None:
    """Have the rollup show what its continuous aggregates have; where it does, nobody who reads it is disturbed."""
    generations = await find_generations(conn, name)
    found = await (await conn.execute(COLUMNS, (sql.Identifier(name).as_string(conn),))).fetchall()
    if [column for (column,) in found] != [column for _, column in view_columns(generations)]:
        await conn.execute(view_statement(name, generations))


DROP_VIEW: LiteralString = "DROP VIEW {view}"
DROP_AGGREGATE: LiteralString = "DROP MATERIALIZED VIEW {view}"
FORGET_ROLLUP: LiteralString = "DELETE FROM rollup WHERE model = %s"


async def drop_aggregates(conn: Connection, tables: RollupTables) -> None:
    """Make room for careloop's own rollups, where there are continuous aggregates."""
    for name in (tables.hour, tables.day):
        if await kind_of(conn, name) == "v":
            await conn.execute(sql.SQL(DROP_VIEW).format(view=sql.Identifier(name)))
            for generation in await find_generations(conn, name):
                await conn.execute(sql.SQL(DROP_AGGREGATE).format(view=sql.Identifier(generation.view)))
            await conn.execute(FORGET_ROLLUP, (tables.model,))


LEAVE_ROLLUP: LiteralString = "UPDATE rollup SET is_kept = false WHERE model = %s"


async def leave_rollup(conn: Connection, model: str) -> None:
    """Note that careloop's own job does not roll this model up."""
    await conn.execute(LEAVE_ROLLUP, (model,))


# Ordered by the batch too: a columnstore knows the bounds of what it is ordered by, so that what is new in a chunk is
# found by its batch without decompressing all of it.
HAS_COLUMNSTORE: LiteralString = "SELECT to_regproc('add_columnstore_policy') IS NOT NULL"
ENABLE_COLUMNSTORE: LiteralString = """
ALTER TABLE {table} SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'device_id',
  timescaledb.orderby = 'ts, batch_seq')
"""
ENABLE_COMPRESSION: LiteralString = """
ALTER TABLE {table} SET (timescaledb.compress, timescaledb.compress_segmentby = 'device_id',
  timescaledb.compress_orderby = 'ts, batch_seq')
"""
# A policy runs as soon as it is there: put off, so that a store full of history is not compressed in the first minute.
ADD_COLUMNSTORE_POLICY: LiteralString = """
CALL add_columnstore_policy({literal}, after => make_interval(secs => {after}), if_not_exists => true,
  initial_start => now() + interval '1 hour')
"""
ADD_COMPRESSION_POLICY: LiteralString = """
SELECT add_compression_policy({literal}, compress_after => make_interval(secs => {after}), if_not_exists => true,
  initial_start => now() + interval '1 hour')
"""


def columnstore_statements(table: str, after_s: float, *, has_columnstore: bool) -> tuple[sql.Composed, sql.Composed]:
    """What gives a hypertable its columnstore, in the words of TimescaleDB 2.18 and later, or of those before."""
    named = {"table": sql.Identifier(table), "literal": sql.Literal(table), "after": sql.Literal(after_s)}
    enable = sql.SQL(ENABLE_COLUMNSTORE) if has_columnstore else sql.SQL(ENABLE_COMPRESSION)
    policy = sql.SQL(ADD_COLUMNSTORE_POLICY) if has_columnstore else sql.SQL(ADD_COMPRESSION_POLICY)
    return enable.format(**named), policy.format(**named)


IS_ENABLED: LiteralString = """
SELECT compression_enabled FROM timescaledb_information.hypertables
WHERE hypertable_schema = current_schema() AND hypertable_name = %s
"""


async def add_columnstore(conn: Connection, table: str, after_s: float) -> None:
    """Have a hypertable's older chunks compressed, segmented by device; settings that are there already stay."""
    found = await (await conn.execute(HAS_COLUMNSTORE)).fetchone()
    enable, policy = columnstore_statements(table, after_s, has_columnstore=found == (True,))
    if await (await conn.execute(IS_ENABLED, (table,))).fetchone() != (True,):
        await conn.execute(enable)
    await conn.execute(policy)


UNVACUUMED: LiteralString = """
SELECT c.chunk_schema, c.chunk_name FROM timescaledb_information.chunks c
JOIN pg_stat_user_tables s ON s.schemaname = c.chunk_schema AND s.relname = c.chunk_name
JOIN reading_table t ON t.table_name = c.hypertable_name AND c.hypertable_schema = current_schema()
WHERE c.is_compressed AND s.last_vacuum IS NULL AND s.last_autovacuum IS NULL
LIMIT 20
"""
VACUUM: LiteralString = "VACUUM (ANALYZE) {chunk}"


async def vacuum_compressed(conn: Connection) -> None:
    """Vacuum chunks that have been compressed: until then a query over them takes many times as long."""
    for schema, name in await (await conn.execute(UNVACUUMED)).fetchall():
        async with unhurried(conn):
            await conn.execute(sql.SQL(VACUUM).format(chunk=sql.Identifier(schema, name)), prepare=False)
