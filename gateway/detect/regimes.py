"""Levels that jump between a few values: operating points, programmes, gears.

What a machine measures at one setting says nothing of what it measures at another, and a drift is lost in the leaps
between them. A young level that leaps far, and often lands next to where it stood, is taken to have regimes: each value
goes to the nearest of a few middles, and what is judged from then on is how far it lies from that middle. What all
regimes have in common, a drift, stays in the level; the middles learn only how they differ.

A level of which the values do not lie close together around their middles has none, and is judged as it stands.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.drift import LEVEL, NO_SHARE, SLOW_WHILE_FIRING, wide
from gateway.detect.kinds import LearntKind
from gateway.detect.table import Field, Rows

IN_REGIMES: Final = 5.0  # a kind that only levels have, beside LearntKind
MOST_REGIMES: Final = 7
MOST_VISITS: Final = 100
LOOKING: Final = 96.0  # steps of a level's life in which regimes are looked for: in half of them few may stay in one
FEWEST_STEPS: Final = 12.0
NEAR: Final = 0.07  # of the spread: a leap of no more lands in the same regime
FEWEST_NEAR: Final = 3.0
SHARE_NEAR: Final = 0.1  # of all steps
LEAST_JITTER: Final = 0.4  # of the spread: what wanders slowly leaps by little, and has no regimes
APART: Final = (0.1, 0.4)  # of that spread, at most, between middles that are learnt early, and later
APART_NEAR: Final = 5.0  # of the leaps that land near, early
APART_SPREAD: Final = 3.0  # of the spread around the middles, early
DOUBT_AT: Final = 24.0  # steps in regimes
CLOSE: Final = 0.12  # of that spread, which values may swing by around their middles
EXACT: Final = 1e-6  # and must, or what is left is how numbers are rounded

REGIME_FIELDS: Final[Sequence[Field]] = (
    Field("middle", "f4", lanes=MOST_REGIMES, group="regimes", rare=True),  # of each regime, from the slow mean
    Field("width", "f4", group="regimes", rare=True),  # spread before there were regimes; -1 where there are none
    Field("visits", "u1", lanes=MOST_REGIMES, group="regimes", rare=True),  # to each regime; 0 where it is unused
)


def look_for(state: Rows, leap: Floats, candidates: Mask) -> None:
    """Count the leaps of young levels that land where they were; those that have enough go on in regimes."""
    spread, size = wide(state, "spread"), np.abs(leap)
    lands = candidates & (size > 0.0) & (size < NEAR * spread)
    if not lands.any():
        return
    near = wide(state, "covered") + lands
    state["covered"] = near
    state["use"] = wide(state, "use") + np.where(lands, np.sqrt(size), 0.0)
    count = wide(state, "count")
    often = (near >= FEWEST_NEAR) & (near >= SHARE_NEAR * count) & (count >= FEWEST_STEPS)
    begins = np.flatnonzero(lands & often & (wide(state, "jitter") >= LEAST_JITTER * spread))
    if len(begins):
        some = state.at(begins)
        fresh = np.flatnonzero(some["width"] == 0.0)
        some = some.at(fresh)
        some["width"] = some["spread"]
        begin_anew(some, IN_REGIMES)
        some.flush()


def take_out(state: Rows, value: Floats, firing: Mask) -> Floats:
    """Values as they would be, were their levels in no regime; teaches the middles."""
    fast = wide(state, "fast")
    away = value - state["slow"]
    middles, visits = state.lanes("middle").astype(np.float64), state.lanes("visits").astype(np.float64)
    known = visits > 0
    distance = np.where(known, np.abs(away - middles), np.inf)
    nearest: Indices = distance.argmin(axis=0)
    unused: Indices = known.argmin(axis=0)
    each = np.arange(len(value))
    is_new = ~known[unused, each] & (distance[nearest, each] > _apart(state))
    at: Indices = np.where(is_new, unused, nearest)
    middle = np.where(is_new, away - fast, middles[at, each])
    off = away - middle
    rate = np.where(firing, SLOW_WHILE_FIRING, 1.0) / (visits[at, each] + 1.0)
    middles[at, each] = middle + rate * (off - fast)
    visits[at, each] = np.minimum(visits[at, each] + 1.0, MOST_VISITS)
    state.set_lanes("middle", middles)
    state.set_lanes("visits", visits.astype(np.uint8))
    return state["slow"] + off


def _apart(state: Rows) -> Floats:
    """How far from every middle a value lies that is in no regime known yet: beyond the noise, while that is told."""
    width, use = wide(state, "width"), wide(state, "use")
    near = use / np.maximum(wide(state, "covered"), 1.0)
    noise = np.maximum(APART_NEAR * near * near, APART_SPREAD * wide(state, "spread"))
    early = np.where(use > 0.0, np.minimum(noise, APART[0] * width), APART[0] * width)
    return np.where(wide(state, "count") < LEVEL.young, early, APART[1] * width)


def doubt(state: Rows) -> None:
    """Levels that do not lie close around their middles have no regimes, and begin anew without."""
    spread, width = wide(state, "spread"), wide(state, "width")
    none = np.flatnonzero(~((spread < CLOSE * width) & (spread > EXACT * width)))
    if len(none):
        some = state.at(none)
        some["width"] = -1.0
        begin_anew(some, float(LearntKind.UNSETTLED))
        some.flush()


def begin_anew(state: Rows, kind: float) -> None:
    """Put levels back to where they know nothing, but for where they lie."""
    zeros = wide(state, "zeros")
    state["kind"], state["last"] = kind, state["slow"]
    for name in ("count", "fast", "spread", "jitter", "falls"):
        state[name] = 0.0
    state["zeros"] = np.where(zeros < 0.0, zeros, 0.0)
    state["share"] = NO_SHARE
