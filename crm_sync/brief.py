"""The brief: what an agent reads before the call, in plain words and without any personal data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crm_sync.model import AlarmState, CaseAlarm, Resolution, Subject
from devices.profiles.model import Playbook, Profile

MAX_ALARMS: Final = 6
MAX_POINTS: Final = 6
MAX_TEXT: Final = 1200  # characters of one section, so that the whole message stays well below 20 kB
MAX_PHRASE: Final = 300

_DAY_S: Final = 86400
_ONE_DAYS_SPAN_S: Final = 20 * 3600
_WARRANTY_SOON_DAYS: Final = 60
_WHOLE_FROM: Final = 1000  # values from here on need no decimals
_UNITS: Final = {"Cel": "°C", "1": "", "m/s2": "m/s²", "Ohm": "Ω", "deg": "°", "W.h": "Wh", "kW.h": "kWh"}
_NO_SPACE: Final = frozenset({"%", "°"})

_SENTENCES: Final = {
    "threshold": "{name}: {observed}; allowed is {expected}.",
    "record": "{name}: {observed}, as never before on this product; usual is {expected}.",
    "usage_drop": "{name}: {observed}; usual here is {expected}.",
    "usage_surge": "{name}: {observed}; usual here is {expected}.",
    "decline": "{name}: {observed}; usual here was {expected}.",
    "silence": "Nothing was heard from it for {span}; expected is {expected}.",
}
"""How a kind of alarm is told from what was observed and expected; other kinds tell it themselves."""

_TITLES: Final = {
    "silence": "The {product} has gone quiet",
    "usage_drop": "The {product} is used much less than usual",
    "usage_surge": "The {product} is used much more than usual",
    "decline": "The {product} is slowly getting worse: {problem}",
    "stuck": "A sensor of the {product} seems stuck: {problem}",
    "event_burst": "The {product} keeps reporting faults: {problem}",
    "record": "The {product} behaves as never before: {problem}",
    "threshold": "The {product} runs outside its limits: {problem}",
}

_ENDINGS: Final[Mapping[Resolution, str]] = {
    Resolution.RECOVERED_IN_TELEMETRY: "The product has been back to normal since {moment}. Nothing is left to do.",
    Resolution.ALARM_RETRACTED: "A false alarm, taken back {moment}. Please do not contact the owner about it.",
    Resolution.RESOLVED_BY_AGENT: "Resolved by an agent {moment}.",
    Resolution.REJECTED_BY_AGENT: "Turned down by an agent {moment}.",
    Resolution.NOT_APPROVED: "Nobody approved it in time; it was given up {moment}.",
    Resolution.DECLINED: "Turned down {moment}, before anybody was told.",
    Resolution.WITHDRAWN: "Withdrawn {moment}. Please do not contact the owner about it.",
}


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What a brief is written from."""

    subject: Subject
    profile: Profile | None
    playbook: Playbook
    alarms: Sequence[CaseAlarm]  # oldest first, at least one
    now_s: float
    resolved_before_s: float | None = None  # a relapse: when it had been resolved


def generic_playbook(profile: Profile | None, problem: str, kind: str) -> Playbook:
    """A playbook for a problem that the profile says nothing about."""
    pattern = _TITLES.get(kind, "The {product} needs attention: {problem}")
    return Playbook(
        problem=problem,
        title=pattern.format(product=_product(profile), problem=_words(problem)),
        what_to_say="Ask how the product has been working lately, and whether anything around it has changed.",
        what_not_to_do="Do not promise a repair before the cause is known.",
    )


def write_brief(facts: CaseFacts) -> str:
    """The whole text: what happened, why, what to say, what not to do, and which product it is."""
    sections = [("What happened", _what_happened(facts))]
    playbook = facts.playbook
    sections += [
        ("Likely cause", playbook.likely_cause),
        ("What to say", playbook.what_to_say),
        ("What not to do", playbook.what_not_to_do),
        ("The product", _product_line(facts)),
    ]
    return "\n\n".join(f"{heading}\n{_clip(text.strip())}" for heading, text in sections if text.strip())


def write_ending(resolution: Resolution, subject: Subject, at_s: float, now_s: float) -> str:
    """What remains to be said of a case that ended at `at_s`."""
    local = _Local(subject.time_zone)
    return _ENDINGS[resolution].format(moment=f"{local.moment(at_s, now_s)} {local.note}")


def _what_happened(facts: CaseFacts) -> str:
    local = _Local(facts.subject.time_zone)
    shown = [alarm for alarm in facts.alarms if alarm.state is not AlarmState.RETRACTED][-MAX_ALARMS:]
    signs = [_sign(alarm, facts, local) for alarm in shown]
    lines = signs if len(signs) == 1 else [f"- {sign}" for sign in signs]
    lines += _course(facts, local)
    left_out = len(facts.alarms) - len(shown)
    if left_out:
        lines.append(f"Besides, {left_out} earlier {'sign' if left_out == 1 else 'signs'}.")
    return "\n".join(lines)


def _sign(alarm: CaseAlarm, facts: CaseFacts, local: "_Local") -> str:
    began = f"{local.moment(alarm.started_at_s, facts.now_s)} {local.note}"
    told = f"{_told(alarm)} It began {began}{', and is over' if alarm.state is AlarmState.CLEARED else ''}."
    points = _points(alarm, facts.profile, local)
    return f"{told}\n  Readings: {points}" if points else told


