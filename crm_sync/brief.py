"""The brief: what an agent reads before the call, in plain words and without any personal data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from crm_sync.model import AlarmState, CaseAlarm, Resolution, Subject
from crm_sync.playbooks.model import TriedFix
from crm_sync.wording.wording import DAY_S, Local, Wording, display_unit
from devices.profiles.model import EVENT_SERIES, Playbook, Profile

MAX_ALARMS: Final = 6
MAX_POINTS: Final = 6
MAX_TEXT: Final = 1200  # characters of one section, so that the whole message stays well below 20 kB
MAX_PHRASE: Final = 300

_ONE_DAYS_SPAN_S: Final = 20 * 3600
_WARRANTY_SOON_DAYS: Final = 60


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What a brief is written from; profile and playbook in the language that it is written in."""

    subject: Subject
    profile: Profile | None
    playbook: Playbook
    alarms: Sequence[CaseAlarm]  # oldest first, at least one
    now_s: float
    wording: Wording
    resolved_before_s: float | None = None  # a relapse: when it had been resolved
    tried: Sequence[TriedFix] = ()  # what the product was told to do by itself


def generic_playbook(profile: Profile | None, problem: str, kind: str, wording: Wording) -> Playbook:
    """A playbook for a problem that the profile says nothing about."""
    advice = wording.words.advice
    return Playbook(
        problem=problem,
        title=wording.title(kind, _product(profile, wording), _words(problem)),
        what_to_say=advice.what_to_say,
        what_not_to_do=advice.what_not_to_do,
    )


def write_brief(facts: CaseFacts) -> str:
    """The whole text: what happened, why, what to say, what not to do, and which product it is."""
    headings, playbook = facts.wording.words.headings, facts.playbook
    sections = (
        (headings.what_happened, _what_happened(facts)),
        (headings.likely_cause, playbook.likely_cause),
        (headings.what_was_tried, _what_was_tried(facts)),
        (headings.what_to_say, playbook.what_to_say),
        (headings.what_not_to_do, playbook.what_not_to_do),
        (headings.product, _product_line(facts)),
    )
    return "\n\n".join(f"{heading}\n{_clip(text.strip())}" for heading, text in sections if text.strip())


def _what_was_tried(facts: CaseFacts) -> str:
    words = facts.wording.words.tried
    return "\n".join(words.get(fix.came_to, words["other"]).format(command=_words(fix.command)) for fix in facts.tried)


def write_ending(resolution: Resolution, subject: Subject, at_s: float, now_s: float, wording: Wording) -> str:
    """What remains to be said of a case that ended at `at_s`."""
    return wording.words.endings[resolution].format(moment=Local(wording, subject.time_zone).noted(at_s, now_s))


def _what_happened(facts: CaseFacts) -> str:
    local = Local(facts.wording, facts.subject.time_zone)
    shown = [alarm for alarm in facts.alarms if alarm.state is not AlarmState.RETRACTED][-MAX_ALARMS:]
    signs = [_sign(alarm, facts, local) for alarm in shown]
    lines = signs if len(signs) == 1 else [f"- {sign}" for sign in signs]
    lines += _course(facts, local)
    course = facts.wording.words.course
    left_out = len(facts.alarms) - len(shown)
    if left_out:
        lines.append((course.earlier_one if left_out == 1 else course.earlier_some).format(count=left_out))
    return "\n".join(lines)


def _sign(alarm: CaseAlarm, facts: CaseFacts, local: Local) -> str:
    course = facts.wording.words.course
    pattern = course.began_and_over if alarm.state is AlarmState.CLEARED else course.began
    told = pattern.format(sign=_told(alarm, facts), moment=local.noted(alarm.started_at_s, facts.now_s))
    points = _points(alarm, facts, local)
    return f"{told}\n{course.readings.format(points=points)}" if points else told


