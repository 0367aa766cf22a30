"""Leaves an origin alone that keeps failing, and lets one message at a time find out whether it is back."""

from collections import deque

from crm_sync.endpoints import BreakerSettings


class Breaker:
    """The state of one origin, shared by the endpoints that lie there.

    Closed: everything may go. Open: nothing, until the wait is over; then one message is the probe. Its success closes
    the breaker, its failure doubles the wait. All times are real seconds, given by the caller.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._in_a_row = 0
        self._recent: deque[tuple[float, bool]] = deque(maxlen=settings.calls)  # (when, whether it failed)
        self._wait_s: float | None = None  # None while closed
        self._probe_at_s = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether the origin is being left alone."""
        return self._wait_s is not None

    def room(self, now_s: float, wanted: int) -> int:
        """How many of `wanted` messages may go now."""
        if self._wait_s is None:
            return wanted
        return min(wanted, 1) if now_s >= self._probe_at_s and not self._probing else 0

    def begin(self) -> None:
        """A message goes."""
        self._probing = self.is_open

    def abandon(self) -> None:
        """A message went and nobody knows how it ended: another may probe."""
        self._probing = False

    def settle(self, now_s: float, *, failed: bool) -> None:
        """A message came back."""
        self._probing = False
        if self._wait_s is not None:
            self._settle_open(now_s, self._wait_s, failed=failed)
            return
        self._recent.append((now_s, failed))
        self._in_a_row = self._in_a_row + 1 if failed else 0
        if failed and (self._in_a_row >= self._settings.failures or self._fails_often(now_s)):
            self._wait(now_s, self._settings.probe_after)

    def _settle_open(self, now_s: float, wait_s: float, *, failed: bool) -> None:
        if not failed:
            self._wait_s = None
            self._in_a_row = 0
            self._recent.clear()
        elif now_s >= self._probe_at_s:  # else it had left before the breaker opened
            self._wait(now_s, wait_s * 2)

    def _wait(self, now_s: float, wait_s: float) -> None:
        self._wait_s = min(wait_s, self._settings.probe_at_most)
        self._probe_at_s = now_s + self._wait_s

    def _fails_often(self, now_s: float) -> bool:
        recent = [failed for at_s, failed in self._recent if at_s > now_s - self._settings.window]
        return len(recent) == self._settings.calls and sum(recent) >= self._settings.share * len(recent)
