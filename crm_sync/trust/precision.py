"""How often a watch is right, with the interval that its outcomes leave open."""

import math
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Precision:
    """Outcomes of a watch's cases, and what they say: weak evidence counts as part of an outcome."""

    right: float
    wrong: float
    mean: float | None  # None without any outcome
    low: float
    high: float

    @property
    def outcomes(self) -> float:
        """How many spoke."""
        return self.right + self.wrong


def measure(right: float, wrong: float, confidence: float) -> Precision:
    """Wilson's score interval (1927), which holds for few outcomes and near 0 and 1 too."""
    outcomes = right + wrong
    if outcomes <= 0:
        return Precision(right, wrong, None, 0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    share, square = right / outcomes, z * z / outcomes
    centre = (share + square / 2.0) / (1.0 + square)
    half = z * math.sqrt(share * (1.0 - share) / outcomes + square / (4.0 * outcomes)) / (1.0 + square)
    return Precision(right, wrong, share, max(0.0, centre - half), min(1.0, centre + half))
