"""How far rows lie from what a device's rows usually are: its metrics taken together.

Each value is measured in spreads from its own mean, and smoothed over a few rows. How the smoothed ones go together is
learnt as their covariance, kept as its factors L D L' (Gill, Golub, Murray and Saunders, *Methods for modifying matrix
factorizations*, 1974): a row's distance, and what is learnt from it, take work by the square of how many metrics there
are. The distance is what is left when that is taken out (Hotelling's T², per value that varies). Each metric in turn is
taken to have some noise of its own besides.

How far a value *leaps* is told beside it. Of a row the value counts whose leaps are the largest.

Only basic operations, one lane after the other, so that ``native/unlike.c`` has the same to the last bit.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.leaps import FADES, follow_leaps, learn_leaps
from gateway.detect.table import Rows

VALUES: Final = 32  # of a device that are judged together, as many as are watched without a profile
PAIRS: Final = VALUES * (VALUES + 1) // 2
UPPER: Final = np.triu_indices(VALUES)
DAY_S: Final = 86_400.0
YOUNG: Final = 30.0  # rows before spreads are known,…
FIRST: Final = 60.0  # …and before anything is said
MEMORY_S: Final = 5 * DAY_S  # that means, spreads and the covariance look back,…
MEMORY: Final = 1500.0  # …but so many rows at least,…
LONGEST_MEMORY: Final = 1e6  # …and so many at most
SMOOTH: Final = 0.18  # of a smoothed value towards each new one
FURTHEST: Final = 6.0  # spreads that a value counts as
OUTLIER: Final = 4.0  # spreads that one row can move anything by
FIRST_CHANGE: Final = 3.0  # spreads, of what never changed before
FEW: Final = 10.0  # rows as if the smoothed values had been independent in them
NOISE: Final = 0.02  # of the mean variance: what is taken for noise of its own in each value,…
LEAST_VARIANCE: Final = 0.01  # …and the least mean variance
USUAL: Final = 2.0  # distance from which on a row says less of how values go together
MANY: Final = 1e6

Factors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Seen:
    """Rows of some devices, as measured by what was known before them; arrays are [n] or [n, places]."""

    off: Floats  # from the mean; NaN for what is not in the row
    leap: Floats  # from what was smoothed before, in spreads; NaN for what is not in the row, or does not yet vary
    smooth: Floats  # 0 for what is not yet known
    taken: Indices  # places in use
    memory: Floats  # rows
    distance: Floats  # 0 for the first rows
    leaps: Floats  # of the value that has the largest, as roots of usual ones


def measure(state: Rows, values: Floats, gap_s: Floats) -> Seen:
    """Smooth the values of rows, [n, places], and tell how far they are; NaN for what is not there."""
    mean, count, spread, before = (
        state.lanes(name).T.astype(np.float64) for name in ("mean", "seen", "spread", "smooth")
    )
    taken = np.count_nonzero(state.lanes("code"), axis=0)
    there, varies = ~np.isnan(values), spread > 0.0
    mean = np.where(there & (count == 0.0), values, mean)
    off = np.where(there, values - mean, 0.0)
    away = np.clip(off / np.where(varies, spread, 1.0), -FURTHEST, FURTHEST)
    away = np.where(varies, away, np.where((off != 0.0) & (count > YOUNG), FIRST_CHANGE, 0.0))
    smooth = np.where(there, before + SMOOTH * (away - before), FADES * before)
    leap = np.where(there & varies & (count >= YOUNG), np.abs(away - before), np.nan)
    leaps = _follow_leaps(state, leap)
    state.set_lanes("mean", mean.T)
    state.set_lanes("smooth", smooth.T)
    state.flush()
    known = np.where(count >= YOUNG, smooth, 0.0)
    memory = np.minimum(np.maximum(MEMORY_S / gap_s, MEMORY), LONGEST_MEMORY)
    far = _distance(factors_of(state), known, taken, np.count_nonzero(varies, axis=1))
    far = np.where(state["rows"] >= FIRST, far, 0.0)
    return Seen(np.where(there, off, np.nan), leap, known, taken, memory, far, leaps)


def _follow_leaps(state: Rows, leap: Floats) -> Floats:
    """Take the leaps of rows, [n, places], into the smoothed ones; gives the largest of each row."""
    usual, before = (state.lanes(name).T.astype(np.float64) for name in ("leap", "leaps"))
    leaps = follow_leaps(before, usual, leap).astype(np.float32)
    state.set_lanes("leaps", leaps.T)
    return np.asarray(leaps.max(axis=1), np.float64)


def learn(state: Rows, seen: Seen, pace: Floats) -> None:
    """Learn from rows that were measured, at this pace each."""
    mean, count, spread = (state.lanes(name).T.astype(np.float64) for name in ("mean", "seen", "spread"))
    there = ~np.isnan(seen.off)
    bound = np.where((spread > 0.0) & (count > YOUNG), OUTLIER * spread, np.inf)
    away = np.clip(np.where(there, seen.off, 0.0), -bound, bound)
    rate = pace[:, None] * np.maximum(1.0 / (count + 1.0), 1.0 / seen.memory[:, None])
    wider = np.sqrt(spread * spread + rate * (away * away - spread * spread))
    state.set_lanes("mean", np.where(there, mean + rate * away, mean).T)
    state.set_lanes("spread", np.where(there, wider, spread).T)
    state.set_lanes("seen", np.where(there, np.minimum(count + pace[:, None], MANY), count).T)
    _learn_leaps(state, seen, (count, pace))
    ripe = np.flatnonzero(state["rows"] >= YOUNG)
    if len(ripe):
        along = factors_of(state)
        along[ripe] = _learn_together(along[ripe], state["rows"][ripe], _some(seen, ripe), pace[ripe])
        state.set_lanes("along", along[:, UPPER[0], UPPER[1]].T)
    state["rows"] = state["rows"] + pace


def _learn_leaps(state: Rows, seen: Seen, how: tuple[Floats, Floats]) -> None:
    """Learn how far values usually leap."""
    count, pace = how
    rate = pace[:, None] * np.maximum(1.0 / np.maximum(count - YOUNG + 1.0, 1.0), 1.0 / seen.memory[:, None])
    state.set_lanes("leap", learn_leaps(state.lanes("leap").T.astype(np.float64), seen.leap, rate).T)


def factors_of(state: Rows) -> Factors:
    """The factors of the covariances, [n, places, places]: D on the diagonal, and L' above it."""
    along = np.zeros((len(state), VALUES, VALUES), np.float32)
    along[:, UPPER[0], UPPER[1]] = state.lanes("along").T
    return along


