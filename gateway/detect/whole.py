"""How unlike itself a whole row is: many values of one machine at one moment, judged together.

Each value is measured in spreads from its own mean, and smoothed over a few rows; how the smoothed ones usually go
together is learnt as their covariance. A row's distance is what is left when that is taken out (Hotelling's T², per
value): of sensors that always move together a common swing says little, and one of them that goes its own way much.
How far a value leaps from what is smoothed, in such leaps as it usually takes, is smoothed too: that tells of noise
that has grown, and of a row the value counts whose leaps are the largest. Everything is counted in rows,
whatever their cadence, and learnt slowly from rows that are far off, so that a fault does not soon become what is
expected.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Mask
from gateway.detect.away import Away
from gateway.detect.leaps import FADES, follow_leaps, learn_leaps
from gateway.detect.model import LARGEST

NO_PLACE: Final = -1
MOST_VALUES: Final = 64  # of a row that are judged together: what it costs grows with their square
YOUNG: Final = 30.0  # rows before spreads are known,…
FIRST: Final = 60.0  # …and before anything is said
MEMORY: Final = 5000.0  # rows that means, spreads and the covariance look back
SMOOTH: Final = 0.18  # of a smoothed value towards each new one
FURTHEST: Final = 12.0  # spreads that a value counts as
OUTLIER: Final = 4.0  # spreads that one row can move anything by
FIRST_CHANGE: Final = 3.0  # spreads, of what never changed before
RIDGE: Final = 0.1  # of the mean variance: what is taken for noise of its own in each value
LEAST_VARIANCE: Final = 1e-3  # of a smoothed value, in spreads
FEW: Final = 10.0  # rows as if the covariance had been none in them
OFTEN: Final = 10  # rows after which the covariance is inverted anew
FAR: Final = 0.5  # score from which on little is learnt…
SLOW_WHILE_FAR: Final = 0.05  # …by this much
HALF: Final = 1.5  # usual distances beyond the usual one that score 0.5
USUAL_LEAPS: Final = 1.5  # what the largest of many smoothed leaps may be by chance, as roots of usual ones,…
HALF_LEAPS: Final = 0.5  # …and how far beyond that they score 0.5


@dataclass(slots=True)
class _Means:
    """What is known of each value, [values]."""

    mean: Floats
    square: Floats  # of the spread
    smooth: Floats  # in spreads
    seen: Floats  # rows that it was in, 0 before the first
    leap: Floats  # the usual one, in spreads, 0 before the first
    leaps: Floats  # smoothed roots of usual ones


class RowScorer:
    """The rows of one device, one by one."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._known = _Means(*(np.zeros(0) for _ in fields(_Means)))
        self._covariance = np.zeros((0, 0))
        self._inverse = np.zeros((0, 0))
        self._rows = 0.0
        self._next = 0  # rows until the covariance is inverted anew
        self._aways: dict[str, Away] = {}
        self._newest_s = -np.inf

    def score(self, ts_s: float, row: Mapping[str, float]) -> float:
        """From 0 to 1, by the rows so far: how far off the row is, or has any of its values been for a while.

        0 for a row that is late. What is no number counts as absent.
        """
        row = {name: value for name, value in row.items() if abs(value) <= LARGEST}
        if ts_s < self._newest_s or not row:
            return 0.0
        self._newest_s = ts_s
        away = 0.0
        for name, value in row.items():
            own = self._aways.get(name)
            if own is None:
                own = self._aways[name] = Away()
            away = max(away, own.score(value))
        return max(away, self._judge(row))

    def _judge(self, row: Mapping[str, float]) -> float:
        places = {self._place(name): value for name, value in row.items()}
        places.pop(NO_PLACE, None)
        values = np.full(len(self._places), np.nan)
        values[list(places)] = list(places.values())
        there, known = ~np.isnan(values), self._known
        known.mean = np.where(there & (known.seen == 0), values, known.mean)
        off = np.where(there, values - known.mean, 0.0)
        leap = self._smooth(off, there)
        score = self._score()
        pace = SLOW_WHILE_FAR if score > FAR else 1.0
        rate = pace * np.maximum(1.0 / np.maximum(known.seen - YOUNG + 1.0, 1.0), 1.0 / MEMORY)
        known.leap = learn_leaps(known.leap, leap, rate)
        self._learn(off, there, pace)
        self._rows += pace
        return score

    def _place(self, name: str) -> int:
        """Where a value stands among those that are judged together, NO_PLACE for one too many."""
        place = self._places.get(name)
        if place is None:
            count = len(self._places)
            if count == MOST_VALUES:
                return NO_PLACE
            place = self._places[name] = count
            known = self._known
            self._known = _Means(*(np.append(getattr(known, each.name), 0.0) for each in fields(_Means)))
            grown = np.eye(count + 1)
            grown[:count, :count] = self._covariance
            self._covariance, self._next = grown, 0
        return place

    def _smooth(self, off: Floats, there: Mask) -> Floats:
        """Smooth the values of a row and their leaps; gives these in spreads, NaN where there is none."""
        known = self._known
        spread = np.sqrt(known.square)
        away = np.clip(off / np.where(spread > 0, spread, 1.0), -FURTHEST, FURTHEST)
        first = np.where((off != 0) & (known.seen > YOUNG), FIRST_CHANGE, 0.0)
        away = np.where(spread > 0, away, first)
        leap = np.where(there & (spread > 0) & (known.seen >= YOUNG), np.abs(away - known.smooth), np.nan)
        known.smooth = np.where(there, known.smooth + SMOOTH * (away - known.smooth), FADES * known.smooth)
        known.leaps = follow_leaps(known.leaps, known.leap, leap)
        return leap

    def _score(self) -> float:
        if self._rows < FIRST:
            return 0.0
        if self._next <= 0:
            variance = max(float(np.trace(self._covariance)) / len(self._places), LEAST_VARIANCE)
            self._inverse = np.linalg.inv(self._covariance + RIDGE * variance * np.eye(len(self._places)))
            self._next = OFTEN
        self._next -= 1
        known = self._known
        values = np.where(known.seen >= YOUNG, known.smooth, 0.0)
        varying = max(float(np.count_nonzero(known.square)), 1.0)
        beyond = max(float(np.sqrt(values @ self._inverse @ values / varying)) - 1.0, 0.0)
        leaps = max(float(known.leaps.max()) - USUAL_LEAPS, 0.0)
        return max(beyond / (beyond + HALF), leaps / (leaps + HALF_LEAPS))

    def _learn(self, off: Floats, there: Mask, pace: float) -> None:
        known = self._known
        bound = np.where((known.square > 0) & (known.seen > YOUNG), OUTLIER * np.sqrt(known.square), np.inf)
        step = np.clip(off, -bound, bound)
        rate = np.where(there, pace * np.maximum(1.0 / (known.seen + 1.0), 1.0 / MEMORY), 0.0)
        known.mean = known.mean + rate * step
        known.square = known.square + rate * (step * step - known.square)
        known.seen = known.seen + pace * there
        if self._rows >= YOUNG:
            values = np.clip(known.smooth, -OUTLIER, OUTLIER)
            share = pace * max(1.0 / (self._rows - YOUNG + FEW), 1.0 / MEMORY)
            self._covariance = self._covariance + share * (np.outer(values, values) - self._covariance)
