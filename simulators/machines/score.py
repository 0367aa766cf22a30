"""How early a fleet's first alarms are, and those of a plain smoothed z-score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulators.machines.plant import Floats, Unit

IN_TIME: Final = 20  # cycles before the end that a warning is still of use
TOO_EARLY: Final = 125  # and that nothing can be wrong yet
BASELINE: Final = 40  # cycles that the plain z-score learns from
SMOOTHING: Final = 0.1
BAR: Final = 1.6  # of the plain z-score: on the tuning fleets about 1 % of the units are alarmed too early


@dataclass(frozen=True, slots=True)
class MachineScore:
    """A fleet's first alarms."""

    units: int
    median_lead: float  # cycles, of the units that were warned
    warned: float  # share of the units, in time
    too_early: float  # share of the units


def score(fleet: Sequence[Unit], first: Mapping[str, int]) -> MachineScore:
    """Score the cycle of each unit's first alarm; a unit without one is not there."""
    leads = np.array([unit.cycles - 1 - first[unit.name] if unit.name in first else -1 for unit in fleet])
    return MachineScore(
        units=len(fleet),
        median_lead=float(np.median(leads[leads >= 0])) if (leads >= 0).any() else float("nan"),
        warned=float(np.mean(leads >= IN_TIME)),
        too_early=float(np.mean(leads > TOO_EARLY)),
    )


def plain_z(fleet: Sequence[Unit]) -> dict[str, int]:
    """First alarms of a smoothed z-score: the largest over the sensors, against the unit's first cycles."""
    found = {unit.name: _first_beyond(unit.readings) for unit in fleet}
    return {name: cycle for name, cycle in found.items() if cycle is not None}


def _first_beyond(readings: Floats) -> int | None:
    early = readings[:BASELINE]
    spread = early.std(axis=0)
    varies = (np.diff(early, axis=0) != 0).mean(axis=0) > 0.5
    z = (readings[:, varies] - early.mean(axis=0)[varies]) / spread[varies]
    smooth = np.zeros(z.shape[1])
    for cycle, now in enumerate(z):
        smooth += SMOOTHING * (now - smooth)
        if cycle >= BASELINE and np.abs(smooth).max() > BAR:
            return cycle
    return None
