"""One series with what was expected of it, and the alarms that were told of it."""

import math
import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from gateway.detect.lines import say_ts
from gateway.pictures.canvas import ALARM, EXPECTED, FAINT, LINE, OTHER, SOFT, UNKNOWN, Axes

MOST_POINTS: Final = 6000
"""Of a series that are kept; more are thinned to the least and the greatest of each stretch."""
MOST_WORDS: Final = 6
DAY_S: Final = 86_400.0
NUMBER: Final = r"(-?[\d,]+(?:\.\d+)?(?:e[+-]?\d+)?)"
BETWEEN: Final = re.compile(rf"^{NUMBER}(?: [^ ]+)? to {NUMBER}")
ABOUT: Final = re.compile(rf"^about {NUMBER}(?: [^ ]+)? in ")
A_DAY: Final = re.compile(rf"about {NUMBER}(?: [^ ]+)? a day$")
ONE_IN: Final = re.compile(r"^about one in ([\d.]+) (hours?|days?|weeks?)$")
HOURS: Final = {"hour": 1.0, "day": 24.0, "week": 168.0}
LIMIT: Final = re.compile(rf"^(at most|at least) {NUMBER}")
COLOURS: Final = {"raised": ALARM, "unknown": UNKNOWN, "cleared": EXPECTED, "retracted": UNKNOWN}
SIGNS: Final = {"raised": "^", "unknown": "s", "cleared": "o", "retracted": "X"}


