"""What of a metric's values adds up to use: amounts, what a counter rises by, and what a battery loses.

A battery is not told from its name. It is a level that falls in many small steps and rises in few: a sawtooth. What it
loses between two readings is its drain; where it has risen it was charged, and nobody knows what it lost meanwhile.
"""

from typing import Final

import numpy as np

from devices.profiles.model import Metric, MetricKind
from gateway.detect.arrays import Floats, Mask, Shorts
from gateway.detect.kinds import (
    ENOUGH,
    FEW_BETWEEN,
    FEW_FALLS,
    FEWEST,
    FEWEST_RISES,
    LONG_ENOUGH_S,
    RISES_PER_FALL,
    SHORTEST_S,
    SOME_ZEROS,
    LearntKind,
    difference,
)

DRAIN: Final = 5.0  # beside the kinds that `LearntKind` has
DRAINS_FROM_H: Final = 48.0  # a charge and a night must have been seen
FEWEST_FALLS: Final = 12.0
FALLS_PER_RISE: Final = 3.0
TALLIES: Final = 8  # numbers that `settle` keeps
_SEEN, _RISES, _FALLS, _ZEROS, _SMALLEST, _LARGEST, _BETWEEN, _FIRST = range(TALLIES)
_HOUR_S: Final = 3600.0


def tell_use(metric: Metric | None) -> float:
    """How a profiled metric adds up; NaN where it has to be learnt. Of a gauge it is the drain that adds up."""
    if metric is None:
        return float("nan")
    if metric.kind is MetricKind.GAUGE:
        return DRAIN
    return float(LearntKind.COUNTER if metric.kind is MetricKind.COUNTER else LearntKind.DELTA)


def settle(tallies: Shorts, hour: Floats, value: Floats, last: Floats) -> tuple[Floats, Shorts]:
    """The kind of each series by its values so far, [n], and the tallies after this one, [TALLIES, n].

    NaN tallies are those of a series that was never seen. Kinds are those of `gateway/detect/kinds.py`, and DRAIN.
    """
    new, old = value.astype(np.float32), last.astype(np.float32)
    fresh = np.isnan(tallies[_SEEN])
    known = np.where(fresh, np.float32(0.0), tallies)
    seen = known[_SEEN] + np.float32(1)
    rises, falls = known[_RISES] + (new > old), known[_FALLS] + (new < old)
    zeros = known[_ZEROS] + (new == 0)
    between = known[_BETWEEN] + (~fresh & (new > known[_SMALLEST]) & (new < known[_LARGEST]))
    smallest = np.where(fresh, new, np.minimum(known[_SMALLEST], new))
    largest = np.where(fresh, new, np.maximum(known[_LARGEST], new))
    first = np.where(fresh, hour.astype(np.float32), known[_FIRST])
    age_h = hour - first
    kept = np.stack([seen, rises, falls, zeros, smallest, largest, between, first]).astype(np.float32)
    return _kind(kept, age_h), kept


def _kind(tallies: Shorts, age_h: Floats) -> Floats:
    seen, rises, falls, zeros, smallest, largest, between, _ = tallies.astype(np.float64)
    varies = largest > smallest
    ripe = (seen >= FEWEST) & (age_h >= SHORTEST_S / _HOUR_S) & varies & (smallest >= 0)
    rises_only = (falls <= FEW_FALLS * seen) & (RISES_PER_FALL * falls <= rises)
    counter: Mask = ripe & rises_only & (rises >= FEWEST_RISES)
    delta: Mask = ripe & ~counter & (zeros >= SOME_ZEROS * seen) & (between > 0)
    drains = (falls >= FEWEST_FALLS) & (falls >= FALLS_PER_RISE * rises) & (age_h >= DRAINS_FROM_H)
    drain: Mask = ripe & ~delta & drains
    rest: Mask = ~(counter | delta | drain) & (seen >= ENOUGH) & (age_h >= LONG_ENOUGH_S / _HOUR_S) & varies
    state_like = between <= FEW_BETWEEN * seen
    chosen = [counter, delta, drain, rest & state_like, rest]
    kinds = [LearntKind.COUNTER, LearntKind.DELTA, DRAIN, LearntKind.STATE, LearntKind.LEVEL]
    return np.select(chosen, [float(each) for each in kinds], float(LearntKind.UNSETTLED))


def use_of(kind: Floats, value: Floats, last: Floats, late: Mask) -> tuple[Floats, Mask]:
    """Use that each sample stands for, and whether it stands for any; NaN for a drain that nobody knows.

    A late value of a counter or a battery says nothing that its later values did not; negative amounts are no use.
    """
    counter, drain = kind == LearntKind.COUNTER, kind == DRAIN
    # Nothing can be lost of an empty battery, and what one loses while it is charged is not seen.
    lost = np.where((value <= last) & (last > 0), last - value, np.nan)
    amount = np.where(drain, lost, np.where(counter, difference(value, last), value))
    adds = (kind <= LearntKind.COUNTER) & (amount >= 0) & ~(counter & late)
    return amount, adds | (drain & ~late & np.isfinite(last))
