"""How fast strangers may come."""

from collections.abc import Callable


class Pace:
    """A token bucket that says how long to wait, rather than refusing."""

    def __init__(self, per_s: float, monotonic: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = max(per_s, 1.0)
        self._monotonic = monotonic
        self._tokens = self._burst
        self._at_s = monotonic()

    def take(self) -> float:
        """Take a token; the seconds to wait before using it."""
        now_s = self._monotonic()
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s) - 1.0
        self._at_s = now_s
        return max(0.0, -self._tokens / self._per_s)

    def give_back(self) -> None:
        """The token was not needed."""
        self._tokens += 1.0
