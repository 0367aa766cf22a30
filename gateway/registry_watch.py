"""Follows the registry in the database, so that devices and who may connect change while the gateway runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from psycopg import Error, sql

from devices.registry.queries import CHANNEL, Connection, load_devices
from gateway.doors.authenticate import RegistryAuthenticator
from gateway.doors.sparing import Log
from gateway.pipeline.directory import DeviceDirectory

_RECONNECT_S: Final = 1.0
_REFRESH_S: Final = 600.0
_EVERYTHING: Final = "*"

LISTEN: Final = sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL))


async def watch_registry(  # noqa: PLR0917 - who is kept up to date, from where, and who is told
    directory: DeviceDirectory,
    authenticator: RegistryAuthenticator,
    connect: Callable[[], Awaitable[Connection]],
    on_lost: Callable[[str], None],
    loaded: asyncio.Event,
    log: Log,
) -> None:
    """Keep both as the database says, until cancelled; `on_lost` gets each device that lost a credential.

    Sets `loaded` once the whole registry has been read for the first time.

    `connect` opens a connection of its own in autocommit mode. While the database cannot be reached, what was last
    known holds.
    """
    while True:
        try:
            async with await connect() as conn:
                await _follow(conn, directory, authenticator, on_lost, loaded)
        except (Error, OSError) as error:
            log.warning("registry.not_followed", detail=type(error).__name__)
            await asyncio.sleep(_RECONNECT_S)


async def _follow(
    conn: Connection,
    directory: DeviceDirectory,
    authenticator: RegistryAuthenticator,
    on_lost: Callable[[str], None],
    loaded: asyncio.Event,
) -> None:
    await conn.execute(LISTEN)  # before the first reading of the registry: nothing falls between
    changed = {_EVERYTHING}
    while True:
        if _EVERYTHING in changed:
            directory.replace(await load_devices(conn))
            for device_id in await authenticator.refresh(conn):
                on_lost(device_id)
            loaded.set()
        else:
            for device_id in changed:
                await _refresh_device(conn, directory, device_id)
                if await authenticator.refresh_device(conn, device_id):
                    on_lost(device_id)
        # The connection cannot be asked while notifications are read from it, so they are taken first.
        notifies = conn.notifies(timeout=_REFRESH_S, stop_after=1)
        changed = {notify.payload async for notify in notifies} or {_EVERYTHING}


async def _refresh_device(conn: Connection, directory: DeviceDirectory, device_id: str) -> None:
    found = await load_devices(conn, device_id)
    if found:
        directory.put(found[0])
    else:
        directory.remove(device_id)
