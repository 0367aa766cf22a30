"""Sessions with the database that answer alike, whatever the server, the database or the role would have them do.

A database may have a style of its own for dates, a time zone, an encoding, fewer digits for numbers, stricter
transactions. None of that is careloop's business: each session is told first how it shall speak. It is told by SET, so
that the URL keeps its own `options` (a `search_path`, say), and a pooler that takes none lets us in.
"""

from collections.abc import Sequence
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.errors import TooManyConnections
from psycopg.rows import TupleRow

from devices.errors import ConfigError, Fault

Connection = AsyncConnection[TupleRow]

CONNECT_TIMEOUT_S: Final = 10

_ASKED: Final = 8  # times, of a pooler, who answers

SPEAK_ALIKE: LiteralString = """
SET client_encoding = 'UTF8'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET timezone = 'UTC';
SET extra_float_digits = 1; SET default_transaction_isolation = 'read committed'; SET jit = off
"""
"""None of our statements runs so long that compiling it first would pay; many are guessed to."""


async def open_session(
    conninfo: str, name: str | None = None, *, autocommit: bool = False, timeout_s: int = CONNECT_TIMEOUT_S
) -> Connection:
    """A connection that speaks as careloop reads; the server knows it by its `name`, where it has one."""
    conn = await AsyncConnection.connect(
        conninfo, autocommit=autocommit, connect_timeout=timeout_s, application_name=name
    )
    try:
        await speak_alike(conn)
    except BaseException:
        await conn.close()
        raise
    return conn


async def speak_alike(conn: Connection) -> None:
    """Tell a new session how to speak; a transaction that is taken back later does not undo it."""
    await conn.execute(SPEAK_ALIKE, prepare=False)
    if not conn.autocommit:
        await conn.commit()


async def require_own_sessions(conninfo: str) -> None:
    """See to it that each connection has a session to itself. Raises ConfigError.

    A pooler that lends a session for a transaction at a time leaves locks with whoever has it next: no gateway could
    ever own the database again. A busy one lends whatever is free: each connection is asked several times who answers.
    """
    async with (
        await open_session(conninfo, autocommit=True) as one,
        await open_session(conninfo, autocommit=True) as other,
    ):
        pair: Sequence[tuple[Connection, set[int]]] = ((one, set()), (other, set()))
        for asked in range(_ASKED):
            for conn, processes in pair if asked % 2 == 0 else reversed(pair):  # or it could take turns as we do
                processes.add(await server_process(conn))
            if any(len(processes) > 1 for _, processes in pair) or pair[0][1] & pair[1][1]:
                found = "a connection pooler that lends sessions for a transaction at a time"
                allowed = "PostgreSQL itself, or a pooler in session mode (PgBouncer: pool_mode = session)"
                raise ConfigError([Fault("database.url", found, allowed)])
            if all(conn.info.backend_pid in processes for conn, processes in pair):
                return  # who answers is who let us in: nobody is in between


SERVER_PROCESS: LiteralString = "SELECT pg_backend_pid()"


async def server_process(conn: Connection) -> int:
    """Which process of the server answers; a pooler in between makes up what it says at the connect."""
    row = await (await conn.execute(SERVER_PROCESS, prepare=False)).fetchone()
    assert row is not None
    return int(row[0])


_NO_ROOM: Final = ("too many clients already", "remaining connection slots are reserved")


def has_no_room(error: BaseException) -> bool:
    """Whether all of the server's connections are taken; of one that is refused, libpq tells nothing but its words."""
    return isinstance(error, TooManyConnections) or any(words in str(error) for words in _NO_ROOM)
