"""The Windowed Gaussian of the Numenta Anomaly Benchmark, as a baseline.

A sample's score is how unlikely it is under a normal distribution fitted to a window of the past, which moves on in
steps (https://github.com/numenta/NAB, detectors/gaussian, "windowedGaussian"). NAB computes mean and deviation anew
over the whole window; this one keeps running sums, and so is much the faster of the two.
"""

from collections import deque
from math import erfc, sqrt
from typing import Final

_WINDOW: Final = 6400
_STEP: Final = 100
_SMALLEST: Final = 0.000001


class WindowedGaussian:
    """The detector of one series."""

    __slots__ = ("_deviation", "_mean", "_squares", "_step", "_sum", "_window")

    def __init__(self) -> None:
        self._window: deque[float] = deque()
        self._step: list[float] = []
        self._sum = self._squares = self._mean = 0.0
        self._deviation = 1.0

    def score(self, value: float) -> float:
        """How anomalous a value is, 0 to 1; then learn it."""
        score = 0.0
        if self._window:
            score = 1.0 - 0.5 * erfc(abs(value - self._mean) / (self._deviation * sqrt(2.0)))
        if len(self._window) < _WINDOW:
            self._learn(value)
            self._fit()
        else:
            self._step.append(value)
            if len(self._step) == _STEP:
                self._move_on()
        return score

    def _learn(self, value: float) -> None:
        self._window.append(value)
        self._sum += value
        self._squares += value * value

    def _move_on(self) -> None:
        for value in self._step:
            old = self._window.popleft()
            self._sum -= old
            self._squares -= old * old
            self._learn(value)
        self._step.clear()
        self._fit()

    def _fit(self) -> None:
        count = len(self._window)
        self._mean = self._sum / count
        variance = self._squares / count - self._mean * self._mean
        self._deviation = max(sqrt(max(variance, 0.0)), _SMALLEST)
