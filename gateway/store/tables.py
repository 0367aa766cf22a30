"""The reading tables: one per product model, made from its profile and widened as it learns new metrics."""

import json
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.errors import LockNotAvailable
from psycopg.rows import TupleRow

from devices.profiles.model import Profile
from gateway.store.editions import Divider
from gateway.store.rows import ReadingTable

Connection = AsyncConnection[TupleRow]

_PLAIN_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,55}")
_POSTGRES_OWN: Final = frozenset(("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"))
_TAKEN: Final = _POSTGRES_OWN | {"device_id", "ts", "extra", "received_at", "seq", "batch_seq", "batch_row"}


class ReadingTables:
    """The reading tables that exist, by product model; makes and widens them in transactions of their own.

    A table that somebody is reading cannot be widened, and who waited to widen it would keep everybody else waiting. So
    it is tried for a moment only; until `catch_up` succeeds, what has no column is kept in `extra`.
    """

    def __init__(self, divider: Divider) -> None:
        self._divider = divider
        self._tables: dict[str, ReadingTable] = {}
        self._lacking: dict[str, list[str]] = {}  # metrics that are still to get a column, by model

    def __getitem__(self, model: str) -> ReadingTable:
        return self._tables[model]

    def all(self) -> list[ReadingTable]:
        """Every table, in the order of the models' names."""
        return [self._tables[model] for model in sorted(self._tables)]

    async def load(self, conn: Connection, profiles: Iterable[Profile]) -> None:
        """Look at the tables that exist, then make those that these profiles need, and the columns that they lack."""
        async with conn.transaction():
            await lock_tables(conn)
            self._tables = {table.model: table for table in await read_tables(conn)}
        for profile in profiles:
            if profile.model not in self._tables:
                await self._create(conn, profile)
            await self.widen(conn, profile.model, list(profile.metrics))

    async def widen(self, conn: Connection, model: str, metrics: Sequence[str]) -> None:
        """Add a column for each metric that has none, now or as soon as `catch_up` can."""
        try:
            async with conn.transaction():
                await conn.execute(GIVE_UP_SOON)
                table = await _widen(conn, model, metrics)
        except LockNotAvailable:
            lacking = self._lacking.setdefault(model, [])
            lacking += [metric for metric in metrics if metric not in {*lacking, *self._tables[model].metrics}]
        else:
            self._tables[model] = table
            self._lacking.pop(model, None)

    @property
    def is_lacking(self) -> bool:
        """Whether metrics are still to get a column."""
        return bool(self._lacking)

    async def catch_up(self, conn: Connection) -> None:
        """Try again to widen the tables that somebody was reading."""
        for model, metrics in list(self._lacking.items()):
            await self.widen(conn, model, metrics)

    async def _create(self, conn: Connection, profile: Profile) -> None:
        async with conn.transaction():
            await lock_tables(conn)
            existing = await read_tables(conn)
            if any(table.model == profile.model for table in existing):
                return
            name = _table_name(profile.model, {table.name for table in existing})
            table = add_metrics(ReadingTable(profile.model, name, (), ()), list(profile.metrics))
            await create_table(conn, table, self._divider)
            await put_table(conn, table)


async def _widen(conn: Connection, model: str, metrics: Sequence[str]) -> ReadingTable:
    await lock_tables(conn)
    table = next(table for table in await read_tables(conn) if table.model == model)
    missing = [metric for metric in metrics if metric not in table.metrics]
    if missing:
        table = add_metrics(table, missing)
        await add_columns(conn, table.name, table.columns[-len(missing) :])
        await put_table(conn, table)
    return table


def add_metrics(table: ReadingTable, metrics: Sequence[str]) -> ReadingTable:
    """The table with columns for further metrics; a metric whose name cannot be a column's gets another one."""
    columns = list(table.columns)
    for metric in metrics:
        is_plain = _PLAIN_NAME.fullmatch(metric) and metric not in _TAKEN and metric not in columns
        columns.append(metric if is_plain else f"m_{zlib.crc32(metric.encode()):08x}_{len(columns)}")
    return replace(table, metrics=(*table.metrics, *metrics), columns=tuple(columns))


def _table_name(model: str, taken: set[str]) -> str:
    name = f"reading_{model.replace('-', '_')}"
    return name if name not in taken else f"{name}_{zlib.crc32(model.encode()):08x}"


LOCK_TABLES: LiteralString = "SELECT pg_advisory_xact_lock(hashtextextended('careloop reading_table', 0))"


async def lock_tables(conn: Connection) -> None:
    """Keep other gateways from making tables until this transaction ends."""
    await conn.execute(LOCK_TABLES)


READ_TABLES: LiteralString = "SELECT model, table_name, columns FROM reading_table ORDER BY model"


async def read_tables(conn: Connection) -> list[ReadingTable]:
    """Every reading table."""
    rows = await (await conn.execute(READ_TABLES)).fetchall()
    return [
        ReadingTable(model, name, tuple(metric for metric, _ in columns), tuple(column for _, column in columns))
        for model, name, columns in rows
    ]


PUT_TABLE: LiteralString = """
INSERT INTO reading_table (model, table_name, columns) VALUES (%s, %s, %s)
ON CONFLICT (model) DO UPDATE SET columns = excluded.columns
"""


async def put_table(conn: Connection, table: ReadingTable) -> None:
    """Write down a table and its columns."""
    columns = json.dumps(list(zip(table.metrics, table.columns, strict=True)))
    await conn.execute(PUT_TABLE, (table.model, table.name, columns))


CREATE_TABLE: LiteralString = """
CREATE TABLE {table} (
    device_id text COLLATE "C" NOT NULL,
    ts timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    seq bigint,
    batch_seq bigint NOT NULL,
    batch_row integer NOT NULL,
    {metrics}
    extra jsonb,
    PRIMARY KEY (device_id, ts)
)
"""
CREATE_BATCH_INDEX: LiteralString = "CREATE INDEX ON {table} USING brin (batch_seq) WITH (autosummarize = on)"


async def create_table(conn: Connection, table: ReadingTable, divider: Divider) -> None:
    """Make a reading table."""
    name = sql.Identifier(table.name)
    metrics = [sql.SQL("{} double precision,").format(sql.Identifier(column)) for column in table.columns]
    create = sql.SQL(CREATE_TABLE).format(table=name, metrics=sql.SQL(" ").join(metrics))
    await conn.execute(create + sql.SQL(divider.create_suffix))
    await divider.divide(conn, table.name)
    await conn.execute(sql.SQL(CREATE_BATCH_INDEX).format(table=name))


GIVE_UP_SOON: LiteralString = "SET LOCAL lock_timeout = '200ms'"
ADD_COLUMNS: LiteralString = "ALTER TABLE {table} {additions}"


async def add_columns(conn: Connection, table: str, columns: Sequence[str]) -> None:
    """Widen a table; existing rows are not rewritten."""
    additions = [sql.SQL("ADD COLUMN {} double precision").format(sql.Identifier(column)) for column in columns]
    await conn.execute(
        sql.SQL(ADD_COLUMNS).format(table=sql.Identifier(table), additions=sql.SQL(", ").join(additions))
    )
