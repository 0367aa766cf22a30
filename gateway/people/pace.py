"""How often one may ask, and what was written down a moment ago; both forget the oldest first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

_REMEMBERED: Final = 10_000


class Paces:
    """A bucket of requests for each actor, which refills."""

    def __init__(self, per_s: float, burst: int, monotonic: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, at

    def take(self, key: str) -> float:
        """Take one; the seconds to wait where there is none."""
        now_s = self._monotonic()
        left, at_s = self._buckets.get(key, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._per_s)
        wait_s = 0.0 if left >= 1.0 else (1.0 - left) / self._per_s
        self._buckets[key] = (left if wait_s else left - 1.0, now_s)
        self._buckets.move_to_end(key)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return wait_s


class Recent:
    """What happened within a span."""

    def __init__(self, span_s: float, monotonic: Callable[[], float]) -> None:
        self._span_s = span_s
        self._monotonic = monotonic
        self._at_s: OrderedDict[Hashable, float] = OrderedDict()

    def has(self, key: Hashable) -> bool:
        """Whether this happened within the span."""
        at_s = self._at_s.get(key)
        return at_s is not None and self._monotonic() - at_s < self._span_s

    def add(self, key: Hashable) -> None:
        """It happens now."""
        self._at_s[key] = self._monotonic()
        self._at_s.move_to_end(key)
        if len(self._at_s) > _REMEMBERED:
            self._at_s.popitem(last=False)
