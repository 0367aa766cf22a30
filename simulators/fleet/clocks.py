"""The simulated present moment, and the gateway's clock that follows it."""

import time
from bisect import bisect_left
from collections.abc import Callable


class WorldClock:
    """Where the simulated world has come to: the moment up to which everything has been acknowledged."""

    def __init__(self, start_s: float) -> None:
        self._now_s = start_s

    def now_s(self) -> float:
        """Epoch seconds, simulated."""
        return self._now_s

    def reach(self, now_s: float) -> None:
        """The world has come this far."""
        self._now_s = max(self._now_s, now_s)


class ClockHand:
    """Moves the gateway's clock after the world's, and notes when it did.

    The world waits for it: what devices say next is received at a later hour, in every run of the same seed.
    """

    def __init__(self, hold: Callable[[float], None]) -> None:
        self._hold = hold
        self._moments_s: list[float] = []
        self._told_at: list[float] = []  # machine time, one per moment

    def move_to(self, moment_s: float) -> None:
        """The gateway's clock may run up to this moment; returns when it knows."""
        self._hold(moment_s)
        self._moments_s.append(moment_s)
        self._told_at.append(time.time())

    def told_at(self, moment_s: float) -> float | None:
        """Machine time at which the gateway's clock was let reach `moment_s`."""
        n = bisect_left(self._moments_s, moment_s)
        return self._told_at[n] if n < len(self._told_at) else None
