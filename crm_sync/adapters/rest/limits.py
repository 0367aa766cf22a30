"""Keeps below the limit that an account has for all of its applications."""

from typing import Final

from crm_sync.adapters.rest.spec import Limits

SPARED: Final = 0.25
"""The share of the limit that what can wait leaves to what cannot: polling and comparing to deliveries."""


class Bucket:
    """A token bucket; times are real seconds, given by the caller."""

    def __init__(self, limits: Limits, now_s: float) -> None:
        self._size = float(limits.requests)
        self._per_second = limits.requests / limits.per
        self._tokens = self._size
        self._at_s = now_s

    def wait_s(self, now_s: float, *, can_wait: bool = False) -> float:
        """How long something must wait for its first request; what follows may go at once, and is paid for later."""
        self._refill(now_s)
        needed = 1 + (self._size - 1) * SPARED if can_wait else 1.0
        return 0.0 if self._tokens >= needed else (needed - self._tokens) / self._per_second

    def spend(self, now_s: float) -> None:
        """A request goes."""
        self._refill(now_s)
        self._tokens -= 1

    def _refill(self, now_s: float) -> None:
        self._tokens = min(self._size, self._tokens + max(now_s - self._at_s, 0.0) * self._per_second)
        self._at_s = now_s
