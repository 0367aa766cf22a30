"""How instants, spans and values are shown: short, in the reader's language, and never more exact than they are."""

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from markupsafe import Markup, escape

from devices.clock import to_datetime
from gateway.console.words import Words

MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0
SOON_S: Final = 4 * HOUR_S
MANY: Final = 1000.0
"""Values from here on need no decimals."""
FEW: Final = 0.001
MOST_TEXT: Final = 100

_MONTHS: Final = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "it": ("gen", "feb", "mar", "apr", "mag", "giu", "lug", "ago", "set", "ott", "nov", "dic"),
}

_MOMENT: Final = re.compile(r"(?:\b(?P<day>\d{1,2}) [^\W\d_]+ (?:\d{4} )?)?\b(?P<time>\d{2}:\d{2})\b(?! UTC)")

Instant = datetime | float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """What templates show values with, as of one moment of the gateway's clock."""

    words: Words
    now_s: float

    def when(self, at: Instant) -> Markup | str:
        """An instant, in UTC until the browser puts it into the reader's zone."""
        if at is None:
            return "—"
        moment = _moment(at)
        year = "" if moment.year == to_datetime(self.now_s).year else f" {moment.year}"
        text = f"{self.day(moment)}{year} {moment:%H:%M} UTC"
        return Markup('<time datetime="{}" data-local>{}</time>').format(moment.isoformat(), text)

    def day(self, moment: date) -> str:
        """A day of some year, in UTC."""
        return f"{moment.day} {_MONTHS.get(self.words.language, _MONTHS['en'])[moment.month - 1]}"

    def moments(self, text: str, began: Instant = None) -> Markup:
        """A sentence whose times are UTC: the first, where it is `began`, in the reader's, any other with its zone."""
        began_at = None if began is None else _moment(began)
        said = str(escape(text))
        first = _MOMENT.search(said)

        def put(found: re.Match[str]) -> str:
            if began_at is None or first is None or found.start() != first.start():
                return f"{found[0]} UTC"
            is_began = (int(found["day"] or began_at.day), found["time"]) == (began_at.day, f"{began_at:%H:%M}")
            return str(self.when(began_at)) if is_began else f"{found[0]} UTC"

        return Markup(_MOMENT.sub(put, said))  # noqa: S704 - escaped right here

    def has_passed(self, day: date | None) -> bool:
        """Whether a day, where there is one, is over."""
        return day is not None and day < to_datetime(self.now_s).date()

    def date(self, day: date | None) -> str:
        """A day, with its year."""
        return "—" if day is None else f"{self.day(day)} {day.year}"

    def ago(self, at: Instant) -> Markup | str:
        """How long ago an instant was."""
        if at is None:
            return "—"
        passed_s = self.now_s - _moment(at).timestamp()
        text = self.words.say("{span} ago", span=self.span(passed_s)) if passed_s >= MINUTE_S else self.words.say("now")
        if passed_s < -MINUTE_S:
            text = self.words.say("in {span}", span=self.span(-passed_s))
        return _time(at, text)

    def due(self, at: Instant, done_at: Instant = None) -> Markup | str:
        """How long is left until something is due, or since when it is late; its class says how urgent that is.

        What was done at `done_at` has met its deadline or missed it, and is no longer urgent.
        """
        if done_at is not None:
            return Markup('<span class="due met">{}</span>').format(_time(done_at, self._met(at, done_at)))
        if at is None:
            return Markup('<span class="due none">{}</span>').format(self.words.say("no deadline"))
        left_s = _moment(at).timestamp() - self.now_s
        if left_s < 0:
            kind, text = "late", self.words.say("{span} late", span=self.span(-left_s))
        else:
            kind = "soon" if left_s < SOON_S else "later"
            text = self.words.say("{span} left", span=self.span(left_s))
        return Markup('<span class="due {}">{}</span>').format(kind, _time(at, text))

    def _met(self, at: Instant, done_at: datetime | float) -> str:
        if at is None:
            return self.words.say("taken up")
        late_s = (_moment(done_at) - _moment(at)).total_seconds()
        if late_s > 0:
            return self.words.say("taken up {span} late", span=self.span(late_s))
        return self.words.say("taken up in time")

    def span(self, seconds: float | None) -> str:
        """A span of time in its greatest unit, or its greatest two."""
        if seconds is None or not math.isfinite(seconds):
            return "—"
        if seconds < MINUTE_S:
            return f"{self.number(seconds)} s" if seconds < 1 else f"{seconds:.0f} s"
        if seconds < HOUR_S:
            return f"{seconds / MINUTE_S:.0f} min"
        if seconds < DAY_S:
            hours, minutes = divmod(round(seconds / MINUTE_S), 60)
            return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours} h"  # noqa: PLR2004 - two digits of hours say enough
        days, hours = divmod(round(seconds / HOUR_S), 24)
        unit = self.words.say("d")
        return f"{days} {unit} {hours} h" if hours and days < 3 else f"{days} {unit}"  # noqa: PLR2004 - three days say enough

    def number(self, value: float | None) -> str:
        """A count or a measured value, with as many digits as it has something to say."""
        if value is None or not math.isfinite(value):
            return "—"
        if value == int(value) or abs(value) >= MANY:
            return self.words.number(value)
        if abs(value) < FEW:
            return f"{value:.1e}"
        text = self.words.number(value, max(0, 2 - math.floor(math.log10(abs(value)))))
        return text.rstrip("0").rstrip(".,")

    def value(self, value: object) -> str:
        """What a device told, whatever it is."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return self.words.say("yes") if value else self.words.say("no")
        return self.number(value) if isinstance(value, int | float) else str(value)[:MOST_TEXT]

    def percent(self, value: float | None) -> str:
        """A share."""
        return "—" if value is None else f"{self.words.number(100 * value)} %"

    def actor(self, actor: str) -> str:
        """Who or what did something."""
        kind, _, name = actor.partition(":")
        return name if kind == "person" else f"CRM {name}" if kind == "crm" else self.words.word(kind)


def _moment(at: datetime | float) -> datetime:
    return to_datetime(at) if isinstance(at, float | int) else at.astimezone(UTC)


def _time(at: datetime | float, text: str) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(_moment(at).isoformat(), escape(text))
