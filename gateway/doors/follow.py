"""Follows the registry in the database, so that who may connect changes while the gateway runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from psycopg import Error, sql

from devices.registry.queries import CHANNEL, Connection
from gateway.doors.authenticate import RegistryAuthenticator
from gateway.doors.sparing import Log

_RECONNECT_S: Final = 1.0
_QUIET_S: Final = 30.0
_QUERY_S: Final = 60.0
_MANY: Final = "*"

LISTEN: Final = sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL))


async def follow_registry(
    authenticator: RegistryAuthenticator,
    connect: Callable[[], Awaitable[Connection]],
    on_lost: Callable[[str], None],
    log: Log,
) -> None:
    """Keep `authenticator` as the database says, until cancelled; `on_lost` gets each device that lost a credential.

    `connect` opens a connection of its own in autocommit mode. While the database cannot be reached, what was last
    known holds.
    """
    while True:
        try:
            async with await connect() as conn:
                await _follow(authenticator, conn, on_lost)
        except (Error, OSError) as error:  # TimeoutError is an OSError
            log.warning("registry.not_followed", detail=type(error).__name__)
            await asyncio.sleep(_RECONNECT_S)


async def _follow(authenticator: RegistryAuthenticator, conn: Connection, on_lost: Callable[[str], None]) -> None:
    changed = {_MANY}  # since we last listened, which may be never
    await _listen(conn)  # before the registry is read: nothing falls between
    while True:
        for device_id in await _refresh(authenticator, conn, changed):
            on_lost(device_id)
        # A query would wait for ever on a connection whose notifications are being iterated: these first, then it.
        changed = {notify.payload async for notify in conn.notifies(timeout=_QUIET_S, stop_after=1)}
        if not changed:
            await _listen(conn)  # is anybody still there?


async def _refresh(authenticator: RegistryAuthenticator, conn: Connection, changed: set[str]) -> frozenset[str]:
    """Read again what has changed; the devices that lost a credential."""
    async with asyncio.timeout(_QUERY_S):
        if _MANY in changed:
            return await authenticator.refresh(conn)
        return frozenset([device_id for device_id in changed if await authenticator.refresh_device(conn, device_id)])


async def _listen(conn: Connection) -> None:
    async with asyncio.timeout(_QUERY_S):
        await conn.execute(LISTEN)
