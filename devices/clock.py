"""The clocks that decide silence, quiet hours, caps, expiry and what is far in the future.

Signatures, leases and network timeouts do not use these: they stay on real time.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of the present moment."""

    def now_s(self) -> float:
        """Seconds since the Unix epoch, on this clock."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()


@dataclass(frozen=True, slots=True)
class ClockSetting:
    """How a scaled clock stands, for a twin of it in another process of this machine."""

    base_s: float  # what it showed…
    anchor_s: float  # …at this reading of the machine's monotonic clock
    hold_s: float | None


class ScaledClock:
    """A clock for demos and replays that runs `speed` times as fast as the machine's, from `start_s` on.

    It never passes the moment given to `hold_at`, so that whoever feeds it decides how far the world has come:
    a pipeline that lags behind does not turn lag into silence. Without a hold it runs freely.
    """

    def __init__(self, start_s: float, speed: float, hold_s: float | None = None) -> None:
        self._base_s = start_s
        self._speed = speed
        self._hold_s = hold_s
        self._anchor_s = time.monotonic()

    def now_s(self) -> float:
        """Seconds since the Unix epoch, in scaled time."""
        now_s = self._base_s + (time.monotonic() - self._anchor_s) * self._speed
        return now_s if self._hold_s is None else min(now_s, self._hold_s)

    def hold_at(self, hold_s: float | None) -> None:
        """Run on from the present moment, up to `hold_s`; None lets the clock run freely. It never goes back."""
        self._base_s = self.now_s()
        self._anchor_s = time.monotonic()
        self._hold_s = None if hold_s is None else max(hold_s, self._base_s)

    @property
    def setting(self) -> ClockSetting:
        """How it stands."""
        return ClockSetting(self._base_s, self._anchor_s, self._hold_s)

    def follow(self, setting: ClockSetting) -> None:
        """Stand as the twin does; the machine's monotonic clock is the same for all its processes."""
        self._base_s, self._anchor_s, self._hold_s = setting.base_s, setting.anchor_s, setting.hold_s


def to_datetime(epoch_s: float) -> datetime:
    """Epoch seconds as an aware UTC datetime."""
    return datetime.fromtimestamp(epoch_s, UTC)


def within_reach(at: datetime) -> datetime:
    """An aware moment in UTC, where every database can read it again. Raises ValueError."""
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        message = "that moment is beyond any calendar"
        raise ValueError(message) from error
