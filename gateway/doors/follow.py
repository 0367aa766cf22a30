"""Follows the registry in the database, so that who may connect changes while the gateway runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from psycopg import Error, sql

from devices.registry.queries import CHANNEL, Connection
from gateway.doors.authenticate import RegistryAuthenticator
from gateway.doors.sparing import Log

_RECONNECT_S: Final = 1.0
_REFRESH_S: Final = 600.0

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
        except (Error, OSError) as error:
            log.warning("registry.not_followed", detail=type(error).__name__)
            await asyncio.sleep(_RECONNECT_S)


async def _follow(authenticator: RegistryAuthenticator, conn: Connection, on_lost: Callable[[str], None]) -> None:
    await conn.execute(LISTEN)  # before the first reading of the registry: nothing falls between
    while True:
        for device_id in await authenticator.refresh(conn):
            on_lost(device_id)
        async for notify in conn.notifies(timeout=_REFRESH_S):
            if notify.payload == "*":
                break
            if await authenticator.refresh_device(conn, notify.payload):
                on_lost(notify.payload)
