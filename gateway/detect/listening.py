"""Signs of life and their absence: the deadline watches of a fleet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gateway.detect.arrays import Floats, Indices
from gateway.detect.episodes import Phase
from gateway.detect.fleet import Fleet
from gateway.detect.lanes import Lane
from gateway.detect.model import AlarmChange, AlarmEvent
from gateway.detect.roster import Roster
from gateway.detect.station import Station
from gateway.detect.table import Rows
from gateway.detect.telling import Decision, tell

NO_VALUE = float("nan")


@dataclass(frozen=True, slots=True)
class Signs:
    """Signs of life of k distinct devices of one roster."""

    place: Indices  # [k], in the order of all of this call
    seats: Indices  # [k]
    ts_s: Floats  # [k], device time; NaN where a sign carries none
    alive_s: Floats  # [k], healthy time


@dataclass(frozen=True, slots=True)
class Heard:
    """A device that was silent and is not any more."""

    place: int
    watch: int
    change: AlarmChange


def hear(fleet: Fleet, roster: Roster, lanes: Sequence[Lane], signs: Signs) -> list[Heard]:
    """Note signs of life for deadline watches; gives the silences that they end."""
    heard: list[Heard] = []
    for lane in lanes:
        for column, number in zip(lane.columns, lane.watches, strict=True):
            slots = roster.slots[signs.seats, column].astype(np.int64)
            # Nobody waits for a device that has not yet sent a reading.
            kept, untimed = signs, np.isnan(signs.ts_s)
            if untimed.any():
                waited = ~untimed | np.isfinite(lane.station.table.column("newest_s")[slots])
                kept = Signs(signs.place[waited], signs.seats[waited], signs.ts_s[waited], signs.alive_s[waited])
                slots = slots[waited]
            if len(slots):
                heard += _hear(fleet, lane.station, int(number), lane.station.table.rows(slots), kept)
    return heard


def _hear(fleet: Fleet, station: Station, number: int, state: Rows, signs: Signs) -> list[Heard]:
    assert station.deadline is not None
    newest_s, silent = state["newest_s"], state["phase"] >= Phase.ACTIVE
    heard_s = state["heard_s"]
    # Without a device time, as much of it has passed since the last sign as of healthy time.
    elapsed_s = np.fmax(signs.alive_s - np.where(np.isnan(heard_s), signs.alive_s, heard_s), 0.0)
    ts_s = np.where(np.isnan(signs.ts_s), newest_s + elapsed_s, signs.ts_s)
    # What returns with old data returns no sooner than its silence was told.
    back_s = np.where(silent, np.fmax(ts_s, state["told_s"]), ts_s) if silent.any() else ts_s
    watch = np.full(len(state), number)
    deadline_s = station.deadline.heard(state, signs.alive_s, watch, station.parameters)
    state["newest_s"] = np.fmax(newest_s, back_s)
    station.deadlines.set(state, deadline_s)
    if not silent.any():
        state.flush()
        return []
    state["phase"] = np.where(silent, Phase.IDLE, state["phase"])
    state["told_s"] = np.where(silent, back_s, state["told_s"])
    state.flush()
    return [
        Heard(
            place=int(signs.place[i]),
            watch=number,
            change=_tell(fleet, station, state.at(np.array([i])), ("cleared", float(back_s[i]), 0.0)),
        )
        for i in np.flatnonzero(silent)
    ]


def fall_silent(fleet: Fleet, station: Station, index: Indices, moment: tuple[float, float]) -> list[AlarmChange]:
    """Raise silences, at a moment in healthy and gateway time, and say that the devices' other alarms are unknown."""
    alive_s, now_s = moment
    state = station.table.rows(index)
    quiet_s, limit_s = alive_s - state["heard_s"], state["deadline_s"] - state["heard_s"]
    score = quiet_s / (quiet_s + limit_s)
    state["phase"], state["told_s"] = float(Phase.ACTIVE), now_s
    state["began_s"] = np.fmin(state["newest_s"], now_s)
    devices = state["device"].astype(np.int64)
    state.flush()
    changes: list[AlarmChange] = []
    for i in range(len(index)):  # changes, not devices
        one = station.table.rows(index[[i]])
        changes.append(_tell(fleet, station, one, ("raised", now_s, float(score[i]))))
        changes += _lose_sight(fleet, int(devices[i]), now_s)
    return changes


def _lose_sight(fleet: Fleet, device: int, now_s: float) -> list[AlarmChange]:
    """Active alarms of a silent device are unknown, not over; waits for `for` are off."""
    changes: list[AlarmChange] = []
    for station, slots in fleet.slots_of(device):
        state = station.table.rows(slots)
        phase = state["phase"][0]
        if station.series is None or phase not in {Phase.ACTIVE, Phase.PENDING}:
            continue
        # A wait for `for` does not go on over a silence: nobody knows what was in between.
        state["phase"] = float(Phase.UNKNOWN if phase == Phase.ACTIVE else Phase.IDLE)
        state.flush()
        if phase == Phase.ACTIVE:
            ts_s = max(now_s, float(state["began_s"][0]))
            changes.append(_tell(fleet, station, state, ("unknown", ts_s, float(state["told_score"][0]))))
    return changes


def _tell(fleet: Fleet, station: Station, state: Rows, what: tuple[AlarmEvent, float, float]) -> AlarmChange:
    event, ts_s, score = what
    return tell(station, state, Decision(fleet.ids[int(state["device"][0])], event, ts_s, NO_VALUE, score))
