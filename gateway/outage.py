"""What goes on for as long as something is away: told when it begins, now and then, and when it is over."""

import time
from collections.abc import Callable
from typing import Final

from gateway.doors.sparing import Log

_EVERY_S: Final = 60.0


class Outage:
    """Writes the event `lasts` when something fails and each minute while it goes on, and `over` when it is well again.

    Who tries again each second would fill a log otherwise, just while somebody reads it.
    """

    def __init__(self, log: Log, lasts: str, over: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`lasts` and `over` are names of events."""
        self._log = log
        self._lasts = lasts
        self._over = over
        self._monotonic = monotonic
        self._began_s: float | None = None
        self._told_s = 0.0

    def goes_on(self, **facts: object) -> None:
        """It has failed, perhaps not for the first time."""
        now_s = self._monotonic()
        if self._began_s is None:
            self._began_s = self._told_s = now_s
            self._log.warning(self._lasts, **facts)
        elif now_s - self._told_s >= _EVERY_S:
            self._told_s = now_s
            self._log.warning(self._lasts, **facts, for_s=round(now_s - self._began_s))

    def ends(self) -> None:
        """It is well; nothing where it was before."""
        if self._began_s is not None:
            self._log.info(self._over, after_s=round(self._monotonic() - self._began_s, 1))
            self._began_s = None
