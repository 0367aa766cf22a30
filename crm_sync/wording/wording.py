"""How one language says numbers, days, spans, moments, and what detectors found."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from string import Formatter
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal

from crm_sync.wording.model import ANYTHING_ELSE, Words

DAY_S: Final = 86400
_WHOLE_FROM: Final = 1000  # values from here on need no decimals
_UNITS: Final = {"Cel": "°C", "1": "", "m/s2": "m/s²", "Ohm": "Ω", "deg": "°", "W.h": "Wh", "kW.h": "kWh"}
_NO_SPACE: Final = frozenset({"%", "°"})
_SPAN: Final = re.compile(r"(\d[\d,]*(?:\.\d+)?) (second|minute|hour|day)s?")
_NUMBER: Final = re.compile(  # not a clock's, nor a year before one, nor of a name or version
    r"(?<![\w:.])(?<!\w-)\d[\d,]*(?:\.\d+)?(?![\d:]|\.\d| \d\d:)"
)

Unit = Literal["second", "minute", "hour", "day"]


@dataclass(frozen=True, slots=True)
class Wording:
    """One language."""

    language: str
    words: Words
    locale: Locale

    def title(self, kind: str, product: str, problem: str) -> str:
        """Of a case about a problem that no profile knows."""
        titles = self.words.titles
        return titles.get(kind, titles[ANYTHING_ELSE]).format(product=product, problem=problem)

    def phrase(self, said: str) -> str:
        """What a detector said in English, in this language, and so for what is filled in; else it stays as it is."""
        for phrase in self.words.phrases:
            found = re.fullmatch(_expression(phrase.said), said, re.DOTALL)
            if found is not None:
                return phrase.told.format(**{name: self.phrase(part) for name, part in found.groupdict().items()})
        return self.amount(said)

    def amount(self, said: str) -> str:
        """Spans and numbers within what was said in English, in this language."""
        if self.locale.language == "en":
            return said
        spans = _SPAN.sub(lambda found: self._spelled(_read(found[1]), found[2]), said)
        if spans != said:
            return spans
        return _NUMBER.sub(lambda found: self._decimal(_read(found[0])), said)

    def number(self, value: float) -> str:
        """A value as people write it: no more than four significant digits, no exponent for what people can read."""
        if not math.isfinite(value):
            return self.phrase("none")
        if value.is_integer() or abs(value) >= _WHOLE_FROM:
            return str(round(value))
        text = f"{value:.4g}"
        return text if "e" in text else text.replace(".", _decimal_point(self.locale))

    def span(self, seconds: float) -> str:
        """Such as ``45 minutes``, ``5 hours``, ``3 days``: the largest unit of which there are two."""
        units: tuple[tuple[int, Unit], ...] = ((DAY_S, "day"), (3600, "hour"), (60, "minute"))
        for size, unit in units:
            if seconds >= 2 * size:
                return self._spelled(round(seconds / size), unit)
        return self._spelled(round(seconds), "second")

    def day(self, day: date, pattern: Literal["weekday", "weekday_of_year", "whole", "short"]) -> str:
        """A day after one of this language's patterns."""
        return format_date(day, getattr(self.words.dates, pattern), locale=self.locale)

    def _spelled(self, amount: float, unit: str) -> str:
        one, other = getattr(self.words.spans, unit)
        return (one if amount == 1 else other).format(n=self._decimal(amount))

    def _decimal(self, value: float) -> str:
        return format_decimal(value, "#,##0.######", locale=self.locale)


def _expression(pattern: str) -> str:
    return "".join(_parts(pattern))


def _parts(pattern: str) -> Iterator[str]:
    for literal, name, _, _ in Formatter().parse(pattern):
        yield re.escape(literal)
        if name is not None:
            yield f"(?P<{name}>.+?)"


def _read(text: str) -> float:
    return float(text.replace(",", ""))


def _decimal_point(locale: Locale) -> str:
    return format_decimal(0.5, "0.0", locale=locale)[1]


def display_unit(code: str) -> str:
    """A UCUM code as people write it, with the space that stands before it; ``{shot}`` only says what is counted."""
    shown = "" if code.startswith("{") else _UNITS.get(code, code)
    return shown if shown in _NO_SPACE or not shown else f" {shown}"


class Local:
    """Instants as the owner's clock shows them; UTC, and said so, where the zone is not known."""

    def __init__(self, wording: Wording, zone_name: str | None) -> None:
        zone = _zone(zone_name)
        self.zone: tzinfo = zone or UTC
        self._wording = wording
        moments = wording.words.moments
        self._noted = moments.local if zone else moments.utc

    def moment(self, epoch_s: float, now_s: float) -> str:
        """Such as ``today at 14:05``, ``on Tuesday 3 March at 14:05``."""
        moments = self._wording.words.moments
        at = datetime.fromtimestamp(epoch_s, self.zone)
        today = datetime.fromtimestamp(now_s, self.zone)
        time = f"{at:%H:%M}"
        days = (today.date() - at.date()).days
        if days in {0, 1}:
            return (moments.yesterday if days else moments.today).format(time=time)
        day = self._wording.day(at.date(), "weekday" if at.year == today.year else "weekday_of_year")
        return moments.day.format(day=day, time=time)

    def noted(self, epoch_s: float, now_s: float) -> str:
        """A moment that says whose clock it is."""
        return self._noted.format(moment=self.moment(epoch_s, now_s))

    def hour(self, epoch_s: float) -> str:
        """Such as ``14:05``."""
        return f"{datetime.fromtimestamp(epoch_s, self.zone):%H:%M}"

    def day_and_hour(self, epoch_s: float) -> str:
        """Such as ``3 Mar 14:05``."""
        at = datetime.fromtimestamp(epoch_s, self.zone)
        return f"{self._wording.day(at.date(), 'short')} {at:%H:%M}"

    def utc_day(self, epoch_s: float) -> str:
        """Such as ``3 Mar``, as UTC has it."""
        return self._wording.day(datetime.fromtimestamp(epoch_s, UTC).date(), "short")


def _zone(name: str | None) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return None
