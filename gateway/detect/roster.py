"""The devices of one product, and which slot each has for each watch: a matrix of devices by watches."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from devices.profiles.model import Profile
from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.cohort import Nursery
from gateway.detect.detector import Parts, Peers
from gateway.detect.episodes import Phase
from gateway.detect.lanes import ALL_CODES, EventLane, Lane, Layout, WatchColumns
from gateway.detect.settings import DetectSettings
from gateway.detect.station import Station
from gateway.detect.table import Journal
from gateway.detect.waves import ranks

SlotT = TypeVar("SlotT", np.int32, np.int64)

FIRST_CAPACITY: Final = 256
FIRST_COLUMNS: Final = 8  # half a cache line
UNSEEN: Final = -1  # no slot yet; below it stand slots that are not judged any more, as `_hidden` writes them


class Roster:
    """The devices of one profile: a matrix of slots, one row per device, one column per watch."""

    def __init__(
        self, profile: Profile, stations: Mapping[str, Station], settings: DetectSettings, nursery: Nursery
    ) -> None:
        self.profile = profile
        self.slots = np.full((FIRST_CAPACITY, 0), UNSEEN, np.int32)  # [seats, columns], some for watches to come
        self.devices = np.full(FIRST_CAPACITY, -1, np.int64)  # [seats], the device's number in the directory
        self.first_s = np.full(FIRST_CAPACITY, np.nan)  # [seats], when a device that may send events was first heard
        self.seats = 0
        self.unmet = 0  # devices that have a seat, and of which that is not known
        self._free: list[int] = []
        self._settings = settings
        self._nursery = nursery
        self._columns = WatchColumns(profile, stations, settings)
        self._widen()

    def _widen(self) -> None:
        """Make room for watches that were met since."""
        seats, columns = self.slots.shape
        while columns < len(self._columns.watches):
            columns += max(FIRST_COLUMNS, columns // 2)
        if columns > self.slots.shape[1]:
            more = np.full((seats, columns - self.slots.shape[1]), UNSEEN, np.int32)
            self.slots = np.hstack([self.slots, more])

    @property
    def deadline_lanes(self) -> tuple[Lane, ...]:
        """The watches that wait for signs of life."""
        return self._columns.deadline_lanes

    def layout(self, metrics: tuple[str, ...]) -> Layout:
        """What applies to readings with these metrics."""
        found = self._columns.layout(metrics)
        self._widen()
        return found

    def event_lanes(self, codes: Sequence[str] = ()) -> tuple[EventLane, ...]:
        """What counts events, per station; codes that are new are learnt where the profile is automatic."""
        found = self._columns.event_lanes(codes)
        self._widen()
        return found

    def column_of(self, station: Station, watch: str, metric: str | None) -> tuple[int, int] | None:
        """Column and number at the station of a watch by name, made where the profile is automatic."""
        found = self._columns.column_of(station, watch, metric)
        self._widen()
        return found

    def seat(self, devices: Indices) -> Indices:
        """Seats for devices that are new here, with their deadline watches opened."""
        reused = [self._free.pop() for _ in range(min(len(devices), len(self._free)))]
        first, self.seats = self.seats, self.seats + len(devices) - len(reused)
        if self.seats > len(self.slots):
            extra = max(self.seats, 2 * len(self.slots)) - len(self.slots)
            self.slots = np.vstack([self.slots, np.full((extra, self.slots.shape[1]), UNSEEN, np.int32)])
            self.devices = np.concatenate([self.devices, np.full(extra, -1, np.int64)])
            self.first_s = np.concatenate([self.first_s, np.full(extra, np.nan)])
        seats = np.concatenate([np.array(reused, np.int64), np.arange(first, self.seats, dtype=np.int64)])
        self.devices[seats] = devices
        self.unmet += len(devices)
        for lane in self._columns.deadline_lanes:
            for column, number in zip(lane.columns, lane.watches, strict=True):
                self.slots[seats, column] = lane.station.open(devices, np.full(len(seats), number))
        return seats

    def meet(self, seats: Indices, ts_s: Floats, journal: Journal) -> None:
        """Note signs of devices, in the order of their arrival, as the first ones where none had come before."""
        if not self.unmet:
            return
        new = np.flatnonzero(np.isnan(self.first_s.take(seats)))
        if not len(new):
            return
        mine, first = np.unique(seats[new], return_index=True)
        self.set_first_s(mine, ts_s[new[first]], journal)

    def set_first_s(self, seats: Indices, first_s: Floats, journal: Journal) -> None:
        """Note when devices were first heard; undone with the turn."""

        def write(these_s: Floats) -> None:
            self.first_s[seats] = these_s
            self.unmet = int(np.count_nonzero(np.isnan(self.first_s) & (self.devices >= 0)))

        before = self.first_s[seats]
        write(first_s)
        journal.note(lambda: write(before))

    def find(self, lane: Lane, seats: Indices, there: Mask, ts_s: Floats) -> Indices:
        """The slots of values that are there, [readings, watches of the lane]; negative where nothing is judged."""
        slots = self.slots.take(seats, axis=0)[:, lane.columns]
        new = there & (slots == UNSEEN)
        if new.any():
            reading, which = np.nonzero(new)
            self.open(lane, seats[reading], which, ts_s[reading])
            slots = self.slots.take(seats, axis=0)[:, lane.columns]
        return np.where(there, slots, UNSEEN).astype(np.int64)

    def open(self, lane: Lane, seats: Indices, which: Indices, ts_s: Floats) -> None:
        """Open slots for pairs of seat and position in the lane, each pair once; automatic profiles have a bound.

        `ts_s` is the device time of each pair's first value. A device is watched as a whole once it has series enough.
        """
        whole: Mask = lane.metrics[which] < 0
        keep: Mask = ~whole
        if self.profile.automatic:
            keep[keep] = self._within_bound(lane, seats[keep])
        self._open(lane, seats[keep], which[keep], ts_s[keep])
        keep = whole
        keep[keep] = (self.slots[seats[keep]][:, lane.parts] > UNSEEN).sum(axis=1) >= lane.station.fewest_parts
        self._open(lane, seats[keep], which[keep], ts_s[keep])

    def _open(self, lane: Lane, seats: Indices, which: Indices, ts_s: Floats) -> None:
        if len(seats):
            index = lane.station.open(self.devices[seats], lane.watches[which])
            self.slots[seats, lane.columns[which]] = index
            self._nursery.raise_up(lane.station, index, lane.watches[which], ts_s)

    def open_events(self, lane: Lane, seats: Indices, which: Indices) -> None:
        """Open slots for pairs of seat and position in a lane of events; distinct seats, automatic profiles bounded."""
        if self.profile.automatic:
            used = (self.slots[seats][:, lane.parts] != UNSEEN).sum(axis=1)
            columns: list[int] = lane.columns[which].tolist()
            named = np.fromiter((self._columns.watches[column][0].event != ALL_CODES for column in columns), np.bool_)
            keep = ~named | (used <= self._settings.events_per_device)  # all events together are one of those used
            seats, which = seats[keep], which[keep]
        if len(seats):
            self.slots[seats, lane.columns[which]] = lane.station.open(self.devices[seats], lane.watches[which])

    def parts(self, lane: Lane, seats: Indices) -> Parts:
        """All series that devices have at a lane's station."""
        slots = self.slots.take(seats, axis=0)[:, lane.parts]
        owner, which = np.nonzero(slots >= 0)
        return Parts(lane.station.table.rows(slots[owner, which].astype(np.int64)), owner, lane.codes[which])

    def peers(self, lane: Lane, seats: Indices) -> Peers:
        """All series that devices have at a lane's station, by metric."""
        slots = self.slots.take(seats, axis=0)[:, lane.parts]
        return Peers(slots.astype(np.int64), lane.codes, lane.station.table)

    def has_parts(self, lane: Lane, seats: Indices) -> Mask:
        """Whether devices have been heard by enough series to be watched as a whole; opened are such that were not."""
        slots = self.slots.take(seats, axis=0)[:, lane.parts]
        heard = (slots > UNSEEN) & (lane.station.table.column("newest_s")[np.maximum(slots, 0)] > -np.inf)
        return np.count_nonzero(heard, axis=1) >= lane.station.fewest_parts

    def alarmed(self, lane: Lane, seats: Indices) -> Mask:
        """Whether an alarm of a lane's watches over the whole device is up."""
        slots = self.slots.take(seats, axis=0)[:, lane.columns[lane.metrics < 0]]
        up: Mask = (slots >= 0) & (lane.station.table.column("phase")[slots] >= Phase.ACTIVE)
        return np.any(up, axis=1)

    def dismiss(self, seats: Indices, columns: Indices, journal: Journal) -> None:
        """Judge these series no more; their state is kept."""
        self._turn_over(seats, columns)
        self.note_hidden(journal, seats, columns)

    def note_hidden(self, journal: Journal, seats: Indices, columns: Indices) -> None:
        """Let the turn's journal uncover series that were hidden just now, each once."""
        journal.note(lambda: self._turn_over(seats, columns))

    def _turn_over(self, seats: Indices, columns: Indices) -> None:
        self.slots[seats, columns] = _hidden(self.slots[seats, columns])

    def uncover(self, station: Station, seats: Indices, place: tuple[int, int]) -> Indices:
        """The slots of a watch, by column and number, judged again where they were not, opened where they are new."""
        column, number = place
        slots = self.slots[seats, column]
        slots = np.where(slots < UNSEEN, _hidden(slots), slots)
        new = slots == UNSEEN
        if new.any():
            slots[new] = station.open(self.devices[seats[new]], np.full(int(new.sum()), number))
        self.slots[seats, column] = slots
        return slots.astype(np.int64)

    def _within_bound(self, lane: Lane, seats: Indices) -> Mask:
        used = (self.slots[seats][:, lane.parts] != UNSEEN).sum(axis=1)
        distinct, key = np.unique(seats, return_inverse=True)
        return used + ranks(key, len(distinct)) < self._settings.metrics_per_device

    def slots_of(self, seat: int) -> list[tuple[Station, Indices]]:
        """The slots of one device, per watch."""
        slots = self.slots[seat].astype(np.int64)
        slots = np.where(slots < UNSEEN, _hidden(slots), slots)
        return [
            (station, slots[[column]])
            for column, (_, station, _) in enumerate(self._columns.watches)
            if slots[column] != UNSEEN
        ]

    def slots_among(self, seats: Indices) -> Iterator[tuple[Station, Indices]]:
        """The slots of some devices, per watch."""
        slots = self.slots[seats].astype(np.int64)
        slots = np.where(slots < UNSEEN, _hidden(slots), slots)
        for (_, station, _), column in zip(self._columns.watches, slots.T[: len(self._columns.watches)], strict=True):
            yield station, column[column != UNSEEN]

    def leave(self, seat: int, journal: Journal) -> list[tuple[Station, Indices]]:
        """Empty a seat; gives the slots that it had. Others may take it once the turn stands."""
        given_back, slots, device = self.slots_of(seat), self.slots[seat].copy(), self.devices[seat]
        first_s = self.first_s[seat]
        unmet = int(np.isnan(first_s))
        self.unmet -= unmet
        self.slots[seat] = UNSEEN
        self.devices[seat] = -1
        self.first_s[seat] = np.nan

        def undo() -> None:
            self.slots[seat, : len(slots)] = slots
            self.devices[seat] = device
            self.first_s[seat] = first_s
            self.unmet += unmet

        journal.note(undo)
        journal.after(lambda: self._free.append(seat))
        return given_back


def _hidden(slots: npt.NDArray[SlotT]) -> npt.NDArray[SlotT]:
    """Slots as numbers below UNSEEN, and back."""
    return -2 - slots
