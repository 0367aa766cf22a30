"""What the simulator knows to be delivered: every reading whose PUBACK came, and when it was sent."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulators.fleet.packets import UNSTORABLE, Channel, Packet


@dataclass(slots=True)
class _Page:
    ts_ms: list[NDArray[np.int64]] = field(default_factory=list)
    digests: list[NDArray[np.uint64]] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)  # one per packet, machine time


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """Distinct acknowledged readings of one device.

    `ts_ms` are the times of those that can be stored, `digests` are theirs; a time stands twice where two readings
    contradict each other. `unstorable` are the digests of the others.
    """

    ts_ms: NDArray[np.int64]
    digests: NDArray[np.uint64]
    unstorable: NDArray[np.uint64]

    @property
    def distinct(self) -> int:
        """Number of distinct readings."""
        return len(self.ts_ms) + len(self.unstorable)


class Ledger:
    """Counts what was published, and keeps what was acknowledged; one writer, any number of readers of the counts."""

    def __init__(self) -> None:
        self.published = 0  # readings handed to MQTT, redeliveries not counted
        self.packets = 0
        self.acknowledged_packets = 0
        self.acknowledged = 0  # readings, redeliveries not counted
        self.events = 0
        self._on_its_way: dict[int, float] = {}  # identity of a packet -> machine time
        self._pages: defaultdict[str, _Page] = defaultdict(_Page)

    def sent(self, packet: Packet) -> None:
        """A packet was handed to MQTT."""
        self.packets += 1
        self._on_its_way.setdefault(id(packet), time.time())
        if not packet.again:
            self.published += len(packet.ts_ms)
        if packet.channel is Channel.EVENTS:
            self.events += 1

    def came_back(self, packet: Packet) -> None:
        """A packet's PUBACK came."""
        self.acknowledged_packets += 1
        sent_at = self._on_its_way.pop(id(packet))
        if not len(packet.ts_ms):
            return
        if not packet.again:
            self.acknowledged += len(packet.ts_ms)
        page = self._pages[packet.device_id]
        page.ts_ms.append(packet.ts_ms)
        page.digests.append(packet.digests)
        page.sent_at.append(sent_at)

    def devices(self) -> Iterable[str]:
        """The devices that have an acknowledged reading."""
        return self._pages.keys()

    def record_of(self, device_id: str) -> DeviceRecord:
        """The distinct acknowledged readings of one device."""
        page = self._pages.get(device_id)
        if page is None:
            nothing = np.empty(0, dtype=np.uint64)
            return DeviceRecord(np.empty(0, dtype=np.int64), nothing, nothing)
        ts_ms, digests = np.concatenate(page.ts_ms), np.concatenate(page.digests)
        identities = np.unique(np.stack([ts_ms.view(np.uint64), digests]), axis=1)
        times, marks = identities[0].view(np.int64), identities[1]
        storable = times != UNSTORABLE
        return DeviceRecord(times[storable], marks[storable], marks[~storable])

    def records(self) -> Mapping[str, DeviceRecord]:
        """The distinct acknowledged readings of every device."""
        return {device_id: self.record_of(device_id) for device_id in sorted(self._pages)}

    def sent_at(self, device_id: str, ts_s: float) -> float | None:
        """Machine time at which the acknowledged reading with this device time was first sent, if there is one."""
        page = self._pages.get(device_id)
        ts_ms = round(ts_s * 1000)
        if page is not None:
            for times, at in zip(page.ts_ms, page.sent_at, strict=True):
                if ts_ms in times:
                    return at
        return None
