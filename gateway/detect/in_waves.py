"""Detectors that take one sample of each of many series at once: readings come to them in waves of distinct devices.

So judge the classes in Python, and detectors of somebody else; our own run as compiled loops where there are any.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.detector import Batch, Findings
from gateway.detect.episodes import Phase, Rules, Step, step
from gateway.detect.fleet import Fleet
from gateway.detect.happenings import Chosen
from gateway.detect.happenings import Signs as EventSigns
from gateway.detect.lanes import Lane
from gateway.detect.listening import Signs, hear
from gateway.detect.model import LARGEST, AlarmChange, AlarmEvent, Samples
from gateway.detect.native.compiled import Arrived
from gateway.detect.roster import Roster
from gateway.detect.settings import DetectSettings
from gateway.detect.station import FOR, KEEP_FIRING_FOR, Station
from gateway.detect.table import Journal, Rows
from gateway.detect.telling import Decision, tell
from gateway.detect.waves import waves

NO_VALUES: Final = np.empty((0, 0))
EVENTS: Final[Mapping[int, AlarmEvent]] = {Step.RAISED: "raised", Step.UPDATED: "updated", Step.CLEARED: "cleared"}

# Orders the changes of one call as if its samples had come one by one: sample, station, watch.
Place = tuple[float, int, int]
Told = list[tuple[Place, AlarmChange]]


@dataclass(frozen=True, slots=True)
class Wave:
    """Readings of distinct devices of one roster."""

    place: Indices | Floats  # [k], in the order of all readings of this call
    seats: Indices  # [k]
    ts_s: Floats  # [k]
    values: Floats  # [k, m]


class InWaves:
    """Brings readings and events before detectors without a compiled loop."""

    def __init__(self, fleet: Fleet, settings: DetectSettings, order: Mapping[str, int], journal: Journal) -> None:
        self._fleet = fleet
        self._settings = settings
        self._order = order  # of the stations, by name
        self._journal = journal

    def judge_events(self, roster: Roster, lane: Lane, signs: EventSigns, chosen: Chosen, told: Told) -> None:
        """Judge events, and the time that readings tell of, by the watches that count events."""
        self._judge_slots(roster, lane, Wave(signs.place, signs.seats, signs.ts_s, NO_VALUES), chosen, told)

    def judge(
        self, roster: Roster, lanes: Sequence[Lane], samples: Samples, arrived: Arrived, where: tuple[int, Told]
    ) -> None:
        """Bring readings before detectors that take one sample of each of many devices at once."""
        first, told = where
        deadlines = [lane for lane in lanes if lane.station.deadline is not None]
        series = [lane for lane in lanes if lane.station.series is not None]
        alive_s = np.broadcast_to(arrived.alive_s, len(arrived.seats))
        for at in waves(samples.device, int(samples.device.max(initial=-1)) + 1):
            wave = Wave(first + at, arrived.seats[at], arrived.ts_s[at], arrived.values[at])
            self.hear(roster, deadlines, Signs(first + at, wave.seats, wave.ts_s, alive_s[at]), told)
            for lane in series:
                self._judge_lane(roster, lane, wave, told)

    def hear(self, roster: Roster, lanes: Sequence[Lane], signs: Signs, told: Told) -> None:
        """Take signs of life, by the watches that wait for them."""
        for heard in hear(self._fleet, roster, lanes, signs):
            told.append(((heard.place, 0, heard.watch), heard.change))

    def _judge_lane(self, roster: Roster, lane: Lane, wave: Wave, told: Told) -> None:
        """Bring readings of distinct devices before one detector: their series, then the devices as a whole."""
        of_device: Mask = np.less(lane.metrics, 0)
        values = np.where(of_device, np.nan, wave.values[:, lane.metrics])
        there: Mask = np.less_equal(np.abs(values), LARGEST)
        there |= of_device & np.any(there, axis=1, keepdims=True)
        slots = roster.find(lane, wave.seats, there, wave.ts_s)
        each: Mask = np.eye(len(of_device), dtype=np.bool_)[~of_device]
        # One after the other, where a series is judged beside others of its device.
        for watches in (*(each if lane.station.looks_around else [~of_device]), of_device):
            judged = (slots >= 0) & watches
            if watches is of_device and judged.any():
                has_begun = lane.station.table.column("newest_s")[np.maximum(slots, 0)] > -np.inf
                judged &= has_begun | roster.has_parts(lane, wave.seats)[:, np.newaxis]
            reading, which = np.nonzero(judged)
            if len(reading):
                some = slots[reading, which]
                self._judge_slots(roster, lane, wave, (reading, which, some, values[reading, which]), told)

    def _judge_slots(
        self,
        roster: Roster,
        lane: Lane,
        wave: Wave,
        chosen: tuple[Indices, Indices, Indices, Floats],
        told: Told,
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
        told: Told,
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
            told.append((key, tell_of(self._fleet, station, one, decision)))


def tell_of(fleet: Fleet, station: Station, state: Rows, decision: Decision) -> AlarmChange:
    """Tell a change of a series, or of a device as a whole with all of its series."""
    whole = station.combining is not None and station.bindings[int(state["watch"][0])].metric is None
    return tell(station, state, decision, fleet.parts_of(station, int(state["device"][0])) if whole else ())
