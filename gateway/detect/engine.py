"""All detectors over all devices: samples and the passing of time in, alarm changes out.

The work of one database transaction is one turn: `begin`, any of `judge`, `alive` and `due`, then `commit`; `rollback`
puts every slot that the turn touched back to what it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np

from devices.ids import PARTITIONS
from devices.profiles.model import Profile
from gateway.detect.arrays import Indices
from gateway.detect.checkpoint import load_device, load_state, save_device, save_state
from gateway.detect.cohort import NOBODY, Habits, Prior, survey
from gateway.detect.detector import Detector, load_detectors
from gateway.detect.fleet import Fleet
from gateway.detect.happenings import judge_events, seat_events
from gateway.detect.in_waves import EVENTS, InWaves, Told, tell_of
from gateway.detect.lanes import Lane, Layout
from gateway.detect.listening import Signs, fall_silent
from gateway.detect.model import AlarmChange, Events, Samples
from gateway.detect.moving import part
from gateway.detect.native import DISMISSED, TOLD, UNOPENED
from gateway.detect.native.compiled import Arrived, Stop
from gateway.detect.native.ledger import load_ledger
from gateway.detect.roster import Roster
from gateway.detect.seating import arrive, find_seats
from gateway.detect.settings import DetectSettings
from gateway.detect.shelf import Shelves
from gateway.detect.station import Station
from gateway.detect.table import Journal
from gateway.detect.telling import Decision

TIDY_EVERY: Final = 256  # turns


class Engine:
    """The state of all detectors, and the one way to move it."""

    version: int = 1

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        settings: DetectSettings,
        detectors: Mapping[str, Detector] | None = None,
        *,
        compiled: bool = True,
    ) -> None:
        """Bind every profile's watches; `detectors` are the installed ones by default. Raises ConfigError.

        With `compiled`, our own detectors run as compiled loops where these are installed; the findings are the same.
        """
        self._journal = Journal()
        ledger = load_ledger(self._journal) if compiled else None
        self._kernel = None if ledger is None else ledger.kernel
        named = load_detectors() if detectors is None else detectors
        self._stations = {name: Station(name, named[name], self._journal, ledger) for name in sorted(named)}
        self._order = {name: place for place, name in enumerate(self._stations, start=1)}
        self._fleet = Fleet(self._stations, settings, self._journal)
        self._shelves = Shelves([station.table for station in self._stations.values() if station.compiled])
        self._in_waves = InWaves(self._fleet, settings, self._order, self._journal)
        self._profiles = dict(profiles)
        self._dirty: set[int] = set()
        self._saved: set[int] = set()  # in this turn
        for profile in profiles.values():
            self._fleet.roster(profile)

    def judge(self, samples: Sequence[Samples], events: Events | None = None) -> list[AlarmChange]:
        """Judge readings and events in the order of their arrival; how they are batched makes no difference."""
        told: Told = []
        first = 0
        for some in samples:
            self._judge(some, first, told)
            first += len(some.ts_s)
        if events is not None:
            self._touch(seat_events(self._fleet, events))
        judge_events(self._fleet, samples, events, partial(self._in_waves.judge_events, told=told))
        return _in_order(told)

    def numbers_of(self, device_ids: Sequence[str]) -> Indices:
        """This engine's numbers of devices, new ones for devices that it does not know yet; they never change."""
        return self._fleet.enrol(device_ids)

    def alive(self, device_ids: Sequence[str], alive_s: float) -> list[AlarmChange]:
        """Signs of life other than readings; devices that never sent a reading are not yet listened for."""
        told: Told = []
        distinct = list(dict.fromkeys(device_ids))
        found = self._fleet.find(distinct)
        known = np.flatnonzero(found >= 0)
        devices = found[known]
        self._touch(devices)
        for number, roster in enumerate(self._fleet.rosters):
            here = self._fleet.roster_of[devices] == number
            seats = self._fleet.seats_of(devices[here])
            untimed_s = np.full(len(seats), np.nan)
            signs = Signs(known[here], seats, untimed_s, np.full(len(seats), alive_s))
            self._in_waves.hear(roster, roster.deadline_lanes, signs, told)
        return _in_order(told)

    def due(self, alive_s: float, now_s: float) -> list[AlarmChange]:
        """Silences whose deadline lies before `alive_s`, in healthy time; they are decided at `now_s`."""
        changes: list[AlarmChange] = []
        for station in self._stations.values():
            if station.deadline is None:
                continue
            index = station.deadlines.overdue(alive_s)
            if len(index):
                self._touch(station.table.column("device")[index].astype(np.int64))
                changes += fall_silent(self._fleet, station, index, (alive_s, now_s))
        return changes

    def next_due_s(self) -> float:
        """No silence can be due before this moment of healthy time, by what was heard so far; inf for never."""
        wheels = [station.deadlines for station in self._stations.values() if station.deadline is not None]
        return min((wheel.next_s() for wheel in wheels), default=float("inf"))

    @property
    def shortest_silence_s(self) -> float:
        """No sign of life sets a deadline that is nearer than this, in healthy time."""
        spans = [
            station.deadline.soonest_s(binding.parameters)
            for station in self._stations.values()
            if station.deadline is not None
            for binding in station.bindings
        ]
        return min(spans, default=float("inf"))

    def begin(self) -> None:
        """Open a turn."""
        self._journal.begin()
        self._saved.clear()

    def commit(self) -> None:
        """Close the turn: what was judged stands."""
        self._journal.commit()
        if self._journal.turn % TIDY_EVERY == 0:
            for station in self._stations.values():
                station.table.tidy()
            self._shelves.arrange()

    def rollback(self) -> None:
        """Close the turn as if nothing in it had happened."""
        if self._journal.open:
            self._dirty |= self._saved  # what was saved may be of the turn
        self._journal.rollback()
        for station in self._stations.values():
            station.deadlines.forget_all()

    def dirty(self) -> set[int]:
        """Partitions whose state has changed since their last checkpoint."""
        return set(self._dirty)

    def checkpoint(self, partition: int) -> bytes:
        """The state of a partition's devices, for `restore`."""
        state = save_state(self._stations, self._fleet, partition, self.version)
        self._clean(partition)
        return state

    def restore(self, partition: int, state: bytes) -> None:
        """Take over a checkpoint, beside what is there; what no watch answers to any more is left out."""
        load_state(self._stations, self._fleet, self._profiles, state)
        self._clean(partition)
        for station in self._stations.values():
            station.deadlines.forget_all()
            station.look_for_events()

    def take_out(self, device_id: str) -> bytes | None:
        """A copy of one device's state, in the form of a checkpoint; None for a device that nothing is known of."""
        device = int(self._fleet.find([device_id])[0])
        if device < 0 or self._fleet.roster_of[device] < 0:
            return None
        return save_device(self._stations, self._fleet, device, self.version)

    def put_in(self, device_id: str, state: bytes) -> None:
        """Replace everything known of a device by what `take_out` gave; undone with the open turn.

        The device then stands where it stood at that time: with its model, its limits, habits and alarms of then. No
        change is told. Raises ValueError for what is not the state of one device.
        """
        load_device(self._stations, self._fleet, self._profiles, device_id, state)
        for station in self._stations.values():
            station.look_for_events()
        self._touch(self._fleet.find([device_id]))

    def forget(self, device_id: str) -> None:
        """Drop everything known of a device, undone with the open turn; no change is told.

        For a device that was removed, and for one that has another owner and starts anew.
        """
        device = self._fleet.find([device_id])
        if device[0] >= 0:
            self._touch(device)
            self._fleet.forget(int(device[0]))

    def survey(self) -> Iterator[Sequence[Habits]]:
        """What the devices have in common by now, a piece of the work at a time."""
        return survey(list(self._stations.values()))

    def adopt(self, prior: Prior) -> None:
        """Let what is known beforehand be in force for devices and metrics that are new from now on."""
        self._fleet.nursery.adopt(prior)

    def prior_of(self, device_id: str) -> int:
        """The number of what was known beforehand when a device was first heard; `NOBODY` where nothing was."""
        device = int(self._fleet.find([device_id])[0])
        return NOBODY if device < 0 else int(self._fleet.prior_of[device])

    def device_ids(self) -> list[str]:
        """Every device of which anything is known."""
        here = np.flatnonzero(self._fleet.roster_of[: len(self._fleet.ids)] >= 0).tolist()
        return [self._fleet.ids[number] for number in here]

    @property
    def is_compiled(self) -> bool:
        """Whether any detector runs as a compiled loop."""
        return any(station.compiled is not None for station in self._stations.values())

    @property
    def bytes_held(self) -> Mapping[str, int]:
        """What all series and devices together take in memory, per detector."""
        held = {name: station.table.bytes_per_slot * station.table.count for name, station in self._stations.items()}
        for name, station in self._stations.items():
            if station.counts_events:
                held[name] += self._fleet.bytes_of_meetings
        return held

    def _clean(self, partition: int) -> None:
        if partition in self._dirty:
            self._dirty.remove(partition)
            self._saved.add(partition)

    def _touch(self, devices: Indices) -> None:
        if len(self._dirty) == PARTITIONS:
            return
        touched = np.zeros(PARTITIONS, bool)
        touched[self._fleet.partition_of[devices]] = True
        self._dirty.update(np.flatnonzero(touched).tolist())

    def _judge(self, samples: Samples, first: int, told: Told) -> None:
        number = self._fleet.roster(samples.profile)
        devices = self._fleet.enrol(samples.device_ids) if samples.numbers is None else samples.numbers
        self._touch(devices)
        seats = find_seats(self._kernel, self._fleet, number, devices, samples)
        if seats is None:
            for place, watch, change in part(self._fleet, devices, number, samples.device, samples.ts_s):
                told.append(((first + place, -1, watch), change))
            self._fleet.settle(devices, number)
            seats = self._fleet.seats_of(devices).take(samples.device)
        roster = self._fleet.rosters[number]
        arrived = arrive(samples, seats)
        layout = roster.layout(samples.metrics)
        self._judge_in_order(roster, layout, arrived, (first, told))
        if layout.in_waves:
            self._in_waves.judge(roster, layout.in_waves, samples, arrived, (first, told))

    def _judge_in_order(self, roster: Roster, layout: Layout, arrived: Arrived, where: tuple[int, Told]) -> None:
        """Bring readings before the detectors' compiled loops, one after the other."""
        first, told = where
        note_hidden = partial(roster.note_hidden, self._journal)
        for number, stop in layout.go(arrived, roster.slots, note_hidden):
            lane = layout.in_order[number]
            station = lane.station
            if stop.why == UNOPENED and lane.loop is not None:
                readings, which = lane.loop.unopened()
                roster.open(lane, arrived.seats[readings], which, arrived.ts_s[readings])
                continue
            watch, column = lane.watches[[stop.which]], lane.columns[[stop.which]]
            if stop.why & TOLD:
                state = station.table.rows(np.array([stop.slot]))
                order = 0 if station.deadline else self._order[station.name]
                told.append(
                    (
                        (first + stop.sample, order, int(watch[0])),
                        tell_of(self._fleet, station, state, self._decision(stop, lane, arrived)),
                    )
                )
            if stop.why & DISMISSED:
                roster.dismiss(arrived.seats[[stop.sample]], column, self._journal)
        for lane in layout.in_order:
            if lane.station.deadline is not None and lane.loop is not None and lane.loop.has_nearer:
                lane.station.deadlines.queue(*lane.loop.nearer())

    def _decision(self, stop: Stop, lane: Lane, arrived: Arrived) -> Decision:
        device_id = self._fleet.ids[int(lane.station.table.column("device")[stop.slot])]
        if lane.station.deadline is not None:
            return Decision(device_id, "cleared", stop.ts_s, float("nan"), 0.0)
        metric = lane.metrics[stop.which]
        value = np.nan if metric < 0 else arrived.values[stop.sample, metric]
        return Decision(device_id, EVENTS[stop.step], float(arrived.ts_s[stop.sample]), float(value), stop.score)


def _in_order(told: Told) -> list[AlarmChange]:
    return [change for _, change in sorted(told, key=lambda item: item[0])]
