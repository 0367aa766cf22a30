"""How much was stored of late: a ring of counts, one for each ten seconds of the last hour."""

from collections import deque
from dataclasses import dataclass
from typing import Final

STEP_S: Final = 10.0
HOUR_S: Final = 3600.0
MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second, over the last minute and the last hour; since the start where that is less long ago."""

    readings_minute: float
    readings_hour: float
    batches_minute: float
    batches_hour: float


class Pace:
    """Readings stored and batches committed, counted as they happen; seconds are of a clock that only goes on."""

    def __init__(self) -> None:
        self._counts: deque[tuple[int, int, int]] = deque()  # step, readings, batches; the newest last
        self._began_s: float | None = None

    def begin(self, at_s: float) -> None:
        """From now on is counted; does something once."""
        if self._began_s is None:
            self._began_s = at_s

    def observe(self, stored: int, at_s: float) -> None:
        """Count a committed batch."""
        self.begin(at_s)
        step = int(at_s // STEP_S)
        readings, batches = stored, 1
        if self._counts and self._counts[-1][0] == step:
            _, before, known = self._counts.pop()
            readings, batches = before + stored, known + 1
        self._counts.append((step, readings, batches))
        while self._counts[0][0] < step - HOUR_S // STEP_S:
            self._counts.popleft()

    def rates(self, at_s: float) -> Rates:
        """As of now."""
        readings_minute, batches_minute = self._over(MINUTE_S, at_s)
        readings_hour, batches_hour = self._over(HOUR_S, at_s)
        return Rates(readings_minute, readings_hour, batches_minute, batches_hour)

    def _over(self, span_s: float, at_s: float) -> tuple[float, float]:
        if self._began_s is None:
            return 0.0, 0.0
        first = int(at_s // STEP_S) - int(span_s // STEP_S) + 1
        found = [(readings, batches) for step, readings, batches in self._counts if step >= first]
        seconds = max(min(at_s - first * STEP_S, at_s - self._began_s), 1.0)  # the last step is not over yet
        return sum(each[0] for each in found) / seconds, sum(each[1] for each in found) / seconds
