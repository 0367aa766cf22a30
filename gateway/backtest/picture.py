"""A backtest as a picture: alarms and cases day by day, and a few series on which the difference is to be seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.backtest import summary
from gateway.backtest.compare import Difference, compare
from gateway.backtest.outcomes import Alarm
from gateway.backtest.queries import Connection, read_series
from gateway.backtest.run import Report
from gateway.detect.lines import say_ts
from gateway.pictures.canvas import ALARM, LINE, OTHER, Panel, Sheet, save
from gateway.pictures.days import DaysPanel
from gateway.pictures.series import DAY_S, AlarmSpan, Mark, Points, SeriesPanel
from gateway.store.history import TimeBase
from gateway.store.rows import ReadingTable
from gateway.store.tables import read_tables

EXAMPLES: Final = 3
AROUND: Final = 2.0
"""So many times its own length is drawn before and after an alarm, a day at least and a month at most."""
MOST_ROWS: Final = 100_000


@dataclass(frozen=True, slots=True)
class _Example:
    """An alarm that makes the difference: on which side it stands, and its like on the other where it has one."""

    words: str
    alarms: Sequence[tuple[str, Alarm]]

    @property
    def first(self) -> Alarm:
        """By which the series is chosen."""
        return self.alarms[0][1]


async def draw(conn: Connection, report: Report, says: Sequence[str], path: Path) -> None:
    """Save the picture. Raises CareloopError."""
    tables = await read_tables(conn)
    panels: list[Panel] = list(_timelines(report))
    for example in _examples(report):
        panel = await _series_of(conn, tables, example, report.wanted.until_us / 1e6)
        if panel is not None:
            panels.append(panel)
    wanted = report.wanted
    since, until = (say_ts(at_us / 1e6)[:10] for at_us in (wanted.since_us, wanted.until_us))
    title = f"Backtest, {since} to {until}"
    save(Sheet(title, "; ".join(says) or "the watches as they are installed", panels), path)


def _timelines(report: Report) -> list[DaysPanel]:
    wanted = report.wanted
    span = wanted.since_us / 1e6, wanted.until_us / 1e6 - 1.0
    by_device_time = wanted.base is TimeBase.DEVICE
    sides = summary.columns(report)
    alarms = {
        name: [alarm.started_at_s if by_device_time else alarm.raised_at_s for alarm in outcome.alarms]
        for name, outcome in sides
    }
    cases = {name: [case.opened_at_s for case in outcome.opened] for name, outcome in sides}
    return [DaysPanel("Alarms raised", span, alarms), DaysPanel("Cases opened", span, cases)]


def _examples(report: Report) -> list[_Example]:
    """What the proposal adds and what it takes away; without one, what would be different from what happened."""
    if report.proposed is None:
        found: Difference[Alarm] = compare(report.happened, report.installed).alarms
        old, new = "happened", "as installed"
    else:
        found = compare(report.installed, report.proposed).alarms
        old, new = "as installed", "as proposed"
    added = [_Example(f"only {new}", [(new, alarm)]) for alarm in found.new]
    gone = [_Example(f"only {'what happened' if old == 'happened' else old}", [(old, alarm)]) for alarm in found.gone]
    both = [_Example("on both sides", [(old, before), (new, after)]) for before, after in found.same]
    mixed = [each for pair in zip(added, gone, strict=False) for each in pair]
    rest = [*added[len(gone) :], *gone[len(added) :]]
    return _distinct([*mixed, *rest, *both])[:EXAMPLES]


def _distinct(examples: Sequence[_Example]) -> list[_Example]:
    """One of each device and watch."""
    return list({(each.first.device_id, each.first.watch): each for each in reversed(examples)}.values())[::-1]


COLOURS: Final = {"happened": ALARM, "as installed": LINE, "as proposed": OTHER}


async def _series_of(
    conn: Connection, tables: Sequence[ReadingTable], example: _Example, until_s: float
) -> SeriesPanel | None:
    """The readings around an example; None where there are none any more."""
    alarm = example.first
    began_s = min(each.started_at_s for _, each in example.alarms)
    ended_s = max(each.ended_at_s or each.started_at_s + DAY_S for _, each in example.alarms)
    around_s = min(max(AROUND * (ended_s - began_s), DAY_S), 30 * DAY_S)
    span = began_s - around_s, ended_s + around_s
    for table in tables:
        for metric in [alarm.metric] if alarm.metric is not None else table.metrics:
            column = dict(zip(table.metrics, table.columns, strict=True)).get(metric)
            values = await read_series(conn, table.name, column, alarm.device_id, metric, span, MOST_ROWS)
            if values:
                points = Points()
                for ts_s, value in values:
                    points.add(ts_s, value)
                title = f"{alarm.device_id}   {metric}   ({alarm.watch}, {example.words})"
                alarms = [span_of(name, each) for name, each in example.alarms]
                return SeriesPanel(title, "", points, alarms, min(span[1], until_s))
    return None


def span_of(name: str, alarm: Alarm) -> AlarmSpan:
    """An alarm as it is drawn: shaded since it began, and marked when it was raised and when it was over."""
    end = [] if alarm.ended_at_s is None else [Mark("cleared", alarm.ended_at_s, "")]
    return AlarmSpan(
        watch=alarm.watch,
        began_s=alarm.started_at_s,
        ended_s=alarm.ended_at_s,
        expected=alarm.expected,
        marks=[Mark("raised", alarm.raised_at_s, f"{alarm.watch}, {name}: {alarm.text}"), *end],
        colour=COLOURS[name],
        name=f"alarm {name}",
    )
