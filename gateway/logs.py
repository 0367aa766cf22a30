"""Logs: constant event names, facts as fields; JSON when nobody watches on a terminal."""

import logging
import math
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from gateway.settings import LogSettings

LIBRARY: Final = "library.said"
"""The event under which warnings of our libraries come."""


_RARELY_S: Final = 60.0
_MOST_KNOWN: Final = 1000


class _Rarely(logging.Filter):
    """Lets a library's warning through once a minute, with how often it was said since the last time.

    A pool of connections says each attempt to reach a database that is away.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._told: dict[tuple[str, str], tuple[float, int]] = {}  # when it was let through, and how often not since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written; errors always are."""
        if record.levelno > logging.WARNING:
            return True
        now_s, kind = self._monotonic(), (record.name, str(record.msg))
        told_s, left_out = self._told.get(kind, (-math.inf, 0))
        if now_s - told_s < _RARELY_S:
            self._told[kind] = told_s, left_out + 1
            return False
        if len(self._told) >= _MOST_KNOWN:
            self._told.clear()
        self._told[kind] = now_s, 0
        record.left_out = left_out
        return True


def configure_logs(settings: LogSettings, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Send careloop's own events, and the warnings of its libraries, to standard error in the format asked for."""
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Without local variables: they hold payloads, tokens and passwords.
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    )
    plain = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    renderer: list[structlog.typing.Processor] = (
        [tracebacks, structlog.processors.JSONRenderer()] if as_json else [plain]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[_as_fact, *renderer], foreign_pre_chain=shared)
    )
    handler.addFilter(_Rarely(monotonic))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _as_fact(_logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A library's own sentence is a fact of an event with a constant name, like all others."""
    record = event.pop("_record", None)
    event.pop("_from_structlog", None)
    if isinstance(record, logging.LogRecord):
        event.update(event=LIBRARY, library=record.name, says=event["event"])
        left_out = getattr(record, "left_out", 0)
        if left_out:
            event["left_out"] = left_out
    return event
