"""How far values leap from what is smoothed of them, in such leaps as they usually take.

The root of that, smoothed, grows with noise and with spikes that come often, and little with a single leap. Only basic
operations, one lane after the other, so that ``native/unlike.c`` has the same to the last bit.
"""

from typing import Final

import numpy as np

from gateway.detect.arrays import Floats

LEAPS: Final = 0.15  # of the smoothed leaps towards each new one,…
LARGEST_LEAP: Final = 16.0  # …which counts as so many usual ones at most
FADES: Final = 0.95  # what remains of what is smoothed of a value that is missing in a row


def follow_leaps(before: Floats, usual: Floats, leap: Floats) -> Floats:
    """Smoothed roots of leaps, any shape, with those of a row; NaN for a value that is not there, or does not vary."""
    counts = (usual > 0.0) & ~np.isnan(leap)
    ratio = np.minimum(np.where(counts, leap, 0.0) / np.where(counts, usual, 1.0), LARGEST_LEAP)
    return np.where(counts, before + LEAPS * (np.sqrt(ratio) - before), FADES * before)


def learn_leaps(usual: Floats, leap: Floats, rate: Floats) -> Floats:
    """How far values usually leap, with a row's, NaN as above: the first leap, then the root of the mean square."""
    there = ~np.isnan(leap)
    leap = np.where(there, leap, 0.0)
    leap = np.where(usual > 0.0, np.minimum(leap, LARGEST_LEAP * usual), leap)
    rate = np.where(usual > 0.0, rate, 1.0)
    further = np.sqrt(usual * usual + rate * (leap * leap - usual * usual))
    return np.where(there, further, usual)
