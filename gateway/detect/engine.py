"""All detectors over all devices: samples and the passing of time in, alarm changes out.

The work of one database transaction is one turn: `begin`, any of `judge`, `alive` and `due`, then `commit`; `rollback`
puts every slot that the turn touched back to what it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from devices.ids import PARTITIONS
from devices.profiles.model import Profile
from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.checkpoint import load_device, load_state, save_device, save_state
from gateway.detect.cohort import NOBODY, Habits, Prior, survey
from gateway.detect.detector import Batch, Detector, Findings, load_detectors
from gateway.detect.episodes import Phase, Rules, Step, step
from gateway.detect.fleet import Fleet
from gateway.detect.happenings import Chosen, judge_events, seat_events
from gateway.detect.happenings import Signs as EventSigns
from gateway.detect.lanes import Lane, Layout
from gateway.detect.listening import Signs, fall_silent, hear
from gateway.detect.model import LARGEST, AlarmChange, AlarmEvent, Events, Samples
from gateway.detect.moving import part
from gateway.detect.native import DISMISSED, TOLD, UNOPENED, load_kernel
from gateway.detect.native.compiled import Arrived, Stop
from gateway.detect.roster import Roster
from gateway.detect.settings import DetectSettings
from gateway.detect.station import FOR, KEEP_FIRING_FOR, Station
from gateway.detect.table import Journal, Rows
from gateway.detect.telling import Decision, tell
from gateway.detect.waves import waves

NO_VALUES: Final = np.empty((0, 0))
EVENTS: Final[Mapping[int, AlarmEvent]] = {Step.RAISED: "raised", Step.UPDATED: "updated", Step.CLEARED: "cleared"}

TIDY_EVERY: Final = 256  # turns

# Orders the changes of one call as if its samples had come one by one: sample, station, watch.
_Place = tuple[float, int, int]
_Told = list[tuple[_Place, AlarmChange]]


@dataclass(frozen=True, slots=True)
class _Wave:
    """Readings of distinct devices of one roster."""

    place: Indices | Floats  # [k], in the order of all readings of this call
    seats: Indices  # [k]
    ts_s: Floats  # [k]
    values: Floats  # [k, m]


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
        self._settings = settings
        self._journal = Journal()
        kernel = load_kernel() if compiled else None
        named = load_detectors() if detectors is None else detectors
        self._stations = {name: Station(name, named[name], self._journal, kernel) for name in sorted(named)}
        self._order = {name: place for place, name in enumerate(self._stations, start=1)}
        self._fleet = Fleet(self._stations, settings, self._journal)
        self._profiles = dict(profiles)
        self._dirty: set[int] = set()
        self._dirty_before: set[int] = set()
        for profile in profiles.values():
            self._fleet.roster(profile)

    def judge(self, samples: Sequence[Samples], events: Events | None = None) -> list[AlarmChange]:
        """Judge readings and events in the order of their arrival; how they are batched makes no difference."""
        told: _Told = []
        first = 0
        for some in samples:
            self._judge(some, first, told)
            first += len(some.ts_s)
        if events is not None:
            self._touch(seat_events(self._fleet, events))
        judge_events(self._fleet, samples, events, partial(self._show, told=told))
        return _in_order(told)

    def _show(self, roster: Roster, lane: Lane, signs: EventSigns, chosen: Chosen, told: _Told) -> None:
        """Judge events, and the time that readings tell of, by the watches that count events."""
        self._judge_slots(roster, lane, _Wave(signs.place, signs.seats, signs.ts_s, NO_VALUES), chosen, told)

    def numbers_of(self, device_ids: Sequence[str]) -> Indices:
        """This engine's numbers of devices, new ones for devices that it does not know yet; they never change."""
        return self._fleet.enrol(device_ids)

    def alive(self, device_ids: Sequence[str], alive_s: float) -> list[AlarmChange]:
        """Signs of life other than readings; devices that never sent a reading are not yet listened for."""
        told: _Told = []
        distinct = list(dict.fromkeys(device_ids))
        found = self._fleet.find(distinct)
        known = np.flatnonzero(found >= 0)
        devices = found[known]
        self._touch(devices)
        for number, roster in enumerate(self._fleet.rosters):
            here = self._fleet.roster_of[devices] == number
            seats = self._fleet.seat_of[devices[here]]
            untimed_s = np.full(len(seats), np.nan)
            signs = Signs(known[here], seats, untimed_s, np.full(len(seats), alive_s))
            self._hear(roster, roster.deadline_lanes, signs, told)
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
        self._dirty_before = set(self._dirty)

    def commit(self) -> None:
        """Close the turn: what was judged stands."""
        self._journal.commit()
        if self._journal.turn % TIDY_EVERY == 0:
            for station in self._stations.values():
                station.table.tidy()

    def rollback(self) -> None:
        """Close the turn as if nothing in it had happened."""
        self._journal.rollback()
        self._dirty |= self._dirty_before
        for station in self._stations.values():
            station.deadlines.forget_all()

    def dirty(self) -> set[int]:
        """Partitions whose state has changed since their last checkpoint."""
        return set(self._dirty)

    def checkpoint(self, partition: int) -> bytes:
        """The state of a partition's devices, for `restore`."""
        state = save_state(self._stations, self._fleet, partition, self.version)
        self._dirty.discard(partition)
        return state

    def restore(self, partition: int, state: bytes) -> None:
        """Take over a checkpoint, beside what is there; what no watch answers to any more is left out."""
        load_state(self._stations, self._fleet, self._profiles, state)
        self._dirty.discard(partition)
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

    def _touch(self, devices: Indices) -> None:
        if len(self._dirty) == PARTITIONS:
            return
        touched = np.zeros(PARTITIONS, bool)
        touched[self._fleet.partition_of[devices]] = True
        self._dirty.update(np.flatnonzero(touched).tolist())

    def _judge(self, samples: Samples, first: int, told: _Told) -> None:
        number = self._fleet.roster(samples.profile)
        devices = self._fleet.enrol(samples.device_ids) if samples.numbers is None else samples.numbers
        self._touch(devices)
        if (self._fleet.roster_of.take(devices) != number).any():
            for place, watch, change in part(self._fleet, devices, number, samples.device, samples.ts_s):
                told.append(((first + place, -1, watch), change))
            self._fleet.settle(devices, number)
        roster = self._fleet.rosters[number]
        arrived = _arrived(samples, self._fleet.seat_of.take(devices))
        layout = roster.layout(samples.metrics)
        self._judge_in_order(roster, layout, arrived, (first, told))
        if layout.in_waves:
            self._judge_in_waves(roster, layout.in_waves, samples, arrived, (first, told))

    def _judge_in_waves(
        self, roster: Roster, lanes: Sequence[Lane], samples: Samples, arrived: Arrived, where: tuple[int, _Told]
    ) -> None:
        """Bring readings before detectors that take one sample of each of many devices at once."""
        first, told = where
        deadlines = [lane for lane in lanes if lane.station.deadline is not None]
        series = [lane for lane in lanes if lane.station.series is not None]
        for at in waves(samples.device, int(samples.device.max(initial=-1)) + 1):
            wave = _Wave(first + at, arrived.seats[at], arrived.ts_s[at], arrived.values[at])
            self._hear(roster, deadlines, Signs(first + at, wave.seats, wave.ts_s, arrived.alive_s[at]), told)
            for lane in series:
                self._judge_lane(roster, lane, wave, told)

    def _judge_in_order(self, roster: Roster, layout: Layout, arrived: Arrived, where: tuple[int, _Told]) -> None:
        """Bring readings before the detectors' compiled loops, one after the other."""
        first, told = where
        for number, stop in layout.go(arrived, roster.slots):
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
                        self._tell(station, state, self._decision(stop, lane, arrived)),
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

    def _tell(self, station: Station, state: Rows, decision: Decision) -> AlarmChange:
        whole = station.combining is not None and station.bindings[int(state["watch"][0])].metric is None
        return tell(station, state, decision, self._fleet.parts_of(station, int(state["device"][0])) if whole else ())

    def _judge_lane(self, roster: Roster, lane: Lane, wave: _Wave, told: _Told) -> None:
        """Bring readings of distinct devices before one detector: their series, then the devices as a whole."""
        of_device: Mask = np.less(lane.metrics, 0)
        values = np.where(of_device, np.nan, wave.values[:, lane.metrics])
        there: Mask = np.less_equal(np.abs(values), LARGEST)
        there |= of_device & np.any(there, axis=1, keepdims=True)
        slots = roster.find(lane, wave.seats, there, wave.ts_s)
        each: Mask = np.eye(len(of_device), dtype=np.bool_)
        # One after the other, where a series is judged beside others of its device.
        for watches in (*(each if lane.station.looks_around else [~of_device]), of_device):
            reading, which = np.nonzero((slots >= 0) & watches)
            if len(reading):
                some = slots[reading, which]
                self._judge_slots(roster, lane, wave, (reading, which, some, values[reading, which]), told)

    def _judge_slots(
        self,
        roster: Roster,
        lane: Lane,
        wave: _Wave,
        chosen: tuple[Indices, Indices, Indices, Floats],
        told: _Told,
    ) -> None:
        """Judge values by the watches at some places of a lane: all of them of series, or all of devices."""
        (reading, which, slots, values), station = chosen, lane.station
        ts_s, seats, whole = wave.ts_s[reading], wave.seats[reading], bool(lane.metrics[which[0]] < 0)
        state = station.table.rows(slots)
        newest_s, phase = state["newest_s"], state["phase"]
        late = ts_s < newest_s
        batch = Batch(
            ts_s=ts_s,
            value=values,
            late=late,
            firing=(phase >= Phase.ACTIVE) | roster.alarmed(lane, seats),
            watch=lane.watches[which],
            parameters=station.parameters,
            peers=roster.peers(lane, seats) if station.looks_around else None,
        )
        state["newest_s"] = np.fmax(newest_s, ts_s)
        if whole:
            assert station.combining is not None
            findings = station.combining.combine(state, roster.parts(lane, seats), batch)
        else:
            assert station.series is not None
            if station.evidence_points:
                station.remember(state, ts_s, batch.value)
            findings = station.series.judge(state, batch)
        state.flush()
        news = ~late & (findings.breach | (phase > Phase.IDLE))
        if findings.judged is not None:
            news &= findings.judged
        if news.any():
            self._advance(station, state, batch, findings, (np.flatnonzero(news), wave.place[reading]), told)
        if findings.dismissed is not None and findings.dismissed.any():
            gone = findings.dismissed
            roster.dismiss(seats[gone], lane.columns[which[gone]], self._journal)

    def _advance(  # noqa: PLR0917 - one step of the episodes: what is stepped, by what, and where it is told
        self,
        station: Station,
        state: Rows,
        batch: Batch,
        findings: Findings,
        where: tuple[Indices, Indices | Floats],
        told: _Told,
    ) -> None:
        """Move the episodes of the series at `where[0]`, and tell what changed."""
        news, place = where
        some = Findings(
            breach=findings.breach[news],
            calm=findings.calm[news],
            score=findings.score[news],
            began_s=None if findings.began_s is None else findings.began_s[news],
        )
        rules = Rules(
            for_s=station.parameters.of(FOR, batch.watch[news]),
            keep_firing_for_s=station.parameters.of(KEEP_FIRING_FOR, batch.watch[news]),
            update_every_s=self._settings.update_every,
            update_score=self._settings.update_score,
        )
        steps = step(state.at(news), batch.ts_s[news], some, rules)
        for i in np.flatnonzero(steps):  # changes, not devices
            at = int(news[i])
            one = state.at(np.array([at]))
            decision = Decision(
                device_id=self._fleet.ids[int(one["device"][0])],
                event=EVENTS[int(steps[i])],
                ts_s=float(batch.ts_s[at]),
                value=float(batch.value[at]),
                score=float(some.score[i]),
            )
            key = (float(place[at]), self._order[station.name], int(batch.watch[at]))
            told.append((key, self._tell(station, one, decision)))

    def _hear(self, roster: Roster, lanes: Sequence[Lane], signs: Signs, told: _Told) -> None:
        for heard in hear(self._fleet, roster, lanes, signs):
            told.append(((heard.place, 0, heard.watch), heard.change))


def _in_order(told: _Told) -> list[AlarmChange]:
    return [change for _, change in sorted(told, key=lambda item: item[0])]


def _arrived(samples: Samples, seats: Indices) -> Arrived:
    """The readings as loops take them; `seats` are those of the devices."""
    alive_s = samples.alive_s
    if not isinstance(alive_s, np.ndarray):
        alive_s = np.full(len(samples.ts_s), alive_s, np.float64)
    return Arrived(
        seats=seats.take(samples.device),
        ts_s=np.ascontiguousarray(samples.ts_s, np.float64),
        alive_s=np.ascontiguousarray(alive_s, np.float64),
        values=np.ascontiguousarray(samples.values, np.float64),
    )