def _told(alarm: CaseAlarm, facts: CaseFacts) -> str:
    wording = facts.wording
    pattern = wording.words.signs.get(alarm.kind)
    if pattern is None or not alarm.observed or not alarm.expected:
        return _sentence(alarm.text)
    return pattern.format(
        name=_capital(_name(alarm, facts.profile)),
        observed=_clip(wording.phrase(alarm.observed), MAX_PHRASE),
        expected=_clip(wording.phrase(alarm.expected), MAX_PHRASE),
        span=wording.span(alarm.window_s),
    )


def _name(alarm: CaseAlarm, profile: Profile | None) -> str:
    """What an alarm is about, as people call it."""
    if alarm.metric is not None and not alarm.metric.startswith(EVENT_SERIES):
        metric = None if profile is None else profile.metrics.get(alarm.metric)
        return (metric.title if metric else "") or _words(alarm.metric)
    titles = {} if profile is None else {watch.name: watch.title for watch in profile.watches}
    what = alarm.watch if alarm.metric is None else alarm.metric.removeprefix(EVENT_SERIES)
    return titles.get(alarm.watch) or _words(what)


def _course(facts: CaseFacts, local: Local) -> list[str]:
    """What became of it since: a relapse, or silence."""
    course = facts.wording.words.course
    lines: list[str] = []
    if facts.resolved_before_s is not None:
        lines.append(course.relapse.format(moment=local.moment(facts.resolved_before_s, facts.now_s)))
    burning = [alarm for alarm in facts.alarms if not alarm.state.is_over]
    if burning and all(alarm.state is AlarmState.UNKNOWN for alarm in burning):
        since = local.moment(max(alarm.decided_ts_s for alarm in burning), facts.now_s)
        lines.append(course.silent.format(moment=since))
    return lines


def _points(alarm: CaseAlarm, facts: CaseFacts, local: Local) -> str:
    if not alarm.evidence:
        return ""
    metric = None if facts.profile is None or alarm.metric is None else facts.profile.metrics.get(alarm.metric)
    unit = display_unit("1" if metric is None else metric.unit)
    some = spread(alarm.evidence, MAX_POINTS)
    if all(ts_s % DAY_S == 0 for ts_s, _ in some):
        stamp = local.utc_day  # sums of days
    else:
        stamp = local.hour if some[-1][0] - some[0][0] < _ONE_DAYS_SPAN_S else local.day_and_hour
    return ", ".join(f"{facts.wording.number(value)}{unit} ({stamp(ts_s)})" for ts_s, value in some)


def spread(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most `most` points, evenly chosen, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(index * step)] for index in range(most)]


def _product_line(facts: CaseFacts) -> str:
    subject, wording = facts.subject, facts.wording
    said = wording.words.product
    named = _capital(_product(facts.profile, wording)) if facts.profile else (subject.model or said.unknown_model)
    parts = [named, said.serial.format(serial=subject.serial) if subject.serial else said.no_serial]
    if subject.firmware:
        parts.append(said.firmware.format(firmware=subject.firmware))
    today = datetime.fromtimestamp(facts.now_s, Local(wording, subject.time_zone).zone).date()
    warranty = _warranty(subject.warranty_until, today, wording)
    return f"{', '.join(parts)}. {warranty} {said.device.format(device=subject.device_id)}"


def _warranty(until: date | None, today: date, wording: Wording) -> str:
    said = wording.words.product
    if until is None:
        return said.no_warranty
    left, day = (until - today).days, wording.day(until, "whole")
    if left < 0:
        return said.out_of_warranty.format(day=day)
    if left > _WARRANTY_SOON_DAYS:
        return said.in_warranty.format(day=day)
    pattern = {0: said.ends_today, 1: said.ends_tomorrow}.get(left, said.ends_soon)
    return pattern.format(day=day, days=left)


def _product(profile: Profile | None, wording: Wording) -> str:
    if profile is None or profile.automatic:
        return wording.words.product.unnamed
    return profile.title[:1].lower() + profile.title[1:]


def _words(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(text: str) -> str:
    stripped = _clip(text.strip())
    return stripped if stripped.endswith((".", "!", "?", "…")) else f"{stripped}."


def _clip(text: str, most: int = MAX_TEXT) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
