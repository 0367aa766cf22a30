"""The brief: what an agent reads before the call, in plain words and without any personal data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crm_sync.model import AlarmState, CaseAlarm, Resolution, Subject
from devices.profiles.model import Playbook, Profile

MAX_ALARMS: Final = 6
MAX_POINTS: Final = 6
MAX_TEXT: Final = 1200  # characters of one section, so that the whole message stays well below 20 kB

_WARRANTY_SOON_DAYS: Final = 60
_WHOLE_FROM: Final = 1000  # values from here on need no decimals
_UNITS: Final = {"Cel": "°C", "1": "", "m/s2": "m/s²", "Ohm": "Ω", "deg": "°", "/min": "per minute", "mm[Hg]": "mmHg"}
_NO_SPACE: Final = frozenset({"%", "°"})

_TITLES: Final = {
    "silence": "The {product} has gone quiet",
    "usage_drop": "The {product} is used much less than usual",
    "usage_surge": "The {product} is used much more than usual",
    "decline": "The {product} is slowly getting worse: {problem}",
    "stuck": "A sensor of the {product} seems stuck: {problem}",
    "event_burst": "The {product} keeps reporting faults: {problem}",
    "record": "The {product} behaves unlike ever before: {problem}",
    "threshold": "The {product} runs outside its limits: {problem}",
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
    title = pattern.format(product=_product(profile), problem=_words(problem))
    return Playbook(
        problem=problem,
        title=title,
        what_to_say="Ask how the product has been working lately, and whether anything has changed around it.",
        what_not_to_do="Do not promise a repair before the cause is known.",
    )


def write_brief(facts: CaseFacts) -> str:
    """The whole text: what happened, why, what to say, what not to do, and which product it is."""
    local = _Local(facts.subject.time_zone)
    sections = [_opening(facts, local), _signs(facts, local)]
    playbook = facts.playbook
    for heading, text in (
        ("Likely cause", playbook.likely_cause),
        ("What to say", playbook.what_to_say),
        ("What not to do", playbook.what_not_to_do),
    ):
        if text.strip():
            sections.append(f"{heading}\n{_clip(text.strip())}")
    sections.append(f"The product\n{_product_line(facts)}")
    return "\n\n".join(sections)


_ENDINGS: Final[Mapping[Resolution, str]] = {
    Resolution.RECOVERED_IN_TELEMETRY: "The product works normally again since {moment}. Nothing is left to do.",
    Resolution.ALARM_RETRACTED: "This was a false alarm, noticed {moment}. Please do not contact the owner about it.",
    Resolution.RESOLVED_BY_AGENT: "An agent resolved this case {moment}.",
    Resolution.REJECTED_BY_AGENT: "An agent turned this case down {moment}.",
    Resolution.WITHDRAWN: "This case was withdrawn {moment}. Please do not contact the owner about it.",
}


def write_ending(resolution: Resolution, subject: Subject, at_s: float, now_s: float) -> str:
    """What remains to be said of a case that has ended at `at_s`."""
    moment = _Local(subject.time_zone).moment(at_s, now_s)
    return _ENDINGS[resolution].format(moment=_without_on(moment) if "since" in _ENDINGS[resolution] else moment)


def _opening(facts: CaseFacts, local: "_Local") -> str:
    newest = max(facts.alarms, key=lambda alarm: (alarm.state is AlarmState.ACTIVE, alarm.severity.rank))
    lines = [f"{_sentence(newest.text)} It began {local.moment(facts.alarms[0].started_at_s, facts.now_s)}."]
    if facts.resolved_before_s is not None:
        lines.append(f"It had been resolved {local.moment(facts.resolved_before_s, facts.now_s)}, and came back.")
    quiet = [alarm for alarm in facts.alarms if alarm.state is AlarmState.UNKNOWN]
    if quiet and len(quiet) == len([alarm for alarm in facts.alarms if not alarm.state.is_over]):
        since = local.moment(max(alarm.decided_ts_s for alarm in quiet), facts.now_s)
        lines.append(f"Nothing has been heard from it since {_without_on(since)}: the fault may still be there.")
    return "What happened\n" + "\n".join(lines)


def _signs(facts: CaseFacts, local: "_Local") -> str:
    shown = [alarm for alarm in facts.alarms if alarm.state is not AlarmState.RETRACTED][-MAX_ALARMS:]
    lines = [_sign(alarm, facts, local) for alarm in shown]
    left_out = len(facts.alarms) - len(shown)
    if left_out > 0:
        lines.append(f"- and {left_out} earlier {'sign' if left_out == 1 else 'signs'}")
    return "What we saw\n" + "\n".join(lines)


def _sign(alarm: CaseAlarm, facts: CaseFacts, local: "_Local") -> str:
    over = " (over)" if alarm.state is AlarmState.CLEARED else ""
    name = _words(alarm.metric or alarm.watch)
    line = f"- {name.capitalize()}{over}: {_clip(alarm.observed or alarm.text, 200)}"
    if alarm.expected:
        line += f"; normally {_clip(alarm.expected, 200)}"
    points = _points(alarm, facts.profile, local)
    return f"{line}\n  {points}" if points else line


def _points(alarm: CaseAlarm, profile: Profile | None, local: "_Local") -> str:
    if not alarm.evidence:
        return ""
    metric = None if profile is None or alarm.metric is None else profile.metrics.get(alarm.metric)
    unit = "1" if metric is None else metric.unit
    spread = _spread(alarm.evidence, MAX_POINTS)
    stamp = local.hour if spread[-1][0] - spread[0][0] < 20 * 3600 else local.day_and_hour
    return " · ".join(f"{stamp(ts_s)} {number(value)}{display_unit(unit)}" for ts_s, value in spread)


def _spread(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(index * step)] for index in range(most)]


def _product_line(facts: CaseFacts) -> str:
    subject = facts.subject
    parts = [_product(facts.profile).capitalize() if facts.profile else (subject.model or "Unknown model")]
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
        self.zone = zone or UTC
        self._note = "local time" if zone else "UTC"

    def moment(self, epoch_s: float, now_s: float) -> str:
        """Such as ``today at 14:05 local time``, ``on Tuesday 3 March at 14:05 local time``."""
        at = datetime.fromtimestamp(epoch_s, self.zone)
        today = datetime.fromtimestamp(now_s, self.zone)
        days = (today.date() - at.date()).days
        clock = f"{at:%H:%M} {self._note}"
        if days in (0, 1):
            return f"{'yesterday' if days else 'today'} at {clock}"
        year = "" if at.year == today.year else f" {at.year}"
        return f"on {at:%A} {at.day} {at:%B}{year} at {clock}"

    def hour(self, epoch_s: float) -> str:
        """Such as ``14:05``."""
        return f"{datetime.fromtimestamp(epoch_s, self.zone):%H:%M}"

    def day_and_hour(self, epoch_s: float) -> str:
        """Such as ``3 Mar 14:05``."""
        at = datetime.fromtimestamp(epoch_s, self.zone)
        return f"{at.day} {at:%b} {at:%H:%M}"


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


def display_unit(code: str) -> str:
    """A UCUM code as people write it, with the space that stands before it; annotations lose their braces."""
    shown = _UNITS.get(code, code.strip("{}"))
    return shown if shown in _NO_SPACE or not shown else f" {shown}"


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _product(profile: Profile | None) -> str:
    return profile.title[:1].lower() + profile.title[1:] if profile and profile.title else "product"


def _words(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def _without_on(moment: str) -> str:
    return moment.removeprefix("on ")


def _sentence(text: str) -> str:
    stripped = _clip(text.strip())
    return stripped if stripped.endswith((".", "!", "?", "…")) else f"{stripped}."


def _clip(text: str, most: int = MAX_TEXT) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
