"""Follows the registry in the database, so that devices and who may connect change while the gateway runs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from psycopg import Error, sql

from devices.registry.changes import Known, changes
from devices.registry.queries import CHANNEL, Connection
from gateway.doors.authenticate import RegistryAuthenticator
from gateway.doors.sparing import Log
from gateway.outage import Outage
from gateway.pipeline.directory import DeviceDirectory

_RECONNECT_S: Final = 1.0
_REFRESH_S: Final = 600.0
_ASK_S: Final = 20.0  # between looks at whether a connection that says nothing still lives
_ANSWER_S: Final = 10.0
_MANY: Final = "*"
_AT_ONCE: Final = 1000

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
    known holds. However many devices there are, others in the event loop have a turn after every few hundred.
    """
    watch = RegistryWatch(directory, authenticator, on_lost)
    outage = Outage(log, "registry.not_followed", "registry.followed_again")

    def is_read() -> None:
        loaded.set()
        outage.ends()

    while True:
        try:
            async with await connect() as conn:
                await _follow(conn, watch, is_read)
        except (Error, OSError) as error:
            outage.goes_on(detail=type(error).__name__)
            await asyncio.sleep(_RECONNECT_S)


async def _follow(conn: Connection, watch: "RegistryWatch", on_read: Callable[[], None]) -> None:
    await conn.execute(LISTEN)  # before the first reading of the registry: nothing falls between
    mark = await watch.read_all(conn)
    on_read()
    while True:
        changed = await _hear(conn)
        if changed and _MANY not in changed:
            await watch.read_these(conn, sorted(changed))
        else:  # many at once, or nothing heard for long
            mark = await watch.read_since(conn, mark)


async def _hear(conn: Connection) -> set[str]:
    """What has changed; nothing, when nothing was heard for long. Raises TimeoutError where the connection is dead.

    The connection cannot be asked while notifications are read from it, so they are taken first.
    """
    for _ in range(int(_REFRESH_S / _ASK_S)):
        changed = {notify.payload async for notify in conn.notifies(timeout=_ASK_S, stop_after=1)}
        if changed:
            return changed
        async with asyncio.timeout(_ANSWER_S):
            await conn.execute(LISTEN)
    return set()


@dataclass(frozen=True, slots=True)
class RegistryWatch:
    """What is kept up to date, and who is told of a device that lost a credential."""

    directory: DeviceDirectory
    authenticator: RegistryAuthenticator
    on_lost: Callable[[str], None]

    async def read_all(self, conn: Connection) -> str:
        """Take the whole registry, also out of what was known before; the mark to go on from.

        Nobody's seat is lost because the database was away: only what differs is changed.
        """
        seen: set[str] = set()
        mark = await self._read(conn, None, None, seen)
        known = self.directory.ids()
        for at in range(0, len(known), _AT_ONCE):
            for device_id in known[at : at + _AT_ONCE]:
                if device_id not in seen:  # deleted, or never there: a database that was restored from a backup
                    self._take(Known(device_id, None, ()))
            await asyncio.sleep(0)
        return mark

    async def read_since(self, conn: Connection, mark: str) -> str:
        """Take what has changed since; the mark to go on from."""
        return await self._read(conn, mark, None, None)

    async def read_these(self, conn: Connection, device_ids: Sequence[str]) -> None:
        """Take a few devices anew."""
        await self._read(conn, None, device_ids, None)

    async def _read(
        self, conn: Connection, since: str | None, device_ids: Sequence[str] | None, seen: set[str] | None
    ) -> str:
        mark = ""
        async with aclosing(changes(conn, since, device_ids)) as found:
            async for part in found:
                if isinstance(part, str):
                    mark = part
                    continue
                for known in part:
                    self._take(known)
                if seen is not None:
                    seen.update([known.device_id for known in part])
                await asyncio.sleep(0)
        return mark

    def _take(self, known: Known) -> None:
        if known.device is not None:
            if self.directory.get(known.device_id) != known.device:
                self.directory.put(known.device)
            lost = self.authenticator.put(known.device_id, known.credentials)
        else:
            self.directory.remove(known.device_id)
            lost = self.authenticator.remove(known.device_id)
        if lost:
            self.on_lost(known.device_id)
