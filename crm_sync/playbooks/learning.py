"""What is learnt of an action from how often it helped: its posterior, which a person and a ranking can read."""

import math
from dataclasses import dataclass
from typing import Final

from crm_sync.playbooks.model import Rate

_STEPS: Final = 60  # halvings of [0, 1]: beyond what a float tells apart
_TERMS: Final = 300
_TINY: Final = 1e-300
_ENOUGH: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Posterior:
    """A Beta posterior from a uniform prior: the mean, and the interval that holds `confidence` of it."""

    mean: float
    low: float
    high: float


def posterior(rate: Rate, confidence: float = 0.9) -> Posterior:
    """What `rate` says of an action's chance to help; equal tails lie outside the interval."""
    a, b = rate.worked + 1.0, rate.failed + 1.0
    tail = (1.0 - confidence) / 2.0
    return Posterior(rate.mean, _quantile(a, b, tail), _quantile(a, b, 1.0 - tail))


def _quantile(a: float, b: float, share: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        if beta_cdf(a, b, middle) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def beta_cdf(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (NIST DLMF 8.17.22)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):  # where the other side's fraction converges faster
        return 1.0 - beta_cdf(b, a, 1.0 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction, by Lentz's method."""
    value, c, d = 1.0, 1.0, 0.0
    for term in range(_TERMS):
        m = term // 2
        if term == 0:
            numerator = 1.0
        elif term % 2 == 0:
            numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 / _not_zero(1.0 + numerator * d)
        c = _not_zero(1.0 + numerator / c)
        change = c * d
        value *= change
        if abs(1.0 - change) < _ENOUGH:
            break
    return value - 1.0


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