def by_part(state: Rows) -> list[int]:
    """Places of one device by what its distance would be less, were they as the others make expect; the most first."""
    taken = np.flatnonzero(state.lanes("code")[:, 0])
    along = factors_of(state)[0, : len(taken), : len(taken)].astype(np.float64)
    own, upper = np.diagonal(along).copy(), np.triu(along, 1) + np.eye(len(taken))
    smooth = state.lanes("smooth")[taken, 0].astype(np.float64)
    inverse = np.asarray(np.linalg.inv(upper), np.float64)
    precision = (inverse / own) @ inverse.T
    pull = precision @ smooth
    part = pull * pull / np.diagonal(precision)
    return [int(taken[at]) for at in np.argsort(-part, kind="stable") if part[at] > 0]


def _some(seen: Seen, chosen: Indices) -> Seen:
    return Seen(*(getattr(seen, field.name)[chosen] for field in fields(seen)))


def _distance(along: Factors, smooth: Floats, taken: Indices, varying: Indices) -> Floats:
    left, total = smooth.copy(), np.zeros(len(smooth))
    for at in range(int(taken.max(initial=0))):
        part = left[:, at].copy()
        is_own: Mask = taken > at
        own = np.where(is_own, along[:, at, at].astype(np.float64), 1.0)
        total = np.where(is_own, total + part * part / own, total)
        left[:, at + 1 :] -= part[:, None] * along[:, at, at + 1 :].astype(np.float64)
    return np.sqrt(total / np.maximum(varying, 1))


def _learn_together(along: Factors, rows: Floats, seen: Seen, pace: Floats) -> Factors:
    rate = pace * np.maximum(1.0 / (rows - YOUNG + FEW), 1.0 / seen.memory)
    far = np.maximum(seen.distance, USUAL)
    weight = rate * np.where(seen.distance > USUAL, USUAL * USUAL / (far * far), 1.0)
    values, total = np.clip(seen.smooth, -OUTLIER, OUTLIER), np.zeros(len(rows))
    for at in range(int(seen.taken.max(initial=0))):
        along[:, at, at] = along[:, at, at].astype(np.float64) * (1.0 - weight)
        total = total + values[:, at] * values[:, at]
    _add_product(along, weight, values)
    count = seen.taken.astype(np.float64)
    turn = np.zeros_like(values)
    turn[np.arange(len(rows)), rows.astype(np.int64) % seen.taken] = 1.0
    _add_product(along, rate * count * NOISE * np.maximum(total / count, LEAST_VARIANCE), turn)
    return along


def _add_product(along: Factors, weight: Floats, values: Floats) -> None:
    """Add `weight` times the product of values with each other, in place: factors stay factors."""
    left = values.copy()
    for at in range(VALUES):
        moves = np.flatnonzero(left[:, at])
        if not len(moves):
            continue
        part, own, heavy = left[moves, at], along[moves, at, at].astype(np.float64), weight[moves]
        total = own + heavy * part * part
        share = heavy * part / total
        weight[moves] = heavy * own / total
        along[moves, at, at] = total
        line = along[moves, at, at + 1 :].astype(np.float64)
        rest = left[moves, at + 1 :] - part[:, None] * line
        left[moves, at + 1 :] = rest
        along[moves, at, at + 1 :] = line + share[:, None] * rest
