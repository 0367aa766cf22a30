"""What all connections of the listen door share."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from devices.clock import Clock
from gateway.doors.listen.counters import ListenCounters
from gateway.doors.listen.login import Logins
from gateway.doors.listen.reach import Reach
from gateway.doors.listen.singles import Singles
from gateway.doors.listen.wheel import Timed, Wheel
from gateway.doors.mqtt.codes import ReasonCode
from gateway.doors.mqtt.native import CutRuns, load_cutter_of_runs
from gateway.doors.mqtt.packets import Violation
from gateway.doors.reading import Hold
from gateway.doors.settings import ListenSettings
from gateway.doors.sparing import SparingLog
from gateway.failed_logins import FailedLogins
from gateway.intake import Bunch, Intake

_MOST_KEPT: Final = 32 * 1024 * 1024
"""Bytes that all connections together may keep while the pipeline has no room, before nobody is read."""

_LITTLE: Final = 8 * 1024
"""Bytes of some packets, as a device brings that is well; one in a storm brings a whole read."""

LARGEST_SHARE: Final = 4 * 1024 * 1024
"""Bytes of its payloads that one connection may have unsettled, before it is not read: a sixteenth of the queue."""

_PER_PACKET: Final = 100
"""Bytes that a packet takes beside its payload."""


class Seated(Timed, Protocol):
    """A connection, as the roll and the door see it."""

    network: str  # whose limit of connections it counts to
    credential_id: int | None  # by which its device was let in; None: by a certificate, or not yet

    def dismiss(self, code: ReasonCode) -> None:
        """Say goodbye and close."""
        ...

    def finish(self) -> None:
        """Read no more; say goodbye once everything read is settled."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...

    def hold(self, reason: Hold) -> None:
        """Do not read for now."""
        ...

    def go_on(self) -> None:
        """There is room: hand on what was kept, and read on."""
        ...

    def send_command(self, command_id: str, payload: bytes, expires_in_s: int | None = None) -> bool:
        """Send a command; False when the device has not subscribed, or cannot take one more now."""
        ...


class Courier(Protocol):
    """Whoever sends commands, as the door tells it of devices that can take them."""

    def hears(self, device_id: str) -> None:
        """A device has just subscribed to its commands."""
        ...

    def delivered(self, device_id: str, command_id: str) -> None:
        """A device has acknowledged the message of a command."""
        ...


class NoCourier:
    """Nobody sends commands."""

    def hears(self, device_id: str) -> None:
        """Nothing is kept for it."""

    def delivered(self, device_id: str, command_id: str) -> None:
        """Nobody asks."""


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
    """Whether the pipeline has room, and who waits for it.

    While there is none, what a connection brings is kept with it, and it is not read any further: it keeps one read's
    worth at most, which is forgotten with it, for its device sends again what was not acknowledged. Who keeps little
    hands it on with the next batch that leaves, the others when much has left. Who brings nothing is read, so that its
    pings are answered. When all of them together keep too much, nobody is read.
    """

    def __init__(self, intake: Intake, connections: Collection[Seated]) -> None:
        self._intake = intake
        self._connections = connections
        self._with_little: dict[Seated, int] = {}  # the bytes that each keeps, in the order of their coming
        self._with_much: dict[Seated, int] = {}
        self._kept = 0
        self._asks_for_little = False
        self.is_shut = False

    def wait(self, connection: Seated, kept: Sequence[Bunch] = ()) -> None:
        """A connection that is not read waits for room, and keeps this much more."""
        if not self.is_shut:
            self.is_shut = True
            self._intake.when_ready(self._open)
        payloads = [payload for bunch in kept for payload in bunch.payloads]
        size = sum(map(len, payloads)) + _PER_PACKET * len(payloads) + self.leave(connection)
        (self._with_little if size <= _LITTLE else self._with_much)[connection] = size
        self._ask_for_little()
        had_room, self._kept = self._kept <= _MOST_KEPT, self._kept + size
        if had_room and self._kept > _MOST_KEPT:
            for other in self._connections:
                self.let_in(other)

    def let_in(self, connection: Seated) -> None:
        """A device that has come, or is there: not read while others keep too much already."""
        if self._kept > _MOST_KEPT and connection not in self._with_much:
            connection.hold(Hold.INTAKE)
            self._with_little.setdefault(connection, 0)

    def leave(self, connection: Seated) -> int:
        """A connection waits no longer; the bytes that it kept."""
        size = self._with_little.pop(connection, 0) + self._with_much.pop(connection, 0)
        self._kept -= size
        return size

    def _ask_for_little(self) -> None:
        if self._asks_for_little:
            return
        if any(self._with_little.values()) or (self._with_little and self._kept <= _MOST_KEPT):
            self._asks_for_little = True
            self._intake.when_ready(self._let_little_on, little=True)

    def _let_little_on(self) -> None:
        """There is some room: for those who keep little, as far as it goes; none is read while all keep too much."""
        self._asks_for_little = False
        for connection, size in [*self._with_little.items()] if self.is_shut else ():
            if self._asks_for_little:  # as one does that has filled it
                break
            if size or self._kept <= _MOST_KEPT:
                self._go_on(connection)
                self.let_in(connection)
        self._ask_for_little()

    def _open(self) -> None:
        """Let those go on who keep little, as far as there is room, and one who keeps much in any case."""
        self.is_shut = False
        for waiting in (self._with_little, self._with_much):
            while waiting and not self.is_shut:
                self._go_on(next(iter(waiting)))
        if self._with_much:
            self._go_on(next(iter(self._with_much)))

    def _go_on(self, connection: Seated) -> None:
        self.leave(connection)
        connection.go_on()  # which may fill the pipeline, and shut us again


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
    courier: Courier = field(default_factory=NoCourier)
    cut: CutRuns | None = field(default_factory=load_cutter_of_runs)
    singles: Singles = field(init=False)

    def __post_init__(self) -> None:
        """Have what comes singly gathered."""
        self.singles = Singles(self.intake, self.valve, self.clock, self.counters)

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
