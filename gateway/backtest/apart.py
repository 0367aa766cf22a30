"""A database session in which the CRM side can work on history: everything that it writes is the session's own.

Tables of the CRM side, and that of commands to products, are hidden behind empty temporary ones, what is known of
owners and grants behind views of it as of the history's moment. Then the session is made read-only, which leaves
temporary tables writable and nothing else: it is the server that sees to it that a backtest moves no live state.
"""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Final, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from devices.clock import to_datetime
from gateway.database.session import open_session

Connection = AsyncConnection[TupleRow]

MOMENT: Final = "careloop.backtest_at"
TABLE: Final = re.compile(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+)", re.MULTILINE)

COMMANDS: Final = "device_command"
"""What products are told, which the CRM side writes and other floors keep."""
KNOWN_BY: Final = {"ownership": "since", "grant_record": "recorded_at"}
"""What people said of themselves, and the column that says since when it was known."""


@asynccontextmanager
async def set_apart(url: str, *, as_of_history: bool) -> AsyncGenerator[Connection]:
    """A session of that kind; without `as_of_history` owners and grants are those of today."""
    async with await open_session(url, "careloop backtest", autocommit=True) as conn:
        schema = await _schema_of(conn)
        for table in (*crm_tables(), COMMANDS):
            await conn.execute(
                sql.SQL(HIDE_TABLE).format(name=sql.Identifier(table), real=sql.Identifier(schema, table))
            )
        await conn.execute(sql.SQL(COPY_MODES).format(real=sql.Identifier(schema, "watch_trust")))
        if as_of_history:
            await set_moment(conn, 0.0)
            for table, since in KNOWN_BY.items():
                await _hide_behind_view(conn, schema, table, since)
        await conn.execute(READ_ONLY)
        yield conn


def crm_tables() -> Sequence[str]:
    """Every table of the CRM side, as its migrations make them."""
    folder = files("crm_sync") / "migrations"
    texts = [file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted({name for text in texts for name in TABLE.findall(text)})


SET_MOMENT: LiteralString = "SELECT set_config(%s, %s, false)"


async def set_moment(conn: Connection, at_s: float) -> None:
    """Let the session see owners and grants as they were at a moment."""
    await conn.execute(SET_MOMENT, (MOMENT, to_datetime(at_s).isoformat()))


SCHEMA_OF: LiteralString = """
SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = 'service_case'::regclass
"""


async def _schema_of(conn: Connection) -> str:
    row = await (await conn.execute(SCHEMA_OF)).fetchone()
    assert row is not None  # else the cast has failed
    return str(row[0])


# Keys, checks and indexes come along; references to other tables and triggers do not.
HIDE_TABLE: LiteralString = "CREATE TEMPORARY TABLE {name} (LIKE {real} INCLUDING ALL)"
# Which watches are trusted is taken as it is today; what that trust rests on is not.
COPY_MODES: LiteralString = """
INSERT INTO watch_trust (tenant_id, model, watch, mode, mode_since, held, bar_at, counted_at)
SELECT tenant_id, model, watch, mode, 'epoch', held, 'epoch', 'epoch' FROM {real}
"""
READ_ONLY: LiteralString = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"

COLUMNS_OF: LiteralString = """
SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
HIDE_BEHIND_VIEW: LiteralString = """
CREATE TEMPORARY VIEW {name} AS
SELECT {columns} FROM {real} WHERE {since} <= current_setting({moment})::timestamptz
"""
UNTIL_THEN: LiteralString = """
CASE WHEN "until" <= current_setting({moment})::timestamptz THEN "until" END AS "until"
"""


async def _hide_behind_view(conn: Connection, schema: str, table: str, since: str) -> None:
    """Show of a table what was known of it at the session's moment."""
    rows = await (await conn.execute(COLUMNS_OF, (f'"{schema}"."{table}"',))).fetchall()
    moment = sql.Literal(MOMENT)
    columns = [
        sql.SQL(UNTIL_THEN).format(moment=moment) if name == "until" else sql.Identifier(name) for (name,) in rows
    ]
    statement = sql.SQL(HIDE_BEHIND_VIEW).format(
        name=sql.Identifier(table),
        columns=sql.SQL(", ").join(columns),
        real=sql.Identifier(schema, table),
        since=sql.Identifier(since),
        moment=moment,
    )
    await conn.execute(statement)
