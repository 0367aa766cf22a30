"""Use that falls while its companion goes on: a sensor that counts less than it did, and not a lazy week.

A surge looks at what a metric has above its companion. This is the other side of it: how far use of late lies below the
habit *and* below what the companion makes expect, whichever is less, so that a companion that counts too much makes
nothing else fall. It is measured in the same swings, and adds up in the same way, with numbers of its own: use that is
gone can fall by many swings, and says so soon.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Mask
from gateway.detect.drift import wide
from gateway.detect.exact import log_of
from gateway.detect.table import Rows

PRIOR_USES: Final = 1.5  # typical uses, as if they were there and usual
MOST_SWINGS: Final = 4.0  # that an hour counts as
SWINGS: Final = 1.6  # that are normal
EVIDENCE: Final = 2.2  # swings times days
FALL: Final = 0.3  # least excess of what is expected over use
CALM: Final = 0.15  # logarithm of a ratio that is usual again
EASED: Final = 2.0**-20  # depth of an alarm that is over: that it was one of a fall can still be told
GOES_ON: Final = 0.5  # of its habit: a companion that does less has stopped, too
FURTHEST: Final = 20.0  # times the habit, or a part of it, that a ratio counts as


@dataclass(frozen=True, slots=True)
class Lag:
    """What has become of some series, [n] each."""

    fall: Floats  # logarithm by which use is too low
    depth: Floats  # swings times days so far
    bar: Floats
    beside: Floats  # logarithm of the companion's use, as a share of its habit

    def is_wrong(self, compared: Mask) -> Mask:
        """Where an alarm is due, were the habit known for long enough."""
        goes_on = self.beside > log_of(np.array([GOES_ON]))
        wrong: Mask = compared & goes_on & (self.depth > self.bar) & (self.fall > log_of(np.array([1.0 + FALL])))
        return wrong

    def is_calm(self, known: Mask) -> Mask:
        """Where use goes with its companion again; without one, where it is as usual."""
        return known & (self.fall < CALM)


def follow_lag(state: Rows, judged: tuple[Mask, Mask], part: Floats, measures: tuple[Floats, Floats, Floats]) -> Lag:
    """Add an hour of the series that are `judged`: whose use is known, and which of them have a companion there.

    `part` is how much is shared, `measures` a swing, the hour's weight, and how many times the evidence is asked for.
    """
    (known, compared), (width, weight, seldom) = judged, measures
    prior = PRIOR_USES * wide(state, "typical")
    scale = wide(state, "recent_usual") + prior
    ratio, beside = (log_ratio(wide(state, name) + prior, scale) for name in ("recent_use", "recent_beside"))
    fall = np.where(compared, np.minimum(-ratio, part * beside - ratio), np.where(known, -ratio, 0.0))
    before = np.maximum(-wide(state, "surge"), 0.0)
    swings = np.minimum(np.maximum(fall / width, -MOST_SWINGS), MOST_SWINGS)
    step = (swings - SWINGS) * weight
    step = np.where(compared, step, np.minimum(step, 0.0))  # with nothing to compare it with, it can but fade
    depth = np.where(known, np.maximum(before + step, 0.0), before)
    return Lag(fall, depth, EVIDENCE * seldom, beside)


def log_ratio(part: Floats, whole: Floats) -> Floats:
    """Logarithm of a share of what is usual, neither absurdly large nor small."""
    ratio = np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 1.0)
    return log_of(np.minimum(np.maximum(ratio, 1.0 / FURTHEST), FURTHEST))
