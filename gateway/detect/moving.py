"""A device whose product model was corrected: nothing of what watched it goes on, and what was up is told as over."""

import numpy as np
import numpy.typing as npt

from gateway.detect.arrays import Floats, Indices
from gateway.detect.episodes import Phase
from gateway.detect.fleet import Fleet
from gateway.detect.model import AlarmChange
from gateway.detect.telling import Decision, tell

Parting = tuple[int, int, AlarmChange]
"""Position of the reading that told of another model, number of the watch, and what is told."""


def part(fleet: Fleet, devices: Indices, roster: int, device: npt.NDArray[np.int32], ts_s: Floats) -> list[Parting]:
    """Tell that the alarms of devices that are about to change into this roster are over.

    `device` says for each reading which of `devices` it is of.
    """
    before = fleet.roster_of[devices]
    told: list[Parting] = []
    for mover in np.flatnonzero((before >= 0) & (before != roster)):  # rare
        place = int(np.argmax(device == mover))
        model = fleet.rosters[roster].profile.model
        told += [(place, *found) for found in _last_words(fleet, int(devices[mover]), model, float(ts_s[place]))]
    return told


def _last_words(fleet: Fleet, device: int, model: str, ts_s: float) -> list[tuple[int, AlarmChange]]:
    told: list[tuple[int, AlarmChange]] = []
    for station, slots in fleet.slots_of(device):
        state = station.table.rows(slots)
        if state["phase"][0] < Phase.ACTIVE:
            continue
        decided_s = max(ts_s, float(state["began_s"][0]), float(state["told_s"][0]))
        decision = Decision(fleet.ids[device], "cleared", decided_s, float("nan"), 0.0, moved_to=model)
        told.append((int(state["watch"][0]), tell(station, state, decision)))
    return told
