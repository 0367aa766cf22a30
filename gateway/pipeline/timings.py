"""How large batches are and how long they take, as distributions since the start."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
READINGS: Final = (1.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0)


class Histogram:
    """Counts of values by the first bound that they do not exceed."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` rise; what exceeds the last is counted beyond it."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(frozen=True, slots=True)
class BatchTimings:
    """One value per committed batch."""

    readings: Histogram = field(default_factory=lambda: Histogram(READINGS))
    transaction_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))  # stored, judged and committed
    commit_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))  # of that, from COMMIT to its answer
    acknowledged_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))  # after the oldest packet's receipt

    def observe(self, readings: int, transaction_s: float, commit_s: float, acknowledged_s: float) -> None:
        """Count a batch; the last span is on the gateway's clock, the others are real."""
        self.readings.observe(readings)
        self.transaction_s.observe(transaction_s)
        self.commit_s.observe(commit_s)
        self.acknowledged_s.observe(acknowledged_s)
