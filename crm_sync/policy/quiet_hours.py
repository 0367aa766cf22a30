"""When an owner is left in peace."""

from collections.abc import Sequence
from datetime import datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from crm_sync.settings import WEEKDAYS, QuietHoursSettings

MINUTE_S: Final = 60
SEARCH_DAYS: Final = 8  # more than a week: if no minute of it is allowed, none ever is


def is_quiet(quiet: QuietHoursSettings, zone: ZoneInfo, at_s: float) -> bool:
    """Whether the wall clock of `zone` shows a quiet hour at this instant."""
    local = datetime.fromtimestamp(at_s, zone)
    if WEEKDAYS[local.weekday()] in quiet.days:
        return True
    return _is_within(quiet.start, quiet.end, local.time())


def next_allowed_s(quiet: QuietHoursSettings, zones: Sequence[ZoneInfo], now_s: float) -> float | None:
    """`now_s` if every zone is awake, else the first whole minute at which all are; None if there is no such minute.

    It asks the wall clock minute by minute rather than computing with it, so that an hour that daylight saving time
    skips or repeats needs no rule of its own.
    """
    if not any(is_quiet(quiet, zone, now_s) for zone in zones):
        return now_s
    minute_s = (int(now_s) // MINUTE_S + 1) * MINUTE_S
    for at_s in range(minute_s, minute_s + SEARCH_DAYS * 86400, MINUTE_S):
        if not any(is_quiet(quiet, zone, at_s) for zone in zones):
            return float(at_s)
    return None


def _is_within(start: time, end: time, moment: time) -> bool:
    if start <= end:
        return start <= moment < end
    return moment >= start or moment < end
