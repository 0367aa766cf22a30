"""Keeps below the limit that an account has for all of its applications."""

from crm_sync.adapters.rest.spec import Limits


class Bucket:
    """A token bucket; times are real seconds, given by the caller."""

    def __init__(self, limits: Limits, now_s: float) -> None:
        self._size = float(limits.requests)
        self._per_second = limits.requests / limits.per
        self._tokens = self._size
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """How long a delivery must wait for its first request; what follows may go at once, and is paid for later."""
        self._refill(now_s)
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._per_second

    def spend(self, now_s: float) -> None:
        """A request goes."""
        self._refill(now_s)
        self._tokens -= 1

    def _refill(self, now_s: float) -> None:
        self._tokens = min(self._size, self._tokens + max(now_s - self._at_s, 0.0) * self._per_second)
        self._at_s = now_s
