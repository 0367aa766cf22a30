"""Times as people's files have them: as text, or as a number of some unit since 1970, which the first one shows."""

import math
import re
from datetime import UTC, datetime
from typing import Final

from gateway.detect.days import has_day_first, is_slashed, patterns_of

EARLIEST_S: Final = -62_135_596_800.0  # the year 1
LATEST_S: Final = 253_402_300_799.0  # the year 9999

UNITS: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
"""What a number counts, in seconds."""

_NAMES: Final = {"ns": "nanoseconds", "us": "microseconds", "ms": "milliseconds", "s": "seconds"}
_SECONDS: Final = (9e8, 1e10)
"""As seconds, 1998 to 2286; as milliseconds, twelve days to four months of the year 1970."""
_LATE_MS: Final = 4.1e12  # 2099
_MICROSECONDS, _NANOSECONDS = 1e14, 1e17

_PATTERNS: Final = tuple(
    day + hour
    for day in ("%d.%m.%Y", "%Y/%m/%d", "%Y-%m-%d", "%d.%m.%y")
    for hour in (" %H:%M:%S", " %H:%M", "", " %H:%M:%S.%f", "T%H:%M:%S", "T%H:%M")
)
_MONTH: Final = re.compile("jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec", re.IGNORECASE)
_WITH_MONTH: Final = tuple(
    day + hour
    for day in ("%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%d-%b-%y", "%d %B %Y", "%B %d, %Y")
    for hour in ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H:%M:%S.%f")
)
_RARE: Final = ("%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p", "%Y-%m")
_APART: Final = re.compile(r" (?=[+-]\d\d:?\d\d$)")  # before a zone
CLOCK: Final = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?")  # a time of day
_DAY_DIGITS: Final = 8  # of a day as 20260131


class BadTime(ValueError):
    """A time that cannot be read; says why."""


class Instants:
    """Reads the times of one file; what a number means is decided by the first one, and said."""

    def __init__(self, form: str | None = None) -> None:
        """`form` is a unit of `UNITS`, or a pattern as `strptime` has it; by default it shows."""
        self._unit = form if form in UNITS else None
        self._patterns = [form] if form is not None and form not in UNITS else [*_PATTERNS, *_RARE]
        self._has_pattern = form is not None and form not in UNITS
        self._are_days: bool | None = None  # whether eight digits are a day; None: not decided yet
        self._day_first: bool | None = None  # in dates with slashes; None: no such date has shown it
        self._has_months = False  # whether patterns with names of months are among those that are tried
        self._notes: list[str] = []

    def take_notes(self) -> list[str]:
        """What was decided and is to be said, once."""
        notes, self._notes = self._notes, []
        return notes

    @property
    def may_show_order(self) -> bool:
        """Whether dates with slashes are to show if the day comes first, as nothing has said it."""
        return self._day_first is None and not self._has_pattern

    def put_order(self, text: str, *, day_first: bool) -> None:
        """Take dates with slashes, of which `text` is one, so from now on."""
        self._day_first = day_first
        self._patterns = [*patterns_of(day_first=day_first), *self._patterns]
        first = "day" if day_first else "month"
        self._notes.append(f"times such as {text} are taken with the {first} first; `--time-format` says otherwise")

    def read(self, text: str) -> float:
        """Epoch seconds of a text. Raises BadTime."""
        if self._has_pattern:
            return self._by_pattern(text)
        number = _number(text)
        if number is not None and not self._is_day(text):
            return self.of(number)
        try:
            return self.of(datetime.fromisoformat(text.removesuffix(" UTC").removesuffix(" GMT")))
        except ValueError:
            pass
        try:
            return self.of(datetime.fromisoformat(_APART.sub("", text)))
        except ValueError:
            return self._by_pattern(text)

    def of(self, instant: datetime | float) -> float:
        """Epoch seconds; a time that names no zone is taken as UTC. Raises BadTime."""
        if isinstance(instant, datetime):
            zoned = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
            return zoned.timestamp()
        if not math.isfinite(instant):
            raise BadTime(f"time {instant!r} is not finite")
        if self._unit is None:
            self._unit = self._decide(instant)
        seconds = instant / 1000.0 if self._unit == "ms" else instant * UNITS[self._unit]
        if not EARLIEST_S <= seconds <= LATEST_S:
            unit = _NAMES.get(self._unit, self._unit)
            raise BadTime(f"time {instant!r} is not epoch {unit} of the years 1 to 9999")
        return seconds

    def _decide(self, first: float) -> str:
        size = abs(first)
        if _SECONDS[0] <= size < _SECONDS[1]:
            unit = "s"
        elif _MICROSECONDS <= size < _NANOSECONDS:
            unit = "us"
        else:
            unit = "ms" if not _NANOSECONDS <= size < LATEST_S * 1e9 else "ns"
        if unit != "ms":
            self._notes.append(f"times such as {first:.0f} are taken as {_NAMES[unit]} since 1970")
        elif size < _SECONDS[0]:
            self._notes.append(
                f"times such as {first:g} are taken as milliseconds since 1970; `--time-format h` makes each an hour"
            )
        elif size > _LATE_MS:
            self._notes.append(
                f"times such as {first:.0f} are taken as milliseconds since 1970, of years after 2099; `--time-format"
                " %Y%m%d%H%M%S` makes them digits of a day and its time"
            )
        return unit

    def _is_day(self, text: str) -> bool:
        if self._are_days is None or (self._are_days and len(text) != _DAY_DIGITS):
            self._are_days = len(text) == _DAY_DIGITS and text.isdecimal() and _is_day_of_ours(text)
        return self._are_days

    def _by_pattern(self, text: str) -> float:
        if self.may_show_order and (order := has_day_first(text)) is not None:
            self.put_order(text, day_first=order)
        if not self._has_pattern and not self._has_months and _MONTH.search(text):
            self._has_months = True
            self._patterns += _WITH_MONTH
        for place, pattern in enumerate(self._patterns):
            try:
                instant = datetime.strptime(text, pattern)  # noqa: DTZ007 - `of` takes it as UTC
            except ValueError:
                continue
            self._patterns.insert(0, self._patterns.pop(place))  # the next one will look alike
            return self.of(instant)
        raise BadTime(self._why_not(text))

    def _why_not(self, text: str) -> str:
        if self._has_pattern:
            return f"timestamp {text!r} is not as --time-format {self._patterns[0]!r} says"
        hint = "; `--time-format` gives its pattern, such as %d-%b-%Y" if any(map(str.isdigit, text)) else ""
        if is_slashed(text):
            hint = "; `--time-format` tells whether day or month comes first"
        if CLOCK.fullmatch(text):
            hint = "; `--time-format %H:%M:%S` reads times of one day"
        return f"timestamp {text!r} is neither RFC 3339 nor a number of epoch milliseconds or seconds{hint}"


def _number(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def _is_day_of_ours(text: str) -> bool:
    try:
        return 1900 <= datetime.fromisoformat(text).year < 2100  # noqa: PLR2004 - nobody's data, and everybody's
    except ValueError:
        return False
