"""The log scales on which episodes are compared: how strong, and how lasting; and how what is old counts less."""

import math
from typing import Final

STRONGEST: Final = 60
LONGEST: Final = 28
_STEPS_OF_STRENGTH: Final = 4.0  # levels for each halving of what is missing to a score of 1
_STEPS_OF_LASTING: Final = 2.0  # levels for each doubling of the time
_HOUR_S: Final = 3600.0


def strength_of(score: float) -> int:
    """The level of a score from 0 to 1: one more for each 16 % by which the distance to 1 shrinks."""
    missing = 1.0 - min(max(score, 0.0), 1.0)
    return STRONGEST if missing <= 0 else min(STRONGEST, int(-math.log2(missing) * _STEPS_OF_STRENGTH))


def lasting_of(lasted_s: float) -> int:
    """The level of a length of time: one more for each 41 % by which it grows, from an hour on."""
    return min(LONGEST, int(math.log2(1.0 + max(lasted_s, 0.0) / _HOUR_S) * _STEPS_OF_LASTING))


def fade(since_s: float, now_s: float, half_s: float) -> float:
    """What is left of a weight of 1 after some time; 1 where the clock has not moved on."""
    return 2.0 ** (-max(0.0, now_s - since_s) / half_s)
