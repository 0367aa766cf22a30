"""The listen door: sockets in, connections out."""

import asyncio
import contextlib
import errno
import secrets
import socket
import ssl
import time
from typing import Final

from devices.clock import Clock
from devices.errors import ConfigError, Fault
from gateway.doors.authenticate import Authenticator
from gateway.doors.listen.connection import Connection
from gateway.doors.listen.context import DoorContext, Valve
from gateway.doors.listen.counters import ListenCounters, ListenStats
from gateway.doors.listen.login import Logins
from gateway.doors.listen.throttle import FailedLogins, Pace
from gateway.doors.listen.tls import server_context
from gateway.doors.mqtt.codes import ReasonCode
from gateway.doors.routes import Routes
from gateway.doors.settings import ListenSettings, is_loopback
from gateway.doors.sparing import Log, SparingLog
from gateway.intake import Intake

_BACKLOG: Final = 1024
_STOP_S: Final = 10.0
_NO_DESCRIPTORS_S: Final = 0.5
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class ListenDoor:
    """An MQTT 3.1.1 and 5 endpoint that devices connect to; it routes nothing between them."""

    def __init__(  # noqa: PLR0917 - the composition root's contract
        self,
        settings: ListenSettings,
        intake: Intake,
        authenticator: Authenticator,
        routes: Routes,
        clock: Clock,
        log: Log,
    ) -> None:
        """Check what can be checked without a socket. Raises ConfigError."""
        if not settings.tls.enabled and not is_loopback(settings.host):
            raise ConfigError([Fault("listen.host", settings.host, "a loopback address, or any with listen.tls")])
        self._tls = server_context(settings.tls)
        self._settings = settings
        self._log = log
        self._sparing = SparingLog(log)
        self._counters = ListenCounters()
        self._pace = Pace(settings.connections_per_s, time.monotonic)
        failed_logins = FailedLogins(settings.failed_logins_burst, settings.failed_logins_per_minute, time.monotonic)
        self._door = DoorContext(
            settings=settings,
            intake=intake,
            routes=routes,
            clock=clock,
            log=self._sparing,
            counters=self._counters,
            failed_logins=failed_logins,
            valve=Valve(intake),
            logins=Logins(authenticator),
            new_client_id=lambda: f"careloop-{secrets.token_hex(8)}",
        )
        self._listeners: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: set[asyncio.Task[None]] = set()
        self.port = settings.port

    @property
    def healthy(self) -> bool:
        """Whether devices can connect."""
        return bool(self._accepting) and not any(task.done() for task in self._accepting)

    @property
    def connections(self) -> int:
        """Devices that are connected and logged in."""
        return len(self._door.roll)

    @property
    def stats(self) -> ListenStats:
        """What the door has seen since it started."""
        return self._counters.snapshot(self.connections)

    def is_connected(self, device_id: str) -> bool:
        """Whether a device is connected and logged in."""
        return self._door.roll.find(device_id) is not None

    def disconnect(self, device_id: str) -> None:
        """Cut a device off whose credentials were revoked."""
        seated = self._door.roll.find(device_id)
        if seated is not None:
            seated.dismiss(ReasonCode.NOT_AUTHORIZED)

    def send_command(self, device_id: str, command_id: str, payload: bytes) -> bool:
        """Send a command to a device that is connected and subscribed to it; else False."""
        seated = self._door.roll.find(device_id)
        return seated is not None and seated.send_command(command_id, payload)

    async def start(self) -> None:
        """Bind and accept. Raises ConfigError when the address cannot be had."""
        try:
            self._listeners = await _bind(self._settings.host, self._settings.port)
        except OSError as error:
            found = f"{self._settings.host} port {self._settings.port}"
            raise ConfigError([Fault("listen.port", found, f"an address that is free ({error})")]) from error
        if not self._listeners:
            raise ConfigError([Fault("listen.host", self._settings.host, "an address of this machine")])
        self.port = self._listeners[0].getsockname()[1]
        self._accepting = [
            asyncio.create_task(self._accept(listener), name=f"listen-accept-{listener.fileno()}")
            for listener in self._listeners
        ]
        self._log.info("listen.ready", host=self._settings.host, port=self.port, tls=self._tls is not None)

    async def stop(self) -> None:
        """Accept no more, let what was read be settled, say goodbye, close."""
        await asyncio.sleep(0)  # a welcome that has just been made takes its socket over before it is cancelled
        for task in (*self._accepting, *self._handshakes):
            task.cancel()
        await asyncio.gather(*self._accepting, *self._handshakes, return_exceptions=True)
        self._accepting.clear()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        connections = self._door.connections
        for connection in tuple(connections):
            connection.finish()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._door.empty.wait(), _STOP_S)
        for connection in tuple(connections):
            connection.abort()
        self._door.logins.close()

    async def _accept(self, listener: socket.socket) -> None:
        """Accept one after another, at the pace allowed; the kernel's backlog holds the rest."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:  # out of descriptors, or gone before it was accepted
                self._sparing.warning("listen.not_accepted", detail=str(error))
                await asyncio.sleep(_NO_DESCRIPTORS_S)
                continue
            self._counters.accepted += 1
            if len(self._door.connections) + len(self._handshakes) >= self._settings.max_connections:
                self._counters.turned_away += 1
                self._sparing.warning("listen.turned_away", max_connections=self._settings.max_connections)
                accepted.close()
                continue
            wait_s = self._pace.take()
            if wait_s:
                await asyncio.sleep(wait_s)
            handshake = asyncio.create_task(self._welcome(accepted), name="listen-welcome")
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _welcome(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await loop.connect_accepted_socket(
                lambda: Connection(self._door),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=self._settings.connect_timeout if self._tls else None,
            )
        except (OSError, ssl.SSLError) as error:
            accepted.close()
            self._counters.violations["tls_handshake"] += 1
            self._sparing.warning("listen.handshake_failed", detail=type(error).__name__)


async def _bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets on every address of `host`, all on one port."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            at = (address[0], port or (listeners[0].getsockname()[1] if listeners else 0))
            try:
                listener = socket.create_server(at, family=family, backlog=_BACKLOG)
            except OSError as error:
                if error.errno in _NOT_HERE and len(found) > 1:
                    continue  # one of several addresses, such as ::1 where IPv6 is off
                raise
            listener.setblocking(False)  # noqa: FBT003 - its name
            listeners.append(listener)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners
