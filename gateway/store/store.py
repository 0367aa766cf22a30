"""The ingest connection: who owns it, what it may write, and whether a transaction has been committed."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final, LiteralString

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.profiles.model import Profile
from gateway.database.edition import Edition, detect_edition
from gateway.database.patience import PatientConnection, with_keepalive
from gateway.database.session import speak_alike
from gateway.store.binary_copy import best_encoder
from gateway.store.editions import Divider, divider_of, lift_limits
from gateway.store.ownership import (
    STANDBY_POLL_S,
    OwnershipLostError,
    end_own_sessions,
    raise_fence,
    read_fence,
    try_lock,
)
from gateway.store.queries import find_batch
from gateway.store.tables import ReadingTables

Connection = AsyncConnection[TupleRow]

_CHUNK_INTERVAL_S: Final = 7 * 86_400.0
_PATIENCE_S: Final = 15.0  # with an answer that does not come: the connection may be dead, or the database slow…
_LONGEST_PATIENCE_S: Final = 240.0  # …so that each attempt is given twice the time of the one before
_TRANSACTION_TIMEOUT_S: Final = 600.0
_CONNECT_TIMEOUT_S: Final = 10

LOST_CONNECTION: Final = (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError, OSError)
"""What a database that is down, restarting, full or unreachable raises; a later attempt may succeed."""


class Store:
    """One gateway's access to the reading tables; everything it writes, it writes as the owner of ingest."""

    def __init__(
        self,
        conninfo: str,
        profiles: Mapping[str, Profile],
        log: structlog.typing.FilteringBoundLogger,
        chunk_interval_s: float = _CHUNK_INTERVAL_S,
    ) -> None:
        self.fence = 0
        self.is_standby = False  # another gateway owns the database
        self.edition: Edition | None = None
        self.profiles = profiles
        self.encode = best_encoder()
        self._conninfo = conninfo
        self._log = log
        self._chunk_interval_s = chunk_interval_s
        self._name = f"careloop ingest {uuid.uuid4().hex[:12]}"
        self.patience_s = _PATIENCE_S  # how long an answer is waited for
        self._lock_conn: PatientConnection | None = None
        self._conn: PatientConnection | None = None
        self._divider: Divider | None = None
        self._tables: ReadingTables | None = None

    @property
    def tables(self) -> ReadingTables:
        """The reading tables; known once the store has been opened."""
        assert self._tables is not None, "the store has not been opened"
        return self._tables

    @property
    def divider(self) -> Divider:
        """What makes room for readings of any time."""
        assert self._divider is not None, "the store has not been opened"
        return self._divider

    async def open(self) -> PatientConnection:
        """Become the owner, waiting for as long as another gateway is; then look at the tables.

        Opened again after a broken connection, it goes on under a new fence. Raises OwnershipLostError when another
        gateway has written since, and LOST_CONNECTION while the database cannot be reached.
        """
        await self._own()
        await _let_go(self._conn)
        conn = self._conn = await self._connect(self._name)
        if self.fence and self.fence != await read_fence(conn):
            raise OwnershipLostError
        self.fence = await raise_fence(conn, self._name)
        if self._tables is None:
            self.edition = await detect_edition(conn)
            self._divider = divider_of(self.edition, self._chunk_interval_s)
            self._tables = ReadingTables(self._divider)
        await lift_limits(conn, self.edition)
        await self._tables.load(conn, self.profiles.values())
        return conn

    async def _own(self) -> None:
        """Hold the lock; where its session is gone, end what the server still keeps of ours and take it again."""
        if self._lock_conn is not None:
            with suppress(*LOST_CONNECTION):
                await end_own_sessions(self._lock_conn, self._name)
                return
        await self.close()
        conn = self._lock_conn = await self._connect(f"{self._name} lock")
        await end_own_sessions(conn, self._name)
        await end_own_sessions(conn, f"{self._name} lock")
        await self._wait_for_lock(conn)

    async def _wait_for_lock(self, conn: Connection) -> None:
        is_told = False
        try:
            while not await try_lock(conn):
                self.is_standby = True
                if self.fence and self.fence != await read_fence(conn):
                    raise OwnershipLostError
                if not is_told:
                    self._log.warning("ingest.standby", reason="another gateway owns this database")
                    is_told = True
                await asyncio.sleep(STANDBY_POLL_S)
        finally:
            self.is_standby = False

    async def _connect(self, name: str) -> PatientConnection:
        conninfo = with_keepalive(self._conninfo)
        conn = await PatientConnection.connect(
            conninfo, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S, application_name=name
        )
        conn.patience_s = _PATIENCE_S
        await speak_alike(conn)
        await conn.execute(PREPARE_SESSION)
        return conn

    async def connection(self) -> Connection:
        """The ingest connection, opened again where it broke."""
        return await self._usable()

    async def _usable(self) -> PatientConnection:
        conn = self._conn
        return conn if conn is not None and not conn.closed and not conn.broken else await self.open()

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """One ingest transaction, committed when the block ends well.

        On LOST_CONNECTION, which includes a COMMIT that nobody answered, the caller cannot know what became of it:
        `was_committed` tells.
        """
        conn = await self._usable()
        conn.patience_s = self.patience_s
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(_TRANSACTION_TIMEOUT_S):
                await conn.execute("BEGIN", prepare=False)
                yield conn
                answer = await conn.execute("COMMIT", prepare=False)
        except BaseException as error:
            await self._give_up(conn, error)
            raise
        self.patience_s = min(max(_PATIENCE_S, 4 * (time.monotonic() - started_s)), _LONGEST_PATIENCE_S)
        if answer.statusmessage != "COMMIT":
            message = f"COMMIT was answered with {answer.statusmessage}"
            raise psycopg.OperationalError(message)

    async def _give_up(self, conn: PatientConnection, error: BaseException) -> None:
        """Undo what a transaction has done; a connection that may be stuck or broken is not used again."""
        if conn.has_given_up:
            self.patience_s = min(2 * self.patience_s, _LONGEST_PATIENCE_S)
        if not isinstance(error, TimeoutError):
            with suppress(psycopg.Error, OSError):
                await conn.rollback()
        if isinstance(error, TimeoutError) or conn.broken:
            await _let_go(conn)

    async def was_committed(self, batch_seq: int) -> bool:
        """Whether the transaction of that number stands."""
        conn = await self.connection()
        async with conn.transaction():
            return await find_batch(conn, batch_seq)

    async def close(self) -> None:
        """Let go of the connections, and with them of the ownership."""
        await _let_go(self._conn)
        await _let_go(self._lock_conn)
        self._conn = self._lock_conn = None


async def _let_go(conn: Connection | None) -> None:
    if conn is not None:
        with suppress(psycopg.Error, OSError):
            await conn.close()


# A session whose gateway has vanished must not hold the locks for ever, neither in a transaction nor, where its machine
# has gone with it, between two: the server looks for a sign of life as the gateway does. And the end of the year 9999
# must not lie in the year 10000, which Python does not know, because the server lives east of Greenwich.
PREPARE_SESSION: LiteralString = """
SET idle_in_transaction_session_timeout = '60s'; SET tcp_user_timeout = '25s';
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3
"""
