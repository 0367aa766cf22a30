"""Which slots belong to which device: the directory, and per profile the matrix of devices by watches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from devices.errors import ConfigError, Fault
from devices.ids import PARTITIONS, partition_of
from devices.profiles.model import EVENT_SERIES, EVERY_EVENT, Profile, Watch
from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.cohort import NOBODY, Nursery
from gateway.detect.detector import Part, Parts, Peers, code_of
from gateway.detect.episodes import Phase
from gateway.detect.generic import DEVICE_WATCHES, event_watches, habits_beside, metric_watches
from gateway.detect.native.compiled import Arrived, LaneLoop, LoopsTogether, Stop
from gateway.detect.settings import DetectSettings
from gateway.detect.station import Station
from gateway.detect.table import Journal
from gateway.detect.waves import ranks

SlotT = TypeVar("SlotT", np.int32, np.int64)

FIRST_CAPACITY: Final = 256
FIRST_COLUMNS: Final = 8  # half a cache line
UNSEEN: Final = -1  # no slot yet; below it stand slots that are not judged any more, as `_hidden` writes them
LAYOUTS_KEPT: Final = 256
ALL_CODES: Final = EVERY_EVENT.removeprefix(EVENT_SERIES)


@dataclass(frozen=True, slots=True)
class Lane:
    """The watches of one station that apply to readings with certain metrics."""

    station: Station
    columns: Indices  # in the roster's matrix
    watches: Indices  # numbers at the station
    metrics: Indices  # columns of the readings' values; -1 where a device is watched, which comes last
    parts: Indices  # columns in the roster's matrix of all series of the station, whatever the readings' metrics
    codes: Indices  # `code_of` the metrics of all these series
    loop: LaneLoop | None  # None where only the detector itself can judge


@dataclass(frozen=True, slots=True)
class EventLane:
    """The watches of one station that count events."""

    lane: Lane
    codes: tuple[str, ...]  # of each watch


class Layout:
    """What applies to readings with certain metrics."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.in_order = [lane for lane in lanes if lane.loop is not None]
        self.in_waves = [lane for lane in lanes if lane.loop is None]
        loops = [lane.loop for lane in self.in_order if lane.loop is not None]
        self._loops = LoopsTogether(loops) if loops else None

    def go(self, arrived: Arrived, slots: npt.NDArray[np.int32]) -> Iterator[tuple[int, Stop]]:
        """Judge readings by all compiled loops; told are the lane, by its place in `in_order`, and its stop."""
        return iter(()) if self._loops is None else self._loops.go(arrived, slots)


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
        self._stations = stations
        self._settings = settings
        self._nursery = nursery
        self._watches: list[tuple[Watch, Station, int]] = []  # per column
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._metrics: set[str] = set()
        self._codes: set[str] = set()
        self._event_lanes: tuple[EventLane, ...] | None = None
        self.deadline_lanes: tuple[Lane, ...] = ()
        for watch in DEVICE_WATCHES if profile.automatic else (*profile.watches, *habits_beside(profile.watches)):
            self._add(watch)
        self.deadline_lanes = self._lanes(lambda station: station.deadline is not None, {})

    def _add(self, watch: Watch) -> None:
        station = self._stations.get(watch.detector)
        if station is None:
            where = f"profile {self.profile.model}: watch {watch.name}: detector"
            raise ConfigError([Fault(where, repr(watch.detector), f"one of {', '.join(sorted(self._stations))}")])
        self._watches.append((watch, station, station.bind(self.profile, watch, self._settings)))
        self._event_lanes = None
        seats, columns = self.slots.shape
        if len(self._watches) > columns:
            more = np.full((seats, max(FIRST_COLUMNS, columns // 2)), UNSEEN, np.int32)
            self.slots = np.hstack([self.slots, more])

    def layout(self, metrics: tuple[str, ...]) -> Layout:
        """What applies to readings with these metrics."""
        found = self._layouts.get(metrics)
        if found is None:
            if self.profile.automatic:
                self._learn(metrics)
            if len(self._layouts) >= LAYOUTS_KEPT:
                self._layouts.clear()
            where = {metric: column for column, metric in enumerate(metrics)}
            series = self._lanes(lambda station: station.series is not None, where)
            found = self._layouts[metrics] = Layout((*self.deadline_lanes, *series))
        return found

    def _learn(self, metrics: Sequence[str]) -> None:
        for metric in metrics:
            if metric not in self._metrics and len(self._metrics) < self._settings.metrics_in_all:
                self._metrics.add(metric)
                self._layouts.clear()  # a lane knows all series of its devices
                for watch in metric_watches(metric):
                    self._add(watch)

    def event_lanes(self, codes: Sequence[str] = ()) -> tuple["EventLane", ...]:
        """What counts events, per station; codes that are new are learnt where the profile is automatic."""
        if self.profile.automatic:
            self._learn_codes(codes)
        if self._event_lanes is None:
            self._event_lanes = tuple(self._lanes_of_events())
        return self._event_lanes

    def _learn_codes(self, codes: Sequence[str]) -> None:
        for code in codes:
            if code not in self._codes and len(self._codes) < self._settings.events_in_all:
                self._codes.add(code)
                self._layouts.clear()
                for watch in event_watches(code):
                    self._add(watch)

    def _lanes_of_events(self) -> Iterator["EventLane"]:
        for station in self._stations.values():
            mine = [
                (column, number, watch.event)
                for column, (watch, at, number) in enumerate(self._watches)
                if at is station and watch.event is not None
            ]
            # By code, so that the order in which codes were first heard of does not matter.
            mine.sort(key=lambda watched: watched[2])
            if mine:
                columns, numbers, codes = zip(*mine, strict=True)
                places = np.arange(len(mine), dtype=np.int64)
                lane = Lane(station, np.array(columns), np.array(numbers), places, *self._parts(station), None)
                yield EventLane(lane, codes)

    def _lanes(self, chosen: Callable[[Station], bool], where: Mapping[str, int]) -> tuple[Lane, ...]:
        lanes: list[Lane] = []
        for station in self._stations.values():
            mine = [
                (column, number, where.get(watch.metric or "", -1))
                for column, (watch, at, number) in enumerate(self._watches)
                if at is station and chosen(at) and (watch.series is None or watch.metric in where)
            ]
            # By name, so that the order in which metrics were first heard of does not matter.
            mine.sort(key=lambda watched: (watched[2] < 0, self._watches[watched[0]][0].metric or ""))
            if mine and (station.series is None or mine[0][2] >= 0):
                columns, numbers, where_told = np.array(mine, np.int64).T
                parts, codes = self._parts(station)
                loop = station.loop((columns, numbers, where_told, parts, codes), self._settings)
                lanes.append(Lane(station, columns, numbers, where_told, parts, codes, loop))
        return tuple(lanes)

    def _parts(self, station: Station) -> tuple[Indices, Indices]:
        watches = [(column, watch.series) for column, (watch, at, _) in enumerate(self._watches) if at is station]
        columns = np.array([column for column, metric in watches if metric], np.int64)
        return columns, np.array([code_of(metric) for _, metric in watches if metric], np.int64)

    def column_of(self, station: Station, watch: str, metric: str | None) -> tuple[int, int] | None:
        """Column and number at the station of a watch by name, made where the profile is automatic."""
        if metric is not None and self.profile.automatic:
            if station.counts_events and metric.startswith(EVENT_SERIES):
                self._learn_codes([metric.removeprefix(EVENT_SERIES)] if metric != EVERY_EVENT else [])
            else:
                self._learn([metric])
        for column, (known, at, number) in enumerate(self._watches):
            if at is station and known.name == watch and known.series == metric:
                return column, number
        return None

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
        for lane in self.deadline_lanes:
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
            named = np.fromiter((self._watches[column][0].event != ALL_CODES for column in columns), np.bool_)
            keep = ~named | (used <= self._settings.events_per_device)  # all events together are one of those used
            seats, which = seats[keep], which[keep]
        if len(seats):
            self.slots[seats, lane.columns[which]] = lane.station.open(self.devices[seats], lane.watches[which])

    def parts(self, lane: Lane, seats: Indices) -> Parts:
        """All series that devices have at a lane's station."""
        slots = self.slots.take(seats, axis=0)[:, lane.parts]
        owner, which = np.nonzero(slots >= 0)
        return Parts(lane.station.table.rows(slots[owner, which].astype(np.int64)), owner)

    def peers(self, lane: Lane, seats: Indices) -> Peers:
        """All series that devices have at a lane's station, by metric."""
        slots = self.slots.take(seats, axis=0)[:, lane.parts]
        return Peers(slots.astype(np.int64), lane.codes, lane.station.table)

    def alarmed(self, lane: Lane, seats: Indices) -> Mask:
        """Whether an alarm of a lane's watches over the whole device is up."""
        slots = self.slots.take(seats, axis=0)[:, lane.columns[lane.metrics < 0]]
        up: Mask = (slots >= 0) & (lane.station.table.column("phase")[slots] >= Phase.ACTIVE)
        return np.any(up, axis=1)

    def dismiss(self, seats: Indices, columns: Indices, journal: Journal) -> None:
        """Judge these series no more; their state is kept."""
        slots = self.slots[seats, columns]
        self.slots[seats, columns] = _hidden(slots)

        def undo() -> None:
            self.slots[seats, columns] = slots

        journal.note(undo)

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
            for column, (_, station, _) in enumerate(self._watches)
            if slots[column] != UNSEEN
        ]

    def slots_among(self, seats: Indices) -> Iterator[tuple[Station, Indices]]:
        """The slots of some devices, per watch."""
        slots = self.slots[seats].astype(np.int64)
        slots = np.where(slots < UNSEEN, _hidden(slots), slots)
        for (_, station, _), column in zip(self._watches, slots.T[: len(self._watches)], strict=True):
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


class Fleet:
    """All devices that were ever heard of."""

    def __init__(self, stations: Mapping[str, Station], settings: DetectSettings, journal: Journal) -> None:
        self.ids: list[str] = []
        self.rosters: list[Roster] = []
        self.roster_of = np.empty(0, np.int32)  # [devices]; -1 for a device that was forgotten
        self.seat_of = np.empty(0, np.int64)  # [devices]
        self.partition_of = np.empty(0, np.int16)  # [devices]
        self.prior_of = np.empty(0, np.int64)  # [devices], the number of what was known when the device was born
        self.nursery = Nursery(journal)
        self._numbers: dict[str, int] = {}
        self._by_model: dict[str, int] = {}
        self._stations = stations
        self._settings = settings
        self.journal = journal

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
        self.roster_of[homeless] = roster
        self.prior_of[homeless] = self.nursery.number
        self.seat_of[homeless] = self.rosters[roster].seat(homeless)

    def admit(self, roster: int, device_ids: Sequence[str]) -> Indices:
        """The devices' numbers, all of them in this roster; new ones get a seat, movers a new one."""
        found = self.enrol(device_ids)
        self.settle(found, roster)
        return found

    def _enrol(self, device_ids: Sequence[str]) -> None:
        first = len(self.ids)
        self._numbers.update(zip(device_ids, range(first, first + len(device_ids)), strict=True))
        self.ids.extend(device_ids)
        if len(self.ids) > len(self.roster_of):
            extra = max(len(self.ids), 2 * len(self.roster_of), FIRST_CAPACITY) - len(self.roster_of)
            self.roster_of = np.concatenate([self.roster_of, np.full(extra, -1, np.int32)])
            self.seat_of = np.concatenate([self.seat_of, np.full(extra, -1, np.int64)])
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
        roster, seat = int(self.roster_of[device]), int(self.seat_of[device])

        def undo() -> None:
            if self.roster_of[device] >= 0:  # it has a seat elsewhere by now
                self._leave(device)
            self.roster_of[device], self.seat_of[device] = roster, seat

        self.journal.note(undo)
        self._leave(device)

    def _leave(self, device: int) -> None:
        for station, index in self.rosters[int(self.roster_of[device])].leave(int(self.seat_of[device]), self.journal):
            station.table.release(index)
            station.deadlines.forget_all()
        self.roster_of[device] = -1

    def slots_of(self, device: int) -> list[tuple[Station, Indices]]:
        """The slots of a device, per watch; none where it is forgotten."""
        roster = int(self.roster_of[device])
        return [] if roster < 0 else self.rosters[roster].slots_of(int(self.seat_of[device]))

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
            found[here] = roster.first_s[self.seat_of[devices[here]]]
        return found

    def set_first_s(self, devices: Indices, first_s: Floats) -> None:
        """Note when devices were first heard; undone with the turn."""
        for number, roster in enumerate(self.rosters):
            here = self.roster_of[devices] == number
            if here.any():
                roster.set_first_s(self.seat_of[devices[here]], first_s[here], self.journal)

    def slots_among(self, devices: Indices) -> dict[str, Indices]:
        """The slots of some devices, per detector and in ascending order."""
        found: dict[str, list[Indices]] = {name: [] for name in self._stations}
        for number, roster in enumerate(self.rosters):
            for station, slots in roster.slots_among(self.seat_of[devices[self.roster_of[devices] == number]]):
                found[station.name].append(slots)
        return {name: np.sort(np.concatenate([np.empty(0, np.int64), *parts])) for name, parts in found.items()}

    def members(self, partition: int) -> Indices:
        """The devices that belong to a partition and are not forgotten, in ascending order."""
        count = len(self.ids)
        member = (self.partition_of[:count] == partition % PARTITIONS) & (self.roster_of[:count] >= 0)
        return np.flatnonzero(member)
