"""Dates such as 3/4/2026 or 03-04-2026, of which the first rows show whether the day or the month comes first."""

import re
from datetime import UTC, datetime
from typing import Final

MOST: Final = 1500
"""Rows that wait for one that shows it: a day has 1,440 minutes."""
_SLASHED: Final = re.compile(r"(\d{1,2})([/-])(\d{1,2})\2(?:\d{4}|(?<=/)\d\d)(?:[ T].*)?")
_TWELVE: Final = 12  # hours of a clock, and months
_DAY_S: Final = 86_400.0
_HOURS: Final = ("", " %H:%M:%S", " %H:%M", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p", "T%H:%M:%S")
_ORDERS: Final = {True: ("%d/%m/%Y", "%d/%m/%y", "%d-%m-%Y"), False: ("%m/%d/%Y", "%m/%d/%y", "%m-%d-%Y")}


def is_slashed(text: str) -> bool:
    """Whether a text is such a date, whichever comes first."""
    return _SLASHED.fullmatch(text) is not None


def patterns_of(*, day_first: bool) -> list[str]:
    """How such dates are written, as `strptime` has it."""
    return [f"{day}{hour}" for day in _ORDERS[day_first] for hour in _HOURS]


def has_day_first(text: str) -> bool | None:
    """Whether it has; None where that is open, or it is no date. A clock of twelve hours goes with the month first."""
    found = _SLASHED.fullmatch(text)
    if found is None:
        return None
    first, second = int(found[1]), int(found[3])
    if (first > _TWELVE) != (second > _TWELVE):
        return first > _TWELVE
    return False if text[-2:].upper() in {"AM", "PM"} else None


class DayOrder:
    """Looks at one time after the other until they show it."""

    def __init__(self) -> None:
        self.day_first: bool | None = None
        self.is_over = False
        self._rows = 0
        self.last = ""  # of such dates
        self._days: set[str] = set()

    @property
    def is_one_day(self) -> bool:
        """Whether all of them are of one day, so that which order they have changes nothing between them."""
        return len(self._days) == 1

    def see(self, text: str) -> None:
        """Look at a further time."""
        self._rows += 1
        if not is_slashed(text):
            self.is_over = self._rows == 1 or self._rows >= MOST
            return
        self.day_first = has_day_first(text)
        if self.day_first is None and self.last:
            self.day_first = _by_step(self.last, text)
        self.last = text
        if len(self._days) <= 1:
            self._days.add(re.split("[ T]", text, maxsplit=1)[0])
        self.is_over = self.day_first is not None or self._rows >= MOST


def _by_step(before: str, now: str) -> bool | None:
    """Which reading has less than a day between two times of different hours, where the other one has weeks."""
    steps = {first: _step(before, now, patterns_of(day_first=first)) for first in (True, False)}
    near = [first for first, step_s in steps.items() if step_s is not None and 0 < step_s < _DAY_S]
    far = [first for first, step_s in steps.items() if step_s is not None and step_s > 7 * _DAY_S]
    return near[0] if len(near) == len(far) == 1 else None


def _step(before: str, now: str, patterns: list[str]) -> float | None:
    earlier, later = _read(before, patterns), _read(now, patterns)
    return None if earlier is None or later is None else abs(later - earlier)


def _read(text: str, patterns: list[str]) -> float | None:
    for pattern in patterns:
        try:
            return datetime.strptime(text, pattern).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    return None
