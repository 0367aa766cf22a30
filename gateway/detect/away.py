"""How far a series is away from where, and from how, it usually lies: for as long as it is, not only when it begins.

A record says once that something is new. A pump whose flow has fallen, or whose vibration has grown, stays so for as
long as nobody mends it, and may have come there in steps each of which was small. Two means are compared, one of the
latest dozen values and one of the last few hundred, in standard errors that are wider where neighbours resemble each
other: of the values, and of how far they swing.
"""

import math
from typing import Final

from gateway.detect.drift import ALIKE, DOUBTFUL, MOST_ALIKE, OUTLIER, SLOW_WHILE_DOUBTFUL, SPREAD_WHILE_DOUBTFUL

FAST: Final = 0.08  # of the fast mean towards each value
MEMORY: Final = 400.0  # values that the slow mean and the spread look back
YOUNG: Final = 60.0  # independent values before anything is said
FIRST: Final = 180.0  # and values, as a record waits for
CHANCE: Final = 1.0  # standard errors that say nothing
LARGEST_SWING: Final = 6.0  # spreads
HALF_AWAY: Final = 10.0  # standard errors that give half of the most
MOST: Final = 0.3  # what this can come to: less than any news, for it goes on


class Away:
    """One series, value by value."""

    def __init__(self) -> None:
        self._level = _Means()
        self._swing = _Means()

    def score(self, value: float) -> float:
        """From 0 to less than 0.3, by the values so far; the same in any unit, and wherever zero is."""
        level = self._level
        swing, spread = abs(value - level.present), level.spread
        if spread > 0:
            swing = min(swing, LARGEST_SWING * spread)
        known = level.count > 1
        apart = level.step(value)
        if known:
            apart = max(apart, self._swing.step(swing))
        return MOST * apart / (apart + HALF_AWAY)


class _Means:
    """A slow mean, a fast one, and how far apart chance puts the two; as `drift` has them of whole tables."""

    def __init__(self) -> None:
        self.count = 0.0
        self.present = 0.0  # the fast mean
        self.spread = 0.0
        self._slow = 0.0
        self._jitter = 0.0
        self._last = 0.0
        self._is_doubtful = False

    def step(self, value: float) -> float:
        """Move the means by a value; gives how far they are apart, in standard errors, beyond chance."""
        count, spread = self.count, self.spread
        self.count = count + 1.0
        if count == 0.0:
            self.present = self._slow = self._last = value
            return 0.0
        most = OUTLIER * spread if count >= YOUNG and spread > 0.0 else math.inf
        off, away = _clip(value - self.present, most), _clip(value - self._slow, most)
        leap = _clip(value - self._last, 1.5 * most)
        rate = max(1.0 / (count + 1.0), 1.0 / MEMORY) * (SLOW_WHILE_DOUBTFUL if self._is_doubtful else 1.0)
        rest = max(1.0 / count, 1.0 / MEMORY) * (SPREAD_WHILE_DOUBTFUL if self._is_doubtful else 1.0)
        self._slow += rate * (self.present + off - self._slow)
        self.present += max(1.0 / (count + 1.0), FAST) * off
        self.spread = math.sqrt(spread * spread + rest * (away * away - spread * spread))
        self._jitter = math.sqrt(self._jitter * self._jitter + rest * (0.5 * leap * leap - self._jitter * self._jitter))
        self._last = value
        apart = self._apart() if spread > 0.0 else 0.0  # the first change of what never changed
        self._is_doubtful = apart >= DOUBTFUL
        return apart

    def _apart(self) -> float:
        if self.spread <= 0.0 or self.count <= FIRST:
            return 0.0
        ratio = self._jitter / self.spread
        alike = min(max(1.0 - ratio * ratio - ALIKE, 0.0) / (1.0 - ALIKE), MOST_ALIKE)
        wider = (1.0 + alike) / (1.0 - alike)
        if self.count < YOUNG * wider:
            return 0.0
        width = FAST / (2.0 - FAST) + 1.0 / min(self.count, MEMORY)
        error = self.spread * math.sqrt(wider * width)
        return max(abs(self.present - self._slow) / error - CHANCE, 0.0) if error > 0.0 else 0.0


def _clip(value: float, most: float) -> float:
    return min(max(value, -most), most)
