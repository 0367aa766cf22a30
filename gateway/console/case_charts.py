"""The charts of a case: each signal that its alarms are about, what was expected of it, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Final

import numpy as np

from crm_sync.model import CaseAlarm
from crm_sync.queries import CaseView
from devices.profiles.model import EVENT_SERIES
from gateway.api.queries import Row, events_of_alarms
from gateway.console.chart import Drawn, Floats, Mark, Series, Span, draw_series
from gateway.console.command_queries import CommandRow
from gateway.console.products import Product
from gateway.console.series import Connection, Stretch, count_events, count_readings, read_values, sum_days
from gateway.console.show import DAY_S, Shown
from gateway.pictures.series import expected_range, usual_per_day

MOST_CHARTS: Final = 3
MOST_ALARMS: Final = 12
SHOWN: Final = frozenset({"raised", "unknown", "cleared", "retracted"})
BEFORE_S: Final = 10 * DAY_S
AFTER_S: Final = 2 * DAY_S
MOST_SPAN_S: Final = 120 * DAY_S
DAYS_BY_THEMSELVES: Final = frozenset({"usage_drop", "usage_surge"})
"""Kinds whose evidence is a value for each day."""
DAILY: Final = DAYS_BY_THEMSELVES | {"silence", "event_burst"}
FEW_DAYS: Final = 3
"""Of fewer days one does not say what is usual."""


@dataclass(frozen=True, slots=True)
class Told:
    """Something that was told of an alarm: `raised`, `unknown`, `cleared` or `retracted`."""

    kind: str
    at_s: float  # device time
    text: str
    known_at: datetime  # the gateway's clock


@dataclass(frozen=True, slots=True)
class Known:
    """An alarm of a case as the gateway knows it, beside what the case knows."""

    alarm: CaseAlarm
    ended_s: float | None
    told: Sequence[Told]
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None


async def look_up(conn: Connection, view: CaseView, tenant_id: str) -> list[Known]:
    """What is known of a case's alarms, of many the first ones."""
    alarms = view.alarms[:MOST_ALARMS]
    rows: dict[str, list[Row]] = {}
    for row in await events_of_alarms(conn, tenant_id, [alarm.alarm_id for alarm in alarms]):
        rows.setdefault(row["alarm_id"], []).append(row)
    return [_known(alarm, rows.get(alarm.alarm_id, ())) for alarm in alarms]


def _known(alarm: CaseAlarm, rows: Sequence[Row]) -> Known:
    if not rows:
        return Known(alarm, None, ())
    ended = rows[0]["ended_at"]
    told = {
        row["event"]: Told(row["event"], row["ts"].timestamp(), row["text"], row["recorded_at"])
        for row in rows
        if row["event"] in SHOWN
    }
    seen_at, seen_by = rows[0]["acknowledged_at"], rows[0]["acknowledged_by"]
    return Known(alarm, None if ended is None else ended.timestamp(), tuple(told.values()), seen_at, seen_by)


@dataclass(frozen=True, slots=True)
class Beside:
    """What else a case's charts are made of: the unit of each metric, its name, and the commands to the product."""

    units: Mapping[str, str]
    product: Product
    commands: Sequence[CommandRow] = ()


async def draw_case(
    conn: Connection, view: CaseView, known: Sequence[Known], more: Beside, shown: Shown
) -> list[Drawn]:
    """At most a few charts, the first alarm's first."""
    moves = [*_moves(view, shown), *_commands(more.commands, shown)]
    groups: dict[str, list[Known]] = {}
    for each in known:
        groups.setdefault(_signal_of(each.alarm), []).append(each)
    charts: list[Drawn] = []
    for number, alarms in enumerate(list(groups.values())[:MOST_CHARTS]):
        series = await _series(conn, view, alarms, f"signal-{number}", shown)
        unit = series.unit or more.units.get(alarms[0].alarm.metric or "", "")
        metric = alarms[0].alarm.metric
        title = more.product.metric(metric) if metric and series.title == _plain(metric) else series.title
        charts.append(draw_series(replace(_with(series, moves), title=title, unit=unit), shown))
    return charts


def _plain(metric: str | None) -> str:
    return (metric or "").replace("_", " ")


def _signal_of(alarm: CaseAlarm) -> str:
    return "silence" if alarm.kind == "silence" else f"{alarm.metric} {_is_daily(alarm)}"


def _moves(view: CaseView, shown: Shown) -> list[Mark]:
    """When the case opened and ended, and when its owner was told something."""
    marks = [
        Mark(move.to_state, move.at.timestamp(), shown.words.word(f"case {move.to_state}"))
        for move in view.transitions
        if move.from_state != move.to_state and move.to_state in {"open", "resolved", "retracted", "expired"}
    ]
    marks += [
        Mark("contacted", step.settled_at.timestamp(), shown.words.word(step.kind))
        for step in view.steps
        if step.settled_at is not None and step.state == "sent"
    ]
    return marks


def _commands(commands: Sequence[CommandRow], shown: Shown) -> list[Mark]:
    """When the product was told to do something, and when it was known whether that had helped."""
    words = shown.words
    marks = [
        Mark("command", (each.reached_at or each.issued_at).timestamp(), each.name.replace("_", " "))
        for each in commands
    ]
    marks += [
        Mark(each.fix_state, each.fix_settled_at.timestamp(), words.word(f"fix {each.fix_state}"))
        for each in commands
        if each.fix_settled_at is not None and each.fix_state in {"worked", "failed"}
    ]
    return marks


