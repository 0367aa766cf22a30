"""The directory of all devices: the number of each, its roster and its seat there."""

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt

from devices.ids import PARTITIONS, partition_of
from devices.profiles.model import Profile
from gateway.detect.arrays import Floats, Indices
from gateway.detect.cohort import NOBODY, Nursery
from gateway.detect.detector import Part
from gateway.detect.roster import Roster
from gateway.detect.settings import DetectSettings
from gateway.detect.station import Station
from gateway.detect.table import Journal

FIRST_CAPACITY: Final = 256

Homes = npt.NDArray[np.int32]


class Fleet:
    """All devices that were ever heard of."""

    def __init__(self, stations: Mapping[str, Station], settings: DetectSettings, journal: Journal) -> None:
        self.ids: list[str] = []
        self.rosters: list[Roster] = []
        self.homes: Homes = np.empty((0, 2), np.int32)  # [devices]: roster (-1 for none) and seat, on one line
        self.partition_of = np.empty(0, np.int16)  # [devices]
        self.prior_of = np.empty(0, np.int64)  # [devices], the number of what was known when the device was born
        self.nursery = Nursery(journal)
        self._numbers: dict[str, int] = {}
        self._by_model: dict[str, int] = {}
        self._stations = stations
        self._settings = settings
        self.journal = journal

    @property
    def roster_of(self) -> Homes:
        """The roster of each device, [devices], a view; -1 for one that was forgotten."""
        return self.homes[:, 0]

    def seats_of(self, devices: Indices) -> Indices:
        """The seats that devices have in their rosters, [n]."""
        return self.homes[devices, 1].astype(np.int64)

    def roster(self, profile: Profile) -> int:
        """The number of a profile's roster, made when it is new."""
        number = self._by_model.get(profile.model)
        if number is None:
            self.rosters.append(Roster(profile, self._stations, self._settings, self.nursery))
            number = self._by_model[profile.model] = len(self.rosters) - 1
        return number

    def find(self, device_ids: Sequence[str]) -> Indices:
        """The devices' numbers, -1 for the unknown."""
        try:
            return np.fromiter(map(self._numbers.__getitem__, device_ids), np.int64, len(device_ids))
        except KeyError:
            return np.fromiter(map(self._numbers.get, device_ids, repeat(-1)), np.int64, len(device_ids))

    def enrol(self, device_ids: Sequence[str]) -> Indices:
        """The devices' numbers; new ones get one, and stand in no roster yet."""
        found = self.find(device_ids)
        if (found < 0).any():
            self._enrol([device_ids[int(i)] for i in np.flatnonzero(found < 0)])
            found = self.find(device_ids)
        return found

    def settle(self, devices: Indices, roster: int) -> None:
        """See that the devices have a seat in this roster; what was known of them in another is given up."""
        homeless = devices[self.roster_of[devices] != roster]
        if not len(homeless):
            return
        for device in homeless[self.roster_of[homeless] >= 0]:  # rare: the device's product model was corrected
            self.vacate(int(device))
        self.homes[homeless, 0] = roster
        self.prior_of[homeless] = self.nursery.number
        self.homes[homeless, 1] = self.rosters[roster].seat(homeless)

    def admit(self, roster: int, device_ids: Sequence[str]) -> Indices:
        """The devices' numbers, all of them in this roster; new ones get a seat, movers a new one."""
        found = self.enrol(device_ids)
        self.settle(found, roster)
        return found

    def _enrol(self, device_ids: Sequence[str]) -> None:
        first = len(self.ids)
        self._numbers.update(zip(device_ids, range(first, first + len(device_ids)), strict=True))
        self.ids.extend(device_ids)
        if len(self.ids) > len(self.homes):
            extra = max(len(self.ids), 2 * len(self.homes), FIRST_CAPACITY) - len(self.homes)
            self.homes = np.concatenate([self.homes, np.full((extra, 2), -1, np.int32)])
            self.partition_of = np.concatenate([self.partition_of, np.zeros(extra, np.int16)])
            self.prior_of = np.concatenate([self.prior_of, np.full(extra, NOBODY, np.int64)])
        partitions = np.fromiter(map(partition_of, device_ids), np.int16, len(device_ids))
        self.partition_of[first : len(self.ids)] = partitions

    def forget(self, device: int) -> None:
        """Give back everything that is kept of a device."""
        if self.roster_of[device] >= 0:
            self.vacate(device)

    def vacate(self, device: int) -> None:
        """Give back a device's seat and slots; undone with the turn."""
        roster, seat = map(int, self.homes[device])

        def undo() -> None:
            if self.homes[device, 0] >= 0:  # it has a seat elsewhere by now
                self._leave(device)
            self.homes[device] = roster, seat

        self.journal.note(undo)
        self._leave(device)

    def _leave(self, device: int) -> None:
        roster, seat = map(int, self.homes[device])
        for station, index in self.rosters[roster].leave(seat, self.journal):
            station.table.release(index)
            station.deadlines.forget_all()
        self.homes[device, 0] = -1

    def slots_of(self, device: int) -> list[tuple[Station, Indices]]:
        """The slots of a device, per watch; none where it is forgotten."""
        roster, seat = map(int, self.homes[device])
        return [] if roster < 0 else self.rosters[roster].slots_of(seat)

    def parts_of(self, station: Station, device: int) -> list[Part]:
        """The series of a device at a station, with their names."""
        slots = [index for at, index in self.slots_of(device) if at is station]
        rows = [station.table.rows(index) for index in slots]
        owners = [station.bindings[int(row["watch"][0])] for row in rows]
        return [
            Part(owner.metric, owner.unit, row)
            for owner, row in zip(owners, rows, strict=True)
            if owner.metric is not None
        ]

    @property
    def bytes_of_meetings(self) -> int:
        """What it takes to know when devices were first heard."""
        return sum(roster.seats * roster.first_s.itemsize for roster in self.rosters)

    def first_s(self, devices: Indices) -> Floats:
        """When devices that may send events were first heard, [n]; NaN where that is not known."""
        found = np.full(len(devices), np.nan)
        for number, roster in enumerate(self.rosters):
            here = self.roster_of[devices] == number
            found[here] = roster.first_s[self.seats_of(devices[here])]
        return found

    def set_first_s(self, devices: Indices, first_s: Floats) -> None:
        """Note when devices were first heard; undone with the turn."""
        for number, roster in enumerate(self.rosters):
            here = self.roster_of[devices] == number
            if here.any():
                roster.set_first_s(self.seats_of(devices[here]), first_s[here], self.journal)

    def slots_among(self, devices: Indices) -> dict[str, Indices]:
        """The slots of some devices, per detector and in ascending order."""
        found: dict[str, list[Indices]] = {name: [] for name in self._stations}
        for number, roster in enumerate(self.rosters):
            for station, slots in roster.slots_among(self.seats_of(devices[self.roster_of[devices] == number])):
                found[station.name].append(slots)
        return {name: np.sort(np.concatenate([np.empty(0, np.int64), *parts])) for name, parts in found.items()}

    def members(self, partition: int) -> Indices:
        """The devices that belong to a partition and are not forgotten, in ascending order."""
        count = len(self.ids)
        member = (self.partition_of[:count] == partition % PARTITIONS) & (self.roster_of[:count] >= 0)
        return np.flatnonzero(member)
