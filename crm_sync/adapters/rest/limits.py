"""Keeps below the limit that an account has for all of its applications."""

from typing import Final

from crm_sync.adapters.rest.spec import Limits

SPARED: Final = 0.25
"""The share of the limit that what can wait leaves to what cannot: polling and comparing to deliveries."""


class Bucket:
    """The token bucket of an account, shared by all endpoints that lie in it; times are real seconds, by the caller."""

    def __init__(self, limits: Limits, now_s: float) -> None:
        self._size = float(limits.requests)
        self._per_second = limits.requests / limits.per
        self._tokens = self._size
        self._at_s = now_s
        self._rests_until_s = now_s

    def tighten(self, limits: Limits) -> None:
        """Keep another file's limits of the same account, too."""
        self._size = min(self._size, float(limits.requests))
        self._per_second = min(self._per_second, limits.requests / limits.per)
        self._tokens = min(self._tokens, self._size)

    def rest(self, until_s: float) -> None:
        """The other side wants no more of this account before then."""
        self._rests_until_s = max(self._rests_until_s, until_s)

    def wait_s(self, now_s: float, *, can_wait: bool = False) -> float:
        """How long something must wait for its first request; what follows may go at once, and is paid for later."""
        self._refill(now_s)
        needed = 1 + (self._size - 1) * SPARED if can_wait else 1.0
        short_s = 0.0 if self._tokens >= needed else (needed - self._tokens) / self._per_second
        return max(short_s, self._rests_until_s - now_s, 0.0)

    def spend(self, now_s: float) -> None:
        """A request goes."""
        self._refill(now_s)
        self._tokens -= 1

    def _refill(self, now_s: float) -> None:
        self._tokens = min(self._size, self._tokens + max(now_s - self._at_s, 0.0) * self._per_second)
        self._at_s = now_s
