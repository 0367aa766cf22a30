"""A database at hand for as long as the gateway runs: the configured one awaited, the embedded one kept running."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, LiteralString, cast

import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from devices.errors import CareloopError
from gateway.database.awaited import until_it_answers
from gateway.database.connect import build_embedded, configured_url, is_embedded
from gateway.database.edition import Edition, detect_edition
from gateway.database.embedded import EmbeddedPostgres
from gateway.database.migrate import migrate
from gateway.database.patience import KEEPALIVE, STATEMENT_S, PatientConnection, check_answers
from gateway.database.session import CONNECT_TIMEOUT_S, open_session, speak_alike
from gateway.outage import Outage
from gateway.settings import Settings

Log = structlog.typing.FilteringBoundLogger
Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]

APPLICATION: Final = "careloop"
"""What the database knows the gateway's own pool by."""
LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Database:
    """A database whose schema is up to date."""

    url: str
    pool: Pool
    edition: Edition
    applied: int  # migrations, just now


@asynccontextmanager
async def hold_database(
    settings: Settings, stop: asyncio.Event, say: Callable[[str], None], log: Log
) -> AsyncGenerator[Database | None]:
    """Wait until the database answers, bring its schema up to date, and keep the embedded one running.

    None when told to stop before that; `say` is told what is being waited for. Raises ConfigError when the database
    does not fit.
    """
    async with _server(settings, log) as url:
        found = await _prepare(url, stop, say, log)
        if found is None:
            yield None
            return
        edition, applied = found
        async with build_pool(url, settings.database.pool_size, autocommit=True) as pool:
            yield Database(url, pool, edition, applied)


async def _prepare(url: str, stop: asyncio.Event, say: Callable[[str], None], log: Log) -> tuple[Edition, int] | None:
    async def prepare() -> tuple[Edition, int]:
        applied = await migrate(url)
        async with await open_session(url) as conn:
            return await detect_edition(conn), len(applied)

    return await until_it_answers(prepare, stop, Outage(log, "database.awaited", "database.answers"), say)


def build_pool(url: str, size: int, name: str = APPLICATION, *, autocommit: bool = False) -> Pool:
    """A pool, not yet open, of at most `size` connections, each looked at before it is lent.

    With `autocommit` a statement is a transaction of its own, which spares a reading request half of its round trips;
    whoever writes more than one thing begins a transaction, which keeps them together.
    """
    pool = AsyncConnectionPool(
        url,
        min_size=2,
        max_size=size,
        open=False,
        connection_class=PatientConnection,
        configure=_configure,
        check=check_answers,
        kwargs={
            "autocommit": autocommit,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "fallback_application_name": name,  # as the server calls it, where the URL does not
            **KEEPALIVE,
        },
        timeout=10.0,
        reconnect_timeout=5.0,
        name=name,
    )
    return cast("Pool", pool)  # what it hands out is more than its users ask for


LIMIT_STATEMENTS: Final[LiteralString] = "SELECT set_config('statement_timeout', %s, false)"


async def _configure(conn: AsyncConnection[TupleRow]) -> None:
    """Tell a connection of the pool how to speak, and for how long to think."""
    await speak_alike(conn)
    await conn.execute(LIMIT_STATEMENTS, (f"{STATEMENT_S:.0f}s",))
    if not conn.autocommit:
        await conn.commit()


@asynccontextmanager
async def _server(settings: Settings, log: Log) -> AsyncGenerator[str]:
    """The configured database, or the embedded one, which is kept running."""
    if not is_embedded(settings):
        yield configured_url(settings.database)
        return
    embedded = build_embedded(settings, os.environ)
    keeper: asyncio.Task[None] | None = None
    try:
        url = await asyncio.to_thread(embedded.start)
        keeper = asyncio.create_task(_keep_running(embedded, log), name="embedded-database")
        yield url
    finally:
        if keeper is not None:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
        await asyncio.to_thread(embedded.stop)  # waits for a start that is under way


async def _keep_running(embedded: EmbeddedPostgres, log: Log) -> None:
    """Start the embedded database again whenever it dies; it recovers what it had confirmed."""
    while True:
        await asyncio.sleep(LOOK_S)
        if embedded.pid is None:
            log.error("database.died", folder=str(embedded.folder))
            try:
                await asyncio.to_thread(embedded.start, at_its_port=True)
                log.info("database.restarted")
            except CareloopError as error:
                log.exception("database.not_restarted", reason=error.reason, detail=error.detail)
