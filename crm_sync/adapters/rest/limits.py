"""Keeps below the limit that an account has for all of its applications."""

from typing import Annotated, Final, Literal

from pydantic import Field

from crm_sync.adapters.rest.section import Section
from devices.profiles.model import SpanS

SPARED: Final = 0.25
"""The share of the limit that what can wait leaves to what cannot: polling and comparing to deliveries."""


class Limits(Section):
    """How much of the account's limit careloop may use; other applications share it."""

    requests: Annotated[int, Field(ge=1)] = 100_000
    per: Annotated[SpanS, Field(gt=0)] = 60.0
    in_flight: Annotated[int, Field(ge=1, le=100)] = 4
    of: Literal["origin", "token"] = "origin"  # who shares them: all at this address, or all with this token
    wait_header: str = ""  # says how long to wait where there is no Retry-After: seconds, or an instant


class Bucket:
    """A token bucket; times are real seconds, by the caller."""

    def __init__(self, limits: Limits, now_s: float) -> None:
        self.size = float(limits.requests)
        self.per_second = limits.requests / limits.per
        self._tokens = self.size
        self._at_s = now_s
        self._rests_until_s = now_s

    def tighten(self, limits: Limits) -> None:
        """Keep another file's limits of the same account, too."""
        self.size = min(self.size, float(limits.requests))
        self.per_second = min(self.per_second, limits.requests / limits.per)
        self._tokens = min(self._tokens, self.size)

    def rest(self, until_s: float) -> None:
        """The other side wants no more of this account before then."""
        self._rests_until_s = max(self._rests_until_s, until_s)

    def wait_s(self, now_s: float, *, can_wait: bool = False) -> float:
        """How long something must wait for its first request; what follows may go at once, and is paid for later."""
        self._refill(now_s)
        return max(self.short_s(self._tokens, can_wait=can_wait), self._rests_until_s - now_s, 0.0)

    def short_s(self, tokens: float, *, can_wait: bool) -> float:
        """How long it takes until there are enough."""
        needed = 1 + (self.size - 1) * SPARED if can_wait else 1.0
        return 0.0 if tokens >= needed else (needed - tokens) / self.per_second

    def spend(self, now_s: float) -> None:
        """A request goes."""
        self._refill(now_s)
        self._tokens -= 1

    def _refill(self, now_s: float) -> None:
        self._tokens = min(self.size, self._tokens + max(now_s - self._at_s, 0.0) * self.per_second)
        self._at_s = now_s


class Budget:
    """What is left of an account, for all endpoints of this process that lie in it."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    async def wait_s(self, now_s: float, *, can_wait: bool = False) -> float:
        """How long something must wait for its first request."""
        return self.bucket.wait_s(now_s, can_wait=can_wait)

    async def spend(self, now_s: float) -> None:
        """A request goes."""
        self.bucket.spend(now_s)

    async def rest(self, now_s: float, until_s: float) -> None:  # noqa: ARG002 - others write down when they heard it
        """The other side wants no more of this account before then."""
        self.bucket.rest(until_s)
