"""The listen door: sockets in, connections out."""

import asyncio
import contextlib
import errno
import secrets
import socket
import time
from typing import Final

from devices.clock import Clock
from devices.errors import ConfigError, Fault
from gateway.doors.authenticate import Authenticator
from gateway.doors.descriptors import raise_file_limit
from gateway.doors.listen.context import Courier, DoorContext, NoCourier, Seated, Valve
from gateway.doors.listen.counters import ListenCounters, ListenStats
from gateway.doors.listen.login import Logins
from gateway.doors.listen.reach import Reach
from gateway.doors.listen.reception import Reception
from gateway.doors.listen.tls import server_context
from gateway.doors.mqtt.codes import ReasonCode
from gateway.doors.routes import Routes
from gateway.doors.settings import ListenSettings, is_loopback
from gateway.doors.sparing import Log, SparingLog
from gateway.failed_logins import FailedLogins
from gateway.intake import Intake

_BACKLOG: Final = 4096
_STOP_S: Final = 10.0
_OTHER_FILES: Final = 200  # that the gateway has open, beside connections
_ENOUGH_TO_BEGIN: Final = 1000
"""Files that are enough for most fleets of a first day; who has more devices is told again when they run out."""

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
        *,
        courier: Courier | None = None,
    ) -> None:
        """Check what can be checked without a socket; `courier` sends commands. Raises ConfigError."""
        if not settings.tls.enabled and not is_loopback(settings.host):
            raise ConfigError([Fault("listen.host", settings.host, "a loopback address, or any with listen.tls")])
        self._tls = server_context(settings.tls)
        self._settings = settings
        self._log = log
        self._counters = ListenCounters()
        failed_logins = FailedLogins(
            settings.failed_logins_burst,
            settings.failed_logins_per_minute,
            time.monotonic,
            left_to_others=settings.failed_logins_burst // 4,
        )
        connections: set[Seated] = set()
        self._door = DoorContext(
            settings=settings,
            intake=intake,
            reach=Reach(routes, settings.authority()),
            clock=clock,
            log=SparingLog(log),
            counters=self._counters,
            failed_logins=failed_logins,
            valve=Valve(intake, connections),
            connections=connections,
            logins=Logins(authenticator),
            new_client_id=lambda: f"careloop-{secrets.token_hex(8)}",
            courier=courier or NoCourier(),
        )
        self._reception: Reception | None = None
        self.port = settings.port

    @property
    def healthy(self) -> bool:
        """Whether devices can connect."""
        return self._reception is not None and self._reception.is_open

    @property
    def trouble(self) -> str | None:
        """Nothing comes again that does not come from a device; what devices do wrong is their own."""
        return None

    @property
    def connections(self) -> int:
        """Devices that are connected and logged in."""
        return len(self._door.roll)

    @property
    def stats(self) -> ListenStats:
        """What the door has seen since it started."""
        reception = self._reception
        waiting, half_open = (reception.waiting, reception.half_open) if reception is not None else (0, 0)
        return self._counters.snapshot(self.connections, waiting, half_open)

    def is_connected(self, device_id: str) -> bool:
        """Whether a device is connected and logged in."""
        return self._door.roll.find(device_id) is not None

    def disconnect(self, device_id: str) -> None:
        """Cut a device off that has lost a credential, unless it was let in by another one."""
        seated = self._door.roll.find(device_id)
        if seated is not None and not self._door.logins.stands(device_id, seated.credential_id):
            seated.dismiss(ReasonCode.NOT_AUTHORIZED)

    def send_command(self, device_id: str, command_id: str, payload: bytes, expires_in_s: int | None = None) -> bool:
        """Send a command to a device that is connected and subscribed to it; else False."""
        seated = self._door.roll.find(device_id)
        return seated is not None and seated.send_command(command_id, payload, expires_in_s)

    async def start(self) -> None:
        """Bind and accept. Raises ConfigError when the address cannot be had."""
        try:
            listeners = await _bind(self._settings.host, self._settings.port)
        except OSError as error:
            found = f"{self._settings.host} port {self._settings.port}"
            raise ConfigError([Fault("listen.port", found, f"an address that is free ({error})")]) from error
        if not listeners:
            raise ConfigError([Fault("listen.host", self._settings.host, "an address of this machine")])
        self.port = listeners[0].getsockname()[1]
        wanted = self._settings.max_connections + self._settings.max_waiting + _OTHER_FILES
        if (allowed := raise_file_limit(wanted)) < wanted:
            say = self._log.info if allowed >= _ENOUGH_TO_BEGIN else self._log.warning
            say("listen.few_descriptors", devices=max(allowed - _OTHER_FILES, 0), allowed=allowed, wanted=wanted)
        self._reception = Reception(self._door, listeners, self._tls)
        self._log.info("listen.ready", host=self._settings.host, port=self.port, tls=self._tls is not None)

    async def stop(self) -> None:
        """Accept no more, let what was read be settled, say goodbye, close."""
        if self._reception is not None:
            await self._reception.close()
            self._reception = None
        connections = self._door.connections
        for connection in tuple(connections):
            connection.finish()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._door.empty.wait(), _STOP_S)
        for connection in tuple(connections):
            connection.abort()
        self._door.logins.close()
        self._door.wheel.stop()


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
