"""The connection that maintenance works on, and its transactions: small, one gateway's at a time, in nobody's way."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from gateway.database.session import open_session

Connection = AsyncConnection[TupleRow]

APPLICATION: Final = "careloop maintenance"

WAIT_FOR_A_TABLE: LiteralString = "300ms"
WAIT_FOR_OTHERS: LiteralString = "60s"

# Whoever waits for a lock lets others wait behind it: better given up soon and tried again. A crash may undo the last
# moments of maintenance, which are then done again. What is new is found by the index over batches, whatever
# statistics say of a table that has just grown.
PREPARE_SESSION: LiteralString = f"""
SET lock_timeout = '{WAIT_FOR_A_TABLE}'; SET statement_timeout = '300s';
SET idle_in_transaction_session_timeout = '60s'; SET synchronous_commit = off;
SET max_parallel_workers_per_gather = 0; SET enable_seqscan = off
"""


async def connect(conninfo: str) -> Connection:
    """A connection for maintenance."""
    conn = await open_session(conninfo, APPLICATION, autocommit=True)
    await conn.execute(PREPARE_SESSION)
    return conn


TAKE_TIME: LiteralString = "SET statement_timeout = 0"
HURRY: LiteralString = "SET statement_timeout = '300s'"


@asynccontextmanager
async def unhurried(conn: Connection) -> AsyncGenerator[None]:
    """Let a statement that is in nobody's way take as long as it takes."""
    await conn.execute(TAKE_TIME)
    try:
        yield
    finally:
        if not conn.closed:
            await conn.execute(HURRY)


# Behind this lock wait only others like us: they let it go after each of their transactions, so it is waited for.
LOCK_MAINTENANCE: LiteralString = f"""
SET LOCAL lock_timeout = '{WAIT_FOR_OTHERS}';
SELECT pg_advisory_xact_lock(hashtextextended('careloop maintenance ' || current_schema(), 0));
SET LOCAL lock_timeout = '{WAIT_FOR_A_TABLE}'
"""


@asynccontextmanager
async def maintaining(conn: Connection) -> AsyncGenerator[None]:
    """A transaction that no other gateway's maintenance runs beside; it waits for theirs, for a minute at most."""
    async with conn.transaction():
        await conn.execute(LOCK_MAINTENANCE, prepare=False)
        yield
