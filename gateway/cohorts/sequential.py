"""Sequential tests that may be looked at after every alarm: e-values, whose error does not grow with the looks.

An e-value is a bet against "nothing is wrong": were nothing wrong, it would exceed 1/alpha with a chance of at most
alpha, however often and whenever one looks (Ville's inequality). All of them are kept as logarithms.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

RATIOS: Final[Floats] = np.array([2.0, 3.0, 5.0, 10.0, 30.0, 100.0])
"""How many times as often a bad firmware may fail: the mixture's grid, equally weighted."""

HARMLESS: Final = 1.5
"""A firmware that fails at most this many times as often as the others beside it is not called bad."""

HARMLESS_BEFORE: Final = 2.0
"""The same against the devices' own past, while others beside them are not doing worse."""

HARMLESS_ALONE: Final = 3.0
"""The same where nobody is left beside them, and a season or a holiday may have done it."""

_SHAPE: Final = 0.5
_DAYS: Final = 50.0
"""Rates are drawn from a gamma distribution of this shape over so many device-days: about one alarm in 100 of them."""


def steps(is_new: Flags, new_at_risk: Floats, others_at_risk: Floats) -> Floats:
    """What alarms add to the logarithm of the e-value, float64[len(RATIOS)].

    Each alarm hits a device of the new firmware with the probability r n / (r n + m) where the new firmware's devices
    fail r times as often, n of them and m others being at risk at that moment. Whatever makes all devices alike fail
    more, a season, a weekend, an outage, cancels out. This is the sequential log-rank test (ter Schure, Perez-Ortiz, Ly
    and Grunwald, "The safe logrank test", 2020), a mixture over the ratio as in the mixture SPRT (Robbins 1970; Johari,
    Pekelis and Walsh, "Always valid inference", 2015; Zhao, Wang, Chen and Zhu, "Safely and quickly deploying new
    features with a staged rollout framework using sequential test", 2019).
    """
    if not len(is_new):
        return np.zeros(len(RATIOS))
    new, others = new_at_risk[:, None], others_at_risk[:, None]
    harmless = HARMLESS * new + others
    bad = RATIOS * new + others
    hit = np.log(RATIOS / HARMLESS) + np.log(harmless / bad)
    missed = np.log(harmless / bad)
    # Without anybody to compare with, an alarm proves nothing.
    known = (new > 0) & (others > 0)
    return np.where(known, np.where(is_new[:, None], hit, missed), 0.0).sum(axis=0)


def mixed(log_e: Floats) -> float:
    """The logarithm of the mixture's e-value, over the last axis."""
    top = float(log_e.max())
    return top + math.log(float(np.exp(log_e - top).mean()))


def before_after(before: float, before_days: float, after: float, after_days: float, harmless: float) -> float:
    """The logarithm of the e-value that the same devices fail more often than before, from counts and device-days.

    The likelihood of both counts under rates drawn at random, over the largest that rates can give which rise at most
    `harmless` times (universal inference: Wasserman, Ramdas and Balakrishnan, PNAS 2020).
    """
    if before_days <= 0 or after_days <= 0:
        return -math.inf
    allowed_days = after_days * harmless
    told = _drawn(before, before_days) + _drawn(after, allowed_days)
    if after * before_days <= before * allowed_days:
        return told - _best(before, before_days) - _best(after, allowed_days)
    return told - _best(before + after, before_days + allowed_days)


def _drawn(count: float, days: float) -> float:
    return (
        _SHAPE * math.log(_DAYS)
        - math.lgamma(_SHAPE)
        + math.lgamma(_SHAPE + count)
        - (_SHAPE + count) * math.log(_DAYS + days)
    )


def _best(count: float, days: float) -> float:
    return count * math.log(count / days) - count if count > 0 else 0.0


def either(first: float, second: float) -> float:
    """The logarithm of the mean of two e-values, which is one again, whatever they have to do with each other."""
    top = max(first, second)
    return top if top == -math.inf else top + math.log((math.exp(first - top) + math.exp(second - top)) / 2)


def bar(alpha: float, *places: int) -> float:
    """What the logarithm of an e-value must pass, where there are ever more questions.

    The question at place k (from 0) has the share 1 / ((k + 1) (k + 2)) of alpha, which adds up to all of it.
    """
    return -math.log(alpha) + sum(math.log((place + 1) * (place + 2)) for place in places)


def run_on(log_m: Floats, expected: float, seen: float) -> Floats:
    """A run of counts above what is expected, which begins anew whenever it is no longer worth believing.

    The CUSUM over e-values for Poisson counts (Shin, Ramdas and Rinaldo, "E-detectors", 2022), float64[len(RATIOS)].
    """
    return np.maximum(log_m - (RATIOS - 1.0) * expected, 0.0) + seen * np.log(RATIOS)
