"""The charts of a case: each signal that its alarms are about, what was expected of it, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Final

import numpy as np

from crm_sync.model import CaseAlarm
from crm_sync.queries import CaseView
from gateway.api.queries import Row, events_of_alarms
from gateway.console.chart import Drawn, Mark, Series, Span, draw_series
from gateway.console.command_queries import CommandRow
from gateway.console.series import Connection, Stretch, count_readings, read_values
from gateway.console.show import DAY_S, Shown
from gateway.pictures.series import expected_range, usual_per_day

MOST_CHARTS: Final = 3
MOST_ALARMS: Final = 12
SHOWN: Final = frozenset({"raised", "unknown", "cleared", "retracted"})
BEFORE_S: Final = 10 * DAY_S
AFTER_S: Final = 2 * DAY_S
MOST_SPAN_S: Final = 120 * DAY_S
DAILY: Final = frozenset({"usage_drop", "usage_surge"})


@dataclass(frozen=True, slots=True)
class Told:
    """Something that was told of an alarm: `raised`, `unknown`, `cleared` or `retracted`."""

    kind: str
    at_s: float
    text: str


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
        row["event"]: Told(row["event"], row["ts"].timestamp(), row["text"]) for row in rows if row["event"] in SHOWN
    }
    seen_at, seen_by = rows[0]["acknowledged_at"], rows[0]["acknowledged_by"]
    return Known(alarm, None if ended is None else ended.timestamp(), tuple(told.values()), seen_at, seen_by)


@dataclass(frozen=True, slots=True)
class Beside:
    """What else a case's charts are made of: the unit of each metric, and the commands to the product."""

    units: Mapping[str, str]
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
        charts.append(draw_series(replace(_with(series, moves), unit=unit), shown))
    return charts


def _signal_of(alarm: CaseAlarm) -> str:
    return "silence" if alarm.kind == "silence" else f"{alarm.metric} {alarm.kind in DAILY}"


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
    if first.kind == "silence":
        ts, values = await count_readings(conn, stretch, DAY_S)
        title = shown.words.say("Readings a day")
        return Series(key, title, shown.words.say("readings"), ts, values, spans, (), marks, is_daily=True)
    title = (first.metric or shown.words.word(first.kind)).replace("_", " ")
    if first.kind in DAILY or first.metric is None:
        return _told(key, title, known, spans, marks)
    ts, values = await read_values(conn, first.metric, stretch)
    if len(ts) == 0:
        return _told(key, title, known, spans, marks)
    return Series(key, title, "", ts, values, spans, _bands(known, until_s), marks)


def _told(key: str, title: str, known: Sequence[Known], spans: Sequence[Span], marks: Sequence[Mark]) -> Series:
    """What the alarms themselves bring as evidence: days, or whatever their detector looked at."""
    points = sorted({at_s: value for each in known for at_s, value in each.alarm.evidence}.items())
    ts, values = (np.array([point[axis] for point in points], np.float64) for axis in (0, 1))
    is_daily = known[0].alarm.kind in DAILY
    bands: list[Span] = []
    usual = usual_per_day(known[0].alarm.expected, known[0].alarm.window_s) if is_daily else None
    if usual is not None and points:
        bands.append(Span(points[0][0], points[-1][0] + DAY_S, high=usual))
    return Series(key, title, "", ts, values, spans, bands, marks, is_daily=is_daily)


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
