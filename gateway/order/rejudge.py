"""Devices judged anew from their stored readings, in the order of their own time; a piece at a time.

Detectors of their own judge the devices' history as if everything had come when it happened. When the history is
through, the states that they have come to are what the gateway's own detectors go on with. Silences stay as they are,
for they are measured by our clock and say when we heard of a device, not what the device did; and so do bursts of
events, for late events are counted in their place as soon as they come.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec
import numpy as np

from devices.profiles.model import Profile
from gateway.detect.checkpoint import SavedArray, SavedState
from gateway.detect.cohort import Prior
from gateway.detect.detector import DeadlineDetector, EventDetector, load_detectors
from gateway.detect.episodes import Phase
from gateway.detect.model import AlarmChange, Samples
from gateway.order.queries import Wanted
from gateway.store.rows import Fill, Readings, ReadingTable

PAGE: Final = 100
"""Readings of each device that are read at once."""

SamplesOf = Callable[[Profile, Readings, Sequence[Fill], float], Samples | None]


class Engine(Protocol):
    """The detectors that judge anew."""

    def judge(self, samples: Sequence[Samples]) -> list[AlarmChange]:
        """Take readings."""
        ...

    def adopt(self, prior: Prior) -> None:
        """Let what is known beforehand be in force."""
        ...

    def take_out(self, device_id: str) -> bytes | None:
        """One device's state."""
        ...


@dataclass(slots=True)
class Rejudging:
    """Some devices of one product model that are being judged anew."""

    profile: Profile
    table: ReadingTable
    engine: Engine
    wanted: Mapping[str, Wanted]
    batch_seq: int  # the last batch when it began: who has late readings from a later one has to be judged again
    afters: dict[str, int]  # device time up to which each device has been judged, microseconds
    changes: list[AlarmChange] = field(default_factory=list[AlarmChange])
    has_failed: bool = False  # a detector gave up: nothing is changed

    def take(self, page: Readings, samples_of: SamplesOf) -> bool:
        """Judge the next readings of the devices; False when there were none."""
        samples = samples_of(self.profile, page, (), 0.0)
        if samples is None:
            return False
        self.changes += self.engine.judge([samples])
        ends = np.append(np.flatnonzero(np.diff(page.device)), len(page) - 1)
        for end in ends.tolist():
            self.afters[page.device_id(end)] = int(page.ts_us[end])
        return True

    def drop(self, device_ids: Collection[str]) -> None:
        """Judge some devices no more: nothing that they were holds any longer."""
        self.wanted = {name: wanted for name, wanted in self.wanted.items() if name not in device_ids}
        for device_id in device_ids:
            self.afters.pop(device_id, None)

    def changes_of(self, device_id: str) -> list[AlarmChange]:
        """What a device's history has come to."""
        return [change for change in self.changes if change.device_id == device_id]


def live_detectors() -> frozenset[str]:
    """The detectors whose state stays as it is: they go by our clock, or put what is late in its place themselves."""
    found = load_detectors().items()
    return frozenset(name for name, each in found if isinstance(each, DeadlineDetector | EventDetector))


def joined(judged: bytes, live: bytes | None, stay: frozenset[str], *, is_silent: bool) -> bytes:
    """A device's state as judged anew, some detectors' as it is live; while it is silent, what goes on is unknown."""
    state = msgspec.msgpack.decode(judged, type=SavedState)
    stations = [station for station in state.stations if station.detector not in stay]
    if is_silent:
        stations = [
            msgspec.structs.replace(station, arrays=[_unheard(array) for array in station.arrays])
            for station in stations
        ]
    if live is not None:
        kept = msgspec.msgpack.decode(live, type=SavedState)
        if kept.models == state.models:
            stations += [station for station in kept.stations if station.detector in stay]
    return msgspec.msgpack.encode(msgspec.structs.replace(state, stations=stations))


def _unheard(array: SavedArray) -> SavedArray:
    """The phases of alarms of a device that has fallen silent."""
    if array.name != "phase":
        return array
    phase = np.frombuffer(array.data, array.dtype)
    lost = np.select([phase == Phase.ACTIVE, phase == Phase.PENDING], [Phase.UNKNOWN, Phase.IDLE], phase)
    return msgspec.structs.replace(array, data=lost.astype(array.dtype).tobytes())
