"""What all connections of the listen door share."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from devices.clock import Clock
from gateway.doors.listen.counters import ListenCounters
from gateway.doors.listen.login import Logins
from gateway.doors.listen.reach import Reach
from gateway.doors.listen.throttle import FailedLogins
from gateway.doors.listen.wheel import Timed, Wheel
from gateway.doors.mqtt.codes import ReasonCode
from gateway.doors.mqtt.packets import Violation
from gateway.doors.settings import ListenSettings
from gateway.doors.sparing import SparingLog
from gateway.intake import Intake


class Seated(Timed, Protocol):
    """A connection, as the roll and the door see it."""

    network: str  # whose limit of connections it counts to

    def dismiss(self, code: ReasonCode) -> None:
        """Say goodbye and close."""
        ...

    def finish(self) -> None:
        """Read no more; say goodbye once everything read is settled."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...

    def send_command(self, command_id: str, payload: bytes) -> bool:
        """Send a command; False when the device has not subscribed, or cannot take one more now."""
        ...


class Roll:
    """Which device sits on which connection; one connection a device."""

    def __init__(self) -> None:
        self._seats: dict[str, Seated] = {}

    def __len__(self) -> int:
        return len(self._seats)

    def find(self, device_id: str) -> Seated | None:
        """The connection of a device."""
        return self._seats.get(device_id)

    def enter(self, device_id: str, newcomer: Seated) -> bool:
        """Seat a device; whether that took over an earlier connection of it, which has been dismissed."""
        earlier = self._seats.pop(device_id, None)
        if earlier is not None:
            earlier.dismiss(ReasonCode.SESSION_TAKEN_OVER)
        self._seats[device_id] = newcomer
        return earlier is not None

    def leave(self, device_id: str, leaver: Seated) -> None:
        """Free a seat, unless somebody else has it by now."""
        if self._seats.get(device_id) is leaver:
            del self._seats[device_id]


class Valve:
    """Connections that wait for the pipeline to have room; it is asked once for all of them."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._waiting: list[Callable[[], None]] = []

    def wait(self, resume: Callable[[], None]) -> None:
        """Call `resume` when there is room."""
        self._waiting.append(resume)
        if len(self._waiting) == 1:
            self._intake.when_ready(self._open)

    def _open(self) -> None:
        waiting, self._waiting = self._waiting, []
        for resume in waiting:
            resume()


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class DoorContext:
    """The door's parts, passed to each of its connections."""

    settings: ListenSettings
    intake: Intake
    reach: Reach
    clock: Clock
    log: SparingLog
    counters: ListenCounters
    failed_logins: FailedLogins
    valve: Valve
    logins: Logins
    roll: Roll = field(default_factory=Roll)
    connections: set[Seated] = field(default_factory=set[Seated])
    empty: asyncio.Event = field(default_factory=_set_event)  # set while nobody is connected
    wheel: Wheel = field(default_factory=Wheel)
    networks: Counter[str] = field(default_factory=Counter[str])  # sockets by the network of their address
    new_client_id: Callable[[], str] = lambda: "careloop"

    def arrived(self, connection: Seated) -> None:
        """A socket was opened."""
        self.connections.add(connection)
        self.empty.clear()

    def gone(self, connection: Seated) -> None:
        """A socket was closed."""
        self.connections.discard(connection)
        self.left(connection.network)
        if not self.connections:
            self.empty.set()

    def left(self, network: str) -> None:
        """One socket less from a network."""
        self.networks[network] -= 1
        if not self.networks[network]:
            del self.networks[network]

    def count_violation(self, violation: Violation, device_id: str | None) -> None:
        """Somebody broke the protocol; `device_id` where it is known."""
        reason = violation.code.name.lower()
        self.counters.violations[reason] += 1
        self.log.warning("listen.violation", reason=reason, detail=violation.detail, device_id=device_id)
