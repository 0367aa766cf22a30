"""A level's past and present: a slow mean, a fast one, a spread, and how far apart chance puts the two."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Mask
from gateway.detect.table import Rows

OUTLIER: Final = 4.0  # spreads that one step can move anything by, once the spread is known
ALIKE: Final = 0.1  # likeness of neighbours that is chance
MOST_ALIKE: Final = 0.998
SLOW_WHILE_FIRING: Final = 0.05
NO_SHARE: Final = -1.0  # of the device's evidence: not a level, or not known well enough; less of a declining amount
DOUBTFUL: Final = 1.0  # share from which on the past is learnt more slowly
SLOW_WHILE_DOUBTFUL: Final = 0.4
SPREAD_WHILE_DOUBTFUL: Final = 0.1
TINY: Final = 1e-300


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a level is learnt."""

    fast: float  # of the fast mean towards each step
    memory: float  # steps that the slow mean and the spread look back
    young: float  # steps before a level can be compared with its past
    heeds_likeness: bool  # of neighbours, by the value of the last step


LEVEL: Final = Pace(fast=0.08, memory=100.0, young=40.0, heeds_likeness=True)  # hourly at most
USE: Final = Pace(fast=0.2, memory=28.0, young=14.0, heeds_likeness=False)  # daily


def wide(state: Rows, name: str) -> Floats:
    """A field in double precision."""
    return state[name].astype(np.float64)


def step(state: Rows, value: Floats, firing: Mask, pace: Pace) -> None:
    """Move the means and the spread by one value each."""
    count = wide(state, "count")
    new = count == 0
    slow = np.where(new, value, state["slow"])
    before = np.where(new, value, slow + wide(state, "fast"))
    spread = wide(state, "spread")
    most = np.where(count >= pace.young, OUTLIER * spread, np.inf)
    off = np.clip(value - before, -most, most)
    away = np.clip(value - slow, -most, most)
    doubtful = (state["share"] >= DOUBTFUL) | (state["share"] < NO_SHARE)
    rate = np.where(firing, SLOW_WHILE_FIRING, np.where(doubtful, SLOW_WHILE_DOUBTFUL, 1.0))
    rate = np.maximum(1.0 / (count + 1.0), 1.0 / pace.memory) * rate
    rest = np.where(firing, SLOW_WHILE_FIRING, np.where(doubtful, SPREAD_WHILE_DOUBTFUL, 1.0))
    rest = np.maximum(1.0 / np.maximum(count, 1.0), 1.0 / pace.memory) * rest
    present = before + np.maximum(1.0 / (count + 1.0), pace.fast) * off
    slow = slow + rate * (before + off - slow)
    state["spread"] = np.sqrt(spread * spread + rest * (away * away - spread * spread))
    if pace.heeds_likeness:
        jitter, last = wide(state, "jitter"), np.where(new, value, state["last"])
        leap = np.clip(value - last, -1.5 * most, 1.5 * most)
        state["jitter"] = np.sqrt(jitter * jitter + rest * (0.5 * (leap * leap) - jitter * jitter))
        state["last"] = value
    state["slow"], state["fast"] = slow, present - slow
    state["count"] = np.minimum(count + 1.0, 1e6)


def error_of(state: Rows, pace: Pace) -> tuple[Floats, Floats]:
    """The standard error of the two means' distance, and how much wider the likeness of neighbours makes its square."""
    count, spread, jitter = wide(state, "count"), wide(state, "spread"), wide(state, "jitter")
    alike = 1.0 - (jitter * jitter) / np.maximum(spread * spread, TINY)
    alike = np.minimum(np.maximum(alike - ALIKE, 0.0) / (1.0 - ALIKE), MOST_ALIKE) * pace.heeds_likeness
    wider = (1.0 + alike) / (1.0 - alike)
    width = pace.fast / (2.0 - pace.fast) + 1.0 / np.maximum(np.minimum(count, pace.memory), 1.0)
    return spread * np.sqrt(wider * width), wider
