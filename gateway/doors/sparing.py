"""Logs that a storm of bad clients cannot fill."""

import time
from collections.abc import Callable
from typing import Protocol


class Log(Protocol):
    """What the doors ask of a structlog logger."""

    def info(self, event: str, **facts: object) -> object:
        """Something happened that is as it should be."""
        ...

    def warning(self, event: str, **facts: object) -> object:
        """Something happened that somebody may want to look at."""
        ...


class SparingLog:
    """Writes at most `burst` lines of one event in `span_s`; the next line then tells how many were left out.

    Events are constants, so what it remembers is bounded.
    """

    def __init__(
        self, log: Log, *, burst: int = 10, span_s: float = 10.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._burst = burst
        self._span_s = span_s
        self._monotonic = monotonic
        self._spans: dict[str, tuple[float, int, int]] = {}  # event: when its span began, lines in it, lines left out

    def warning(self, event: str, **facts: object) -> None:
        """Write a warning, unless this event has been written too often of late."""
        now_s = self._monotonic()
        began_s, lines, left_out = self._spans.get(event, (now_s, 0, 0))
        if now_s - began_s >= self._span_s:
            began_s, lines = now_s, 0
        if lines >= self._burst:
            self._spans[event] = (began_s, lines, left_out + 1)
            return
        self._spans[event] = (began_s, lines + 1, 0)
        if left_out:
            facts["left_out"] = left_out
        self._log.warning(event, **facts)