class Points:
    """Values over time, in bounded memory."""

    def __init__(self) -> None:
        self._ts = array("d")
        self._values = array("d")

    def __len__(self) -> int:
        return len(self._ts)

    def add(self, ts_s: float, value: float) -> None:
        """Keep a value; NaN is none."""
        if math.isfinite(value):
            self._ts.append(ts_s)
            self._values.append(value)
            if len(self._ts) >= 2 * MOST_POINTS:
                ts, values = thin_out(*self.columns(), MOST_POINTS)
                self._ts, self._values = array("d", ts.tolist()), array("d", values.tolist())

    def columns(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Times and values, in the order of time."""
        ts, values = np.array(self._ts, np.float64), np.array(self._values, np.float64)
        order = np.argsort(ts, kind="stable")
        return ts[order], values[order]


def thin_out(
    ts: npt.NDArray[np.float64], values: npt.NDArray[np.float64], most: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """At most so many points: of each stretch the least and the greatest, so that no spike is lost."""
    if len(ts) <= most:
        return ts, values
    kept: list[int] = []
    edges = np.linspace(0, len(ts), most // 2 + 1).astype(np.int64)
    for first, end in pairwise(edges.tolist()):
        if end > first:
            part = values[first:end]
            kept += sorted({first + int(part.argmin()), first + int(part.argmax())})
    return ts[kept], values[kept]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was told of an alarm."""

    event: str
    ts_s: float
    text: str


@dataclass(slots=True)
class AlarmSpan:
    """An alarm on a series; `began_s` to `ended_s` in device time."""

    watch: str
    began_s: float
    ended_s: float | None = None
    expected: str = ""  # in words, of which a range or a limit is drawn
    looks_back_to_s: float | None = None  # the band is drawn from here
    marks: list[Mark] = field(default_factory=list[Mark])
    per_day: dict[float, float] = field(default_factory=dict[float, float])  # sums of days that speak for it
    usual_per_day: float | None = None
    colour: str = ALARM
    name: str = ""  # in the legend


@dataclass(frozen=True, slots=True)
class SeriesPanel:
    """A series, and its alarms."""

    title: str
    unit: str
    points: Points
    alarms: Sequence[AlarmSpan]
    until_s: float = -math.inf  # how far is known, where values end before: a silence goes on

    @property
    def words(self) -> Sequence[str]:
        """What was told, the first and the last of it."""
        told = sorted((mark for alarm in self.alarms for mark in _telling(alarm.marks)), key=lambda mark: mark.ts_s)
        lines = [f"{say_ts(mark.ts_s)[:16].replace('T', ' ')}  {mark.event}  {mark.text}" for mark in told if mark.text]
        if len(lines) <= MOST_WORDS:
            return lines
        return [*lines[: MOST_WORDS - 2], f"… {len(lines) - MOST_WORDS + 1} more", lines[-1]]

    def draw(self, axes: Axes) -> None:
        """Draw the values, and over them the alarms."""
        ts, values = self.points.columns()
        ts, values = thin_out(ts, values, MOST_POINTS)
        axes.set_title(self.title)
        if self.unit:
            axes.set_ylabel(self.unit)
        end_s = max(
            [self.until_s, *ts[-1:].tolist(), *(mark.ts_s for alarm in self.alarms for mark in alarm.marks)],
            default=0.0,
        )
        style: dict[str, Any] = {"marker": ".", "markersize": 3} if len(ts) <= MOST_POINTS // 20 else {}
        axes.plot(_dates(ts), values, color=LINE, linewidth=0.8, label="measured", zorder=3, **style)
        for alarm in self.alarms:
            self._draw_alarm(axes, alarm, ts, values, end_s)
        _draw_days(axes, self.alarms)
        format_days(axes)
        _legend(axes)

    def _draw_alarm(
        self,
        axes: Axes,
        alarm: AlarmSpan,
        ts: npt.NDArray[np.float64],
        values: npt.NDArray[np.float64],
        end_s: float,
    ) -> None:
        ended_s = end_s if alarm.ended_s is None else alarm.ended_s
        began, ended = _dates([alarm.began_s, max(ended_s, alarm.began_s)])
        label = alarm.name or "alarm"
        axes.axvspan(began, ended, color=alarm.colour, alpha=0.12, linewidth=0, label=label, zorder=1)
        axes.axvline(began, color=alarm.colour, alpha=0.35, linewidth=0.8, zorder=1)  # a short one is seen, too
        _draw_expected(axes, alarm, ended_s)
        for mark in alarm.marks:
            if mark.event in SIGNS:
                height = float(np.interp(mark.ts_s, ts, values)) if len(ts) else 0.0
                axes.plot(
                    _dates([mark.ts_s]),
                    [height],
                    SIGNS[mark.event],
                    color=COLOURS[mark.event],
                    markersize=7,
                    markeredgecolor="white",
                    label=mark.event,
                    zorder=5,
                )


def _telling(marks: Sequence[Mark]) -> list[Mark]:
    """Without updates that another one followed."""
    events = [*(mark.event for mark in marks[1:]), ""]
    return [mark for mark, following in zip(marks, events, strict=True) if (mark.event, following) != ("updated",) * 2]


def expected_range(words: str) -> tuple[float | None, float | None]:
    """The least and the greatest that was expected, as far as the words name them."""
    if found := BETWEEN.match(words):
        return _number(found[1]), _number(found[2])
    if found := LIMIT.match(words):
        limit = _number(found[2])
        return (None, limit) if found[1] == "at most" else (limit, None)
    return None, None


def usual_per_day(words: str, window_s: float) -> float | None:
    """What a day usually comes to, where the words tell what a window or a day does."""
    if found := A_DAY.search(words):
        return _number(found[1])
    if found := ONE_IN.match(words):
        return 24.0 / (float(found[1]) * HOURS[found[2].removesuffix("s")])
    found = ABOUT.match(words)
    return _number(found[1]) / (window_s / DAY_S) if found and window_s > 0 else None


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _draw_expected(axes: Axes, alarm: AlarmSpan, ended_s: float) -> None:
    low, high = expected_range(alarm.expected)
    began_s = alarm.began_s if alarm.looks_back_to_s is None else min(alarm.looks_back_to_s, alarm.began_s)
    dates = _dates([began_s, max(ended_s, began_s)])
    if low is not None and high is not None:
        axes.fill_between(dates, low, high, color=EXPECTED, alpha=0.22, linewidth=0, label="expected", zorder=2)
    elif (limit := high if low is None else low) is not None:
        axes.hlines(
            limit, dates[0], dates[1], color=EXPECTED, linestyle="dashed", linewidth=1.2, label="limit", zorder=2
        )


def _draw_days(axes: Axes, alarms: Sequence[AlarmSpan]) -> None:
    """The sums of days from which usage was judged, on a scale of their own."""
    days: dict[float, float] = {}
    for alarm in alarms:
        days |= alarm.per_day
    if not days:
        return
    beside = axes.twinx()
    beside.set_ylabel("per day", color=OTHER)
    beside.tick_params(axis="y", colors=OTHER)
    beside.grid(visible=False)
    ordered = sorted(days)
    middles = _dates([day_s + DAY_S / 2 for day_s in ordered])
    beside.plot(middles, [days[day_s] for day_s in ordered], "_", color=OTHER, markersize=9, markeredgewidth=2)
    beside.plot([], [], color=OTHER, label="per day")
    axes.plot([], [], color=OTHER, linewidth=2, label="sum of a day")
    for alarm in alarms:
        if alarm.usual_per_day is not None:
            ends = _dates([min(days), max(days) + DAY_S])
            beside.hlines(alarm.usual_per_day, *ends, color=EXPECTED, linestyle="dashed", linewidth=1.2)
            axes.plot([], [], color=EXPECTED, linestyle="dashed", linewidth=1.2, label="usual sum of a day")
    beside.set_ylim(bottom=0)


def format_days(axes: Axes) -> None:
    """Dates that are as short as can be."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415 - see canvas

    locator = cast("Any", AutoDateLocator)(minticks=4, maxticks=10)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(cast("Any", ConciseDateFormatter)(locator))
    axes.margins(x=0.01)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines["left"].set_color(FAINT)


def _legend(axes: Axes) -> None:
    """Each name once."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(
        once.values(), once.keys(), loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=8, fontsize=8, labelcolor=SOFT
    )


def _dates(ts_s: Iterable[float]) -> npt.NDArray[np.datetime64]:
    micros = np.round(np.fromiter(ts_s, np.float64) * 1e6)
    return micros.astype(np.int64).astype("datetime64[us]")