def _told(alarm: CaseAlarm) -> str:
    pattern = _SENTENCES.get(alarm.kind)
    if pattern is None or not alarm.observed or not alarm.expected:
        return _sentence(alarm.text)
    return pattern.format(
        name=_capital(_words(alarm.metric or alarm.watch)),
        observed=_clip(alarm.observed, MAX_PHRASE),
        expected=_clip(alarm.expected, MAX_PHRASE),
        span=span(alarm.window_s),
    )


def _course(facts: CaseFacts, local: "_Local") -> list[str]:
    """What became of it since: a relapse, or silence."""
    lines: list[str] = []
    if facts.resolved_before_s is not None:
        lines.append(f"It had been resolved {local.moment(facts.resolved_before_s, facts.now_s)}, and came back.")
    burning = [alarm for alarm in facts.alarms if not alarm.state.is_over]
    if burning and all(alarm.state is AlarmState.UNKNOWN for alarm in burning):
        since = local.moment(max(alarm.decided_ts_s for alarm in burning), facts.now_s)
        lines.append(
            f"The product has fallen silent, as noticed {since}: whether the fault is still there is not known."
        )
    return lines


def _points(alarm: CaseAlarm, profile: Profile | None, local: "_Local") -> str:
    if not alarm.evidence:
        return ""
    metric = None if profile is None or alarm.metric is None else profile.metrics.get(alarm.metric)
    unit = display_unit("1" if metric is None else metric.unit)
    some = spread(alarm.evidence, MAX_POINTS)
    if all(ts_s % _DAY_S == 0 for ts_s, _ in some):
        stamp = utc_day  # sums of days
    else:
        stamp = local.hour if some[-1][0] - some[0][0] < _ONE_DAYS_SPAN_S else local.day_and_hour
    return ", ".join(f"{number(value)}{unit} ({stamp(ts_s)})" for ts_s, value in some)


def spread(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most `most` points, evenly chosen, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(index * step)] for index in range(most)]


def _product_line(facts: CaseFacts) -> str:
    subject = facts.subject
    parts = [_capital(_product(facts.profile)) if facts.profile else (subject.model or "Unknown model")]
    parts.append(f"serial {subject.serial}" if subject.serial else "serial not recorded")
    if subject.firmware:
        parts.append(f"firmware {subject.firmware}")
    today = datetime.fromtimestamp(facts.now_s, _Local(subject.time_zone).zone).date()
    return f"{', '.join(parts)}. {_warranty(subject.warranty_until, today)} Device {subject.device_id}."


def _warranty(until: date | None, today: date) -> str:
    if until is None:
        return "Warranty not recorded."
    if until < today:
        return f"Out of warranty since {_day(until)}."
    left = (until - today).days
    if left <= _WARRANTY_SOON_DAYS:
        when = "today" if left == 0 else "tomorrow" if left == 1 else f"in {left} days"
        return f"In warranty, which ends {when} ({_day(until)})."
    return f"In warranty until {_day(until)}."


class _Local:
    """Instants as the owner's clock shows them; UTC, and said so, where the zone is not known."""

    def __init__(self, name: str | None) -> None:
        zone = _zone(name)
        self.zone: tzinfo = zone or UTC
        self.note = "local time" if zone else "UTC"

    def moment(self, epoch_s: float, now_s: float) -> str:
        """Such as ``today at 14:05``, ``on Tuesday 3 March at 14:05``."""
        at = datetime.fromtimestamp(epoch_s, self.zone)
        today = datetime.fromtimestamp(now_s, self.zone)
        days = (today.date() - at.date()).days
        if days in {0, 1}:
            return f"{'yesterday' if days else 'today'} at {at:%H:%M}"
        year = "" if at.year == today.year else f" {at.year}"
        return f"on {at:%A} {at.day} {at:%B}{year} at {at:%H:%M}"

    def hour(self, epoch_s: float) -> str:
        """Such as ``14:05``."""
        return f"{datetime.fromtimestamp(epoch_s, self.zone):%H:%M}"

    def day_and_hour(self, epoch_s: float) -> str:
        """Such as ``3 Mar 14:05``."""
        at = datetime.fromtimestamp(epoch_s, self.zone)
        return f"{at.day} {at:%b} {at:%H:%M}"


def utc_day(epoch_s: float) -> str:
    """Such as ``3 Mar``."""
    at = datetime.fromtimestamp(epoch_s, UTC)
    return f"{at.day} {at:%b}"


def _zone(name: str | None) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return None


def number(value: float) -> str:
    """A value as people write it: no more than four significant digits, no exponent for what people can read."""
    if not math.isfinite(value):
        return "none"
    if value.is_integer() or abs(value) >= _WHOLE_FROM:
        return str(round(value))
    return f"{value:.4g}"


def span(seconds: float) -> str:
    """Such as ``45 minutes``, ``5 hours``, ``3 days``: the largest unit of which there are two."""
    for size, name in ((_DAY_S, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {name}s"
    return f"{round(seconds)} seconds"


def display_unit(code: str) -> str:
    """A UCUM code as people write it, with the space that stands before it; ``{shot}`` only says what is counted."""
    shown = "" if code.startswith("{") else _UNITS.get(code, code)
    return shown if shown in _NO_SPACE or not shown else f" {shown}"


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _product(profile: Profile | None) -> str:
    return profile.title[:1].lower() + profile.title[1:] if profile and not profile.automatic else "product"


def _words(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(text: str) -> str:
    stripped = _clip(text.strip())
    return stripped if stripped.endswith((".", "!", "?", "…")) else f"{stripped}."


def _clip(text: str, most: int = MAX_TEXT) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
