"""What can be played to a gateway: a simulated fleet, or real series."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from simulators.fleet.habits import Span
from simulators.fleet.link import Account
from simulators.fleet.network import Act
from simulators.fleet.packets import Packet


@dataclass(frozen=True, slots=True)
class DeviceErrand:
    """One thing that a device does, ready to be done."""

    device_id: str
    act: Act
    packet: Packet | None = None


class Playable(Protocol):
    """Devices, and what they do as time goes by."""

    @property
    def span(self) -> Span:
        """The time it covers."""
        ...

    def accounts(self) -> list[Account]:
        """Who connects."""
        ...

    def errands_until(self, end_s: float) -> Iterator[DeviceErrand]:
        """What all devices do from where the last call ended until `end_s`, in order for each device."""
        ...


@runtime_checkable
class Obedient(Protocol):
    """A world whose devices can be told to do something."""

    def obey(self, device_id: str, command: str) -> str | None:
        """Do it, or not; what the device answers, None where it does not answer."""
        ...
