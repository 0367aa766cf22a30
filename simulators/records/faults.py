"""Faults of machines: what each does to some of the sensors, for as long as it lasts."""

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

import numpy as np

from simulators.records.machine import Floats, Healthy, Mask

SMALLEST, LARGEST = 1.5, 8.0  # spreads of a sensor that a fault comes to
SHORTEST, LONGEST = 20, 400  # rows that a fault lasts
ROOM: Final = 60  # rows at least between two faults, and after the last one


class FaultKind(StrEnum):
    """What fails."""

    STEP = "step"  # one sensor lies elsewhere
    STEPS = "several step"  # two to five
    SETTLES = "settles elsewhere"  # two to five go there as a tank does, fast first
    RAMP = "ramp"  # one to three go further and further
    NOISE = "noise"  # one to three swing more and more
    STUCK = "stuck"  # one sensor says the same thing over and over
    APART = "correlation lost"  # one to three lie as they do on other days, whatever the others do
    SPIKES = "spikes"  # one to three leap for a row, again and again


@dataclass(frozen=True, slots=True)
class Fault:
    """Rows in which something is wrong."""

    kind: FaultKind
    first: int
    end: int  # the row after the last


def inject(machine: Healthy, rng: np.random.Generator) -> tuple[Floats, list[Fault]]:
    """The machine's values with faults, and where these are: none for one machine in seven."""
    values, faults = machine.values.copy(), [] if rng.random() < 1 / 7 else _plan(len(machine.values), rng)
    spread = np.nanstd(machine.values, axis=0)
    failing = np.flatnonzero(machine.can_fail & (spread > 0))
    for fault in faults:
        for sensor in rng.choice(failing, min(_how_many(fault.kind, rng), len(failing)), replace=False).tolist():
            amount = math.exp(rng.uniform(math.log(SMALLEST), math.log(LARGEST))) * rng.choice([-1.0, 1.0])
            values[fault.first : fault.end, sensor] = _disturb(
                fault, values[:, sensor], amount * float(spread[sensor]), rng
            )
    return values, faults


def labels(faults: list[Fault], rows: int) -> Mask:
    """Which rows are faulty."""
    wrong = np.zeros(rows, np.bool_)
    for fault in faults:
        wrong[fault.first : fault.end] = True
    return wrong


def _plan(rows: int, rng: np.random.Generator) -> list[Fault]:
    """One fault in some 1,500 rows, six at most; the first third of most records is healthy."""
    first = int(rows * (0.35 if rng.random() < 0.75 else 0.15))
    count = int(np.clip(rows / 1500 * rng.uniform(0.6, 1.6), 1, 6))
    slots = np.linspace(first, rows, count + 1).astype(int).tolist()
    faults: list[Fault] = []
    kinds = list(FaultKind)
    for start, end in pairwise(slots):
        room = int(end - start) - ROOM
        lasts = min(int(math.exp(rng.uniform(math.log(SHORTEST), math.log(LONGEST)))), room * 2 // 3)
        begins = start + int(rng.integers(0, room - lasts))
        faults.append(Fault(kinds[int(rng.integers(len(kinds)))], begins, begins + lasts))
    return faults


def _how_many(kind: FaultKind, rng: np.random.Generator) -> int:
    match kind:
        case FaultKind.STEP | FaultKind.STUCK:
            return 1
        case FaultKind.STEPS | FaultKind.SETTLES:
            return int(rng.integers(2, 6))
        case _:
            return int(rng.integers(1, 4))


def _disturb(fault: Fault, series: Floats, amount: float, rng: np.random.Generator) -> Floats:
    """What a sensor says during the fault, `amount` being what it comes to."""
    now, rows = series[fault.first : fault.end], fault.end - fault.first
    share = np.arange(1, rows + 1) / rows
    match fault.kind:
        case FaultKind.STEP | FaultKind.STEPS:
            return now + amount
        case FaultKind.SETTLES:
            return now + amount * (1 - np.exp(-8 * share))
        case FaultKind.RAMP:
            return now + 1.4 * amount * share
        case FaultKind.NOISE:
            return now + amount * np.minimum(2 * share, 1.0) * rng.normal(size=rows)
        case FaultKind.SPIKES:
            return now + 1.5 * amount * (rng.random(rows) < 0.15)
        case FaultKind.APART:
            other = int(rng.integers(0, len(series) - rows + 1))
            return series[other : other + rows].copy()
        case FaultKind.STUCK:
            return np.full(rows, now[np.isfinite(now)][0] if np.isfinite(now).any() else np.nan)