def _with(series: Series, moves: Sequence[Mark]) -> Series:
    """A series with the case's own moves on it, as far as they are near what is shown of it."""
    moments = [*series.ts[:1].tolist(), *series.ts[-1:].tolist(), *(each.began_s for each in series.alarms)]
    if not moments:
        return series
    near = [move for move in moves if min(moments) - DAY_S <= move.at_s <= max(moments) + 4 * DAY_S]
    return replace(series, marks=(*series.marks, *near))


async def _series(conn: Connection, view: CaseView, known: Sequence[Known], key: str, shown: Shown) -> Series:
    first = known[0].alarm
    began_s = min(each.alarm.started_at_s for each in known)
    ended_s = max(each.ended_s or max(each.alarm.decided_ts_s, shown.now_s) for each in known)
    until_s = min(ended_s + AFTER_S, max(shown.now_s, ended_s), began_s + MOST_SPAN_S)
    stretch = Stretch(view.case.device_id, began_s - max(BEFORE_S, 2 * min(first.window_s, MOST_SPAN_S)), until_s + 1)
    told = [Mark(one.kind, one.at_s, shown.words.word(f"alarm {one.kind}")) for each in known for one in each.told]
    marks = _unlike(told)
    spans = [Span(each.alarm.started_at_s, each.ended_s or until_s) for each in known]
    title = _plain(first.metric) or shown.words.word(first.kind)
    if _is_daily(first):
        name, unit, (ts, values) = await _days(conn, view, first, stretch, shown)
        series = Series(key, name or title, unit, ts, values, spans, (), marks, is_daily=True)
        return _told(key, title, known, spans, marks) if len(ts) == 0 else _with_usual(series, known)
    if first.metric is None:
        return _told(key, title, known, spans, marks)
    ts, values = await read_values(conn, first.metric, stretch)
    if len(ts) == 0:
        return _told(key, title, known, spans, marks)
    return Series(key, title, "", ts, values, spans, _bands(known, until_s), marks)


def _is_daily(alarm: CaseAlarm) -> bool:
    """Whether an alarm is about days rather than about moments."""
    return alarm.kind in DAILY or alarm.expected.endswith(" a day")


async def _days(
    conn: Connection, view: CaseView, alarm: CaseAlarm, stretch: Stretch, shown: Shown
) -> tuple[str, str, tuple[Floats, Floats]]:
    """A name, a unit, and what each day came to: readings, times of an event, or the sum of a metric."""
    say = shown.words.say
    if alarm.kind == "silence":
        return say("Readings a day"), say("readings"), await count_readings(conn, stretch, DAY_S)
    if alarm.metric is not None and alarm.metric.startswith(EVENT_SERIES):
        code = alarm.metric.removeprefix(EVENT_SERIES)
        name = say("any event") if code == "*" else code.replace("_", " ")
        counted = await count_events(conn, view.case.tenant_id, code, stretch)
        return say("{event}, times a day", event=name), say("times"), counted
    return "", "", await sum_days(conn, alarm.metric or "", stretch)


def _with_usual(series: Series, known: Sequence[Known]) -> Series:
    """With the line of what a day usually comes to: as the alarm says it, else the mean of the days before it."""
    alarm = known[0].alarm
    usual = usual_per_day(alarm.expected, alarm.window_s)
    before = series.values[series.ts + DAY_S <= min(each.alarm.started_at_s for each in known)]
    if usual is None and len(before) >= FEW_DAYS:
        usual = float(before.mean())
    if usual is None:
        return series
    return replace(series, bands=(Span(float(series.ts[0]), float(series.ts[-1]) + DAY_S, high=usual),))


def _told(key: str, title: str, known: Sequence[Known], spans: Sequence[Span], marks: Sequence[Mark]) -> Series:
    """What the alarms themselves bring as evidence: days, or whatever their detector looked at."""
    points = sorted({at_s: value for each in known for at_s, value in each.alarm.evidence}.items())
    ts, values = (np.array([point[axis] for point in points], np.float64) for axis in (0, 1))
    series = Series(key, title, "", ts, values, spans, (), marks, is_daily=known[0].alarm.kind in DAYS_BY_THEMSELVES)
    return _with_usual(series, known) if series.is_daily and points else series


def _bands(known: Sequence[Known], until_s: float) -> list[Span]:
    bands: list[Span] = []
    for each in known:
        low, high = expected_range(each.alarm.expected)
        if low is not None or high is not None:
            since_s = min((at_s for at_s, _ in each.alarm.evidence), default=each.alarm.started_at_s)
            bands.append(Span(min(since_s, each.alarm.started_at_s), each.ended_s or until_s, low, high))
    return bands


def _unlike(marks: Sequence[Mark]) -> list[Mark]:
    """Without those of one kind that stand at nearly the same place."""
    ordered = sorted(marks, key=lambda mark: (mark.kind, mark.at_s))
    kept = ordered[:1]
    kept += [
        after
        for before, after in pairwise(ordered)
        if (after.kind, after.at_s - before.at_s > DAY_S / 4) != (before.kind, False)
    ]
    return kept
