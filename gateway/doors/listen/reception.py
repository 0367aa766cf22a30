"""From a listening socket to connections: who is accepted, who waits, and whose turn it is.

Accepting costs little and is never held up, so that every address is seen. What costs something, a TLS handshake and a
password check, goes at a pace, and addresses take turns at it.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.doors.listen.connection import Connection
from gateway.doors.listen.context import DoorContext
from gateway.doors.listen.lobby import Lobby
from gateway.doors.listen.throttle import Pace
from gateway.failed_logins import network_of

_AT_ONCE: Final = 128  # sockets accepted before others have a turn in the event loop
_NO_DESCRIPTORS_S: Final = 0.5
_LOOK_S: Final = 0.02
_GRACE: Final = 0.5  # of connect_timeout: how long one may stay half open when others wait and there is no room


@dataclass(eq=False, slots=True)
class Visitor:
    """A socket that was accepted, until its device is let in."""

    socket: socket.socket
    address: str
    network: str
    welcome: asyncio.Task[None] | None = None
    connection: Connection | None = None
    since_s: float = 0.0  # when it was called, on the loop's clock


class Reception:
    """Accepts on the door's listeners until it is closed."""

    def __init__(self, door: DoorContext, listeners: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        """Begin at once."""
        settings = door.settings
        self._door = door
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._listeners = listeners
        self._lobby: Lobby[Visitor] = Lobby(settings.max_waiting, settings.max_half_open)
        self._pace = Pace(settings.connections_per_s, time.monotonic)
        self._somebody = asyncio.Event()
        self._welcomes: set[asyncio.Task[None]] = set()
        self._ushering = asyncio.create_task(self._usher(), name="listen-usher")
        for listener in listeners:
            self._loop.add_reader(listener, self._accept, listener)

    @property
    def is_open(self) -> bool:
        """Whether anybody is accepted."""
        return not self._ushering.done()

    @property
    def half_open(self) -> int:
        """Connections that have had their turn and are not let in yet."""
        return self._lobby.greeted

    @property
    def waiting(self) -> int:
        """Connections that wait for their turn."""
        return self._lobby.waiting

    async def close(self) -> None:
        """Accept no more, and send away whoever waits or shakes hands."""
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self._ushering.cancel()
        await asyncio.gather(self._ushering, return_exceptions=True)  # a turn in which every welcome begins
        for welcome in self._welcomes:
            welcome.cancel()
        await asyncio.gather(*self._welcomes, return_exceptions=True)
        while (visitor := self._lobby.call()) is not None:
            self._send_away(visitor)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, (address, *_) = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # out of descriptors
                self._door.log.warning("listen.not_accepted", detail=str(error))
                self._loop.remove_reader(listener)
                self._loop.call_later(_NO_DESCRIPTORS_S, self._accept_again, listener)
                return
            self._door.counters.accepted += 1
            self._receive(Visitor(accepted, address, network_of(address)))

    def _accept_again(self, listener: socket.socket) -> None:
        if listener.fileno() != -1:
            self._loop.add_reader(listener, self._accept, listener)

    def _receive(self, visitor: Visitor) -> None:
        """Give a visitor its place in the queue, or send somebody away."""
        door = self._door
        door.networks[visitor.network] += 1
        most = door.settings.max_connections_per_address
        if most and door.networks[visitor.network] > most:
            self._turn_away(visitor, "max_connections_per_address")
            return
        visitor.socket.setblocking(False)  # noqa: FBT003 - its name
        gives_way = self._lobby.arrive(visitor, visitor.network)
        if gives_way is not None:
            self._turn_away(gives_way, "max_waiting")
        self._somebody.set()

    def _turn_away(self, visitor: Visitor, limit: str) -> None:
        self._door.counters.turned_away += 1
        self._door.log.warning("listen.turned_away", limit=limit)
        self._send_away(visitor)

    def _send_away(self, visitor: Visitor) -> None:
        """End a visit whose connection has not been made."""
        visitor.socket.close()
        self._lobby.leave(visitor, visitor.network)
        self._door.left(visitor.network)

    async def _usher(self) -> None:
        """Call one after the other, at the pace allowed."""
        while True:
            if not self._lobby.waiting:
                self._somebody.clear()
                await self._somebody.wait()
            while not self._lobby.has_room:
                self._hurry()
                await asyncio.sleep(_LOOK_S)
            await asyncio.sleep(self._pace.take())
            visitor = self._lobby.call()
            if visitor is None or _has_hung_up(visitor.socket):  # who has waited too long costs nobody else a turn
                self._pace.give_back()
                if visitor is not None:
                    self._send_away(visitor)
                continue
            visitor.since_s = self._loop.time()
            visitor.welcome = asyncio.create_task(self._welcome(visitor), name="listen-welcome")
            self._welcomes.add(visitor.welcome)
            visitor.welcome.add_done_callback(self._welcomes.discard)

    def _hurry(self) -> None:
        """There is no room for those who wait: who has been half open for long, from the most crowded address, goes."""
        slowest = self._lobby.slowest()
        grace_s = _GRACE * self._door.settings.connect_timeout
        if slowest is None or self._loop.time() - slowest.since_s < grace_s:
            return
        self._door.counters.turned_away += 1
        self._door.log.warning("listen.turned_away", limit="max_half_open")
        if slowest.connection is not None:
            slowest.connection.abort()
        elif slowest.welcome is not None:
            slowest.welcome.cancel()
        self._lobby.leave(slowest, slowest.network)

    async def _welcome(self, visitor: Visitor) -> None:
        """The TLS handshake, if there is one; from then on its connection sees to itself."""
        timeout_s = self._door.settings.connect_timeout
        introduced = partial(self._lobby.leave, visitor, visitor.network)
        connection = Connection(self._door, visitor.address, visitor.network, introduced)
        try:
            visitor.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await self._loop.connect_accepted_socket(
                lambda: connection,
                visitor.socket,
                ssl=self._tls,
                ssl_handshake_timeout=timeout_s if self._tls else None,
            )
            visitor.connection = connection
        except (OSError, ssl.SSLError) as error:
            self._send_away(visitor)
            self._door.counters.violations["tls_handshake"] += 1
            self._door.log.warning("listen.handshake_failed", detail=type(error).__name__)
        except asyncio.CancelledError:
            if connection not in self._door.connections:
                self._send_away(visitor)
            raise


def _has_hung_up(waiting: socket.socket) -> bool:
    try:
        return not waiting.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
