"""Charts as SVG, drawn here: they live with the strict content policy, and say in words what they show."""

import math
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from devices.clock import to_datetime
from gateway.console.show import DAY_S, HOUR_S, Shown
from gateway.pictures.series import thin_out

Floats = npt.NDArray[np.float64]

WIDTH: Final = 880.0
HEIGHT: Final = 270.0
LEFT: Final = 72.0
RIGHT: Final = 14.0
TOP: Final = 26.0
BOTTOM: Final = 30.0
MOST_POINTS: Final = 1400
MOST_ROWS: Final = 40
DOTS_UP_TO: Final = 60
LEVELS: Final = (1e-9, 0.02, 0.1, 0.3)
"""Shares at which a cell of a map gets its next colour."""
STEPS_S: Final = (900.0, 3600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0, 604_800.0, 1_209_600.0, 2_592_000.0)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time that is coloured, or a band of values within it."""

    began_s: float
    ended_s: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a moment."""

    kind: str  # raised, cleared, opened, command, resolved …
    at_s: float
    name: str


@dataclass(frozen=True, slots=True)
class Series:
    """Values over time, what was expected of them, and what came of it."""

    key: str
    title: str
    unit: str
    ts: Floats
    values: Floats
    alarms: Sequence[Span] = ()
    bands: Sequence[Span] = ()  # with low, high or both
    marks: Sequence[Mark] = ()
    is_daily: bool = False  # sums of days, drawn as bars


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart as a page shows it."""

    key: str
    title: str
    description: str
    svg: Markup
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str | Markup]] = ()
    legend: Sequence[tuple[str, str]] = ()
    kind: str = "lines"


@dataclass(frozen=True, slots=True)
class _Frame:
    """From moments and values to places on the drawing."""

    first_s: float
    last_s: float
    low: float
    high: float
    parts: list[str] = field(default_factory=list[str])

    def x(self, at_s: float) -> float:
        share = (at_s - self.first_s) / (self.last_s - self.first_s)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - TOP - BOTTOM)

    def box(self, kind: str, span: tuple[float, float], values: tuple[float, float]) -> None:
        x, y = self.x(span[0]), self.y(values[1])
        width, height = max(self.x(span[1]) - x, 1.5), max(self.y(values[0]) - y, 1.0)
        self.parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>')

    def line(self, kind: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.parts.append(
            f'<line class="{kind}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'
        )

    def text(self, place: tuple[float, float], text: str, anchor: str = "start", kind: str = "") -> None:
        told = f' class="{kind}"' if kind else ""
        self.parts.append(
            f'<text{told} x="{place[0]:.1f}" y="{place[1]:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
        )


def draw_series(series: Series, shown: Shown) -> Drawn:
    """A chart of one series."""
    keep = np.isfinite(series.values)
    ts, values = thin_out(series.ts[keep], series.values[keep], MOST_POINTS)
    frame = _frame(series, ts, values)
    for alarm in series.alarms:
        frame.box("alarm", (alarm.began_s, alarm.ended_s), (frame.low, frame.high))
        frame.line("edge", (frame.x(alarm.began_s), TOP), (frame.x(alarm.began_s), HEIGHT - BOTTOM))
    _axes(frame, shown, series.unit)
    _bands(frame, series.bands)
    if series.is_daily:
        _bars(frame, series, ts, values)
    else:
        _line(frame, ts, values)
    _marks(frame, series.marks)
    description = _describe(series, ts, values, shown)
    return Drawn(
        key=series.key,
        title=series.title,
        description=description,
        svg=_svg(series.key, series.title, description, frame.parts, HEIGHT),
        columns=(shown.words.say("when"), series.unit or shown.words.say("value")),
        rows=_rows(ts, values, shown),
        legend=_legend(series, shown),
    )


FARTHEST: Final = 1e300
"""What is farther from zero is drawn there: a broken device can send what no two of which can be subtracted."""


def _frame(series: Series, ts: Floats, values: Floats) -> _Frame:
    moments = [*ts[:1].tolist(), *ts[-1:].tolist(), *(mark.at_s for mark in series.marks)]
    moments += [at for span in (*series.alarms, *series.bands) for at in (span.began_s, span.ended_s)]
    levels = values.tolist() + [each for band in series.bands for each in (band.low, band.high) if each is not None]
    if series.is_daily:
        levels.append(0.0)
        moments += [max(moments, default=0.0) + DAY_S]
    first_s, last_s = min(moments, default=0.0), max(moments, default=1.0)
    low, high = (min(max(each, -FARTHEST), FARTHEST) for each in (min(levels, default=0.0), max(levels, default=1.0)))
    room = (high - low) * 0.08 or max(abs(high) * 0.1, 1.0)
    floor = low if low == 0 else low - room
    return _Frame(first_s, last_s if last_s > first_s else first_s + HOUR_S, floor, high + room)


def _bands(frame: _Frame, bands: Sequence[Span]) -> None:
    for band in bands:
        if band.low is not None and band.high is not None:
            frame.box("band", (band.began_s, band.ended_s), (band.low, band.high))
        elif (limit := band.high if band.low is None else band.low) is not None:
            y = frame.y(limit)
            frame.line("limit", (frame.x(band.began_s), y), (frame.x(band.ended_s), y))


def _axes(frame: _Frame, shown: Shown, unit: str) -> None:
    for level in ticks(frame.low, frame.high):
        y = frame.y(level)
        frame.line("axis", (LEFT, y), (WIDTH - RIGHT, y))
        frame.text((LEFT - 8, y + 4), shown.number(level), "end")
    if unit:
        frame.text((6, 14), unit)
    for at_s, name in time_ticks(frame.first_s, frame.last_s, shown):
        frame.text((frame.x(at_s), HEIGHT - 10), name, "middle")


def _line(frame: _Frame, ts: Floats, values: Floats) -> None:
    if len(ts) == 0:
        return
    steps_s = np.diff(ts)
    steps_s = steps_s[steps_s > 0]  # both ends of one step stand at one moment
    usual_s = float(np.median(steps_s)) if len(steps_s) > 1 else math.inf
    apart_s = max(6 * usual_s, HOUR_S)
    pieces: list[str] = []
    before_s = math.nan
    for at_s, value in zip(ts.tolist(), values.tolist(), strict=True):
        pieces.append(f"{'L' if at_s - before_s <= apart_s else 'M'}{frame.x(at_s):.1f} {frame.y(value):.1f}")
        before_s = at_s
    frame.parts.append(f'<path class="line" d="{"".join(pieces)}"/>')
    if len(ts) <= DOTS_UP_TO:
        frame.parts.extend(
            f'<circle class="dot" cx="{frame.x(at_s):.1f}" cy="{frame.y(value):.1f}" r="2.4"/>'
            for at_s, value in zip(ts.tolist(), values.tolist(), strict=True)
        )


def _bars(frame: _Frame, series: Series, ts: Floats, values: Floats) -> None:
    for at_s, value in zip(ts.tolist(), values.tolist(), strict=True):
        is_within = any(alarm.began_s <= at_s + DAY_S and at_s < alarm.ended_s for alarm in series.alarms)
        frame.box("bar low" if is_within else "bar", (at_s + 0.12 * DAY_S, at_s + 0.88 * DAY_S), (0.0, value))


def _marks(frame: _Frame, marks: Sequence[Mark]) -> None:
    taken: list[float] = []
    for mark in sorted(marks, key=lambda each: each.at_s):
        x = frame.x(mark.at_s)
        frame.line(f"mark {mark.kind}", (x, TOP), (x, HEIGHT - BOTTOM))
        frame.parts.append(f'<path class="sign {mark.kind}" d="M{x - 4.5:.1f} {TOP - 7:.1f}h9l-4.5 7z"/>')
        width = 6.4 * len(mark.name)
        if not taken or x - width / 2 > taken[-1]:
            anchor = "end" if x + width / 2 > WIDTH - RIGHT else "start" if x - width / 2 < LEFT else "middle"
            frame.text((x, TOP - 11), mark.name, anchor)
            taken.append(x + (width if anchor == "start" else width / 2) + 6)


def _describe(series: Series, ts: Floats, values: Floats, shown: Shown) -> str:
    say = shown.words.say
    if len(ts) == 0:
        return say("No values are stored for this stretch of time.")
    told = [
        say(
            "{n} values from {first} to {last}; least {low}, greatest {high} {unit}.",
            n=shown.number(int(np.isfinite(series.values).sum())),
            first=_plain(float(ts[0])),
            last=_plain(float(ts[-1])),
            low=shown.number(float(values.min())),
            high=shown.number(float(values.max())),
            unit=series.unit,
        )
    ]
    told += [
        say("Alarm from {began} to {ended}.", began=_plain(a.began_s), ended=_plain(a.ended_s)) for a in series.alarms
    ]
    told += [f"{mark.name}: {_plain(mark.at_s)}." for mark in series.marks]
    return " ".join(told)


def _plain(at_s: float) -> str:
    return f"{to_datetime(at_s):%Y-%m-%d %H:%M} UTC"


def _rows(ts: Floats, values: Floats, shown: Shown) -> list[tuple[str | Markup, str]]:
    places = np.unique(np.linspace(0, len(ts) - 1, min(len(ts), MOST_ROWS)).astype(np.int64)) if len(ts) else ()
    return [(shown.when(float(ts[place])), shown.number(float(values[place]))) for place in places]


def _legend(series: Series, shown: Shown) -> list[tuple[str, str]]:
    say = shown.words.say
    legend = [("series", say("sum of a day") if series.is_daily else say("measured"))]
    if any(band.low is not None and band.high is not None for band in series.bands):
        legend.append(("band", say("expected")))
    if any((band.low is None) != (band.high is None) for band in series.bands):
        legend.append(("limit", say("usual in a day") if series.is_daily else say("limit")))
    if series.alarms:
        legend.append(("alarm", say("alarm")))
    return legend


_SVG: Final = Markup(
    '<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-labelledby="title-{key} desc-{key}">'
    '<title id="title-{key}">{title}</title><desc id="desc-{key}">{description}</desc>{body}</svg>'
)


def _svg(key: str, title: str, description: str, parts: Sequence[str], height: float) -> Markup:
    body = Markup("".join(parts))  # noqa: S704 - every text in it was escaped where it was put in
    return _SVG.format(width=WIDTH, height=height, key=key, title=title, description=description, body=body)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values between two, at most so many."""
    rough = (high - low) / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step)
    return [round(number * step, 12) for number in range(first, math.floor(high / step) + 1)]


def time_ticks(first_s: float, last_s: float, shown: Shown, most: int = 9) -> list[tuple[float, str]]:
    """Round moments between two, with their names: days, or hours where there are few days."""
    step_s = next((step for step in STEPS_S if (last_s - first_s) / step <= most), STEPS_S[-1] * 4)
    start = math.ceil(first_s / step_s) * step_s
    found: list[tuple[float, str]] = []
    for number in range(int((last_s - start) // step_s) + 1):
        at_s = start + number * step_s
        moment = datetime.fromtimestamp(at_s, UTC)
        is_day = step_s >= DAY_S or (moment.hour, moment.minute) == (0, 0)
        found.append((at_s, shown.day(moment) if is_day else f"{moment:%H:%M}"))
    return found


def draw_bars(key: str, title: str, counts: Mapping[str, float], shown: Shown) -> Drawn:
    """Lying bars, one for each name."""
    most = max(counts.values(), default=0.0) or 1.0
    parts: list[str] = []
    for place, (name, count) in enumerate(counts.items()):
        y = 8 + place * 28.0
        width = (WIDTH - 330) * count / most
        parts.append(f'<text x="240" y="{y + 15:.0f}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="bar" x="250" y="{y:.0f}" width="{width:.1f}" height="20" rx="3"/>')
        parts.append(f'<text class="told" x="{256 + width:.1f}" y="{y + 15:.0f}">{escape(shown.number(count))}</text>')
    description = "; ".join(f"{name}: {shown.number(count)}" for name, count in counts.items())
    svg = _svg(key, title, description, parts, 16 + 28.0 * len(counts))
    return Drawn(key, title, description, svg, kind="bars")


def draw_map(
    key: str, title: str, days: Sequence[datetime], cells: Mapping[str, Sequence[float | None]], shown: Shown
) -> Drawn:
    """Shares from 0 to 1 as colours: a row for each name, a column for each day; None where nothing is known.

    Names stand above their rows, so that the whole of it fits a narrow screen and no name is scrolled away.
    """
    size, row, top = WIDTH / max(len(days), 1), 62.0, 36.0
    parts: list[str] = []
    for place, (name, shares) in enumerate(cells.items()):
        y = top + place * row
        parts.append(f'<text x="0" y="{y + 26:.0f}">{escape(name[:48])}</text>')
        for column, share in enumerate(shares):
            level = bisect(LEVELS, share or 0.0)
            told = f"{name}, {days[column]:%Y-%m-%d}: {shown.percent(share)}"
            box = f'x="{column * size:.1f}" y="{y + 34:.0f}" width="{size - 2:.1f}" height="22"'
            parts.append(f'<rect class="cell{level}" {box}><title>{escape(told)}</title></rect>')
    # Counted from the newest, whose name ends where its column does; the oldest that would not fit have none.
    parts += [
        f'<text x="{(column + 1) * size:.1f}" y="24" text-anchor="end">{escape(shown.day(days[column]))}</text>'
        for column in range(len(days) - 1, -1, -math.ceil(len(days) / 6))
        if column + 1 >= len(days) / 8
    ]
    columns = [shown.words.say("day"), *cells]
    rows = [
        (f"{day:%Y-%m-%d}", *(shown.percent(shares[column]) for shares in cells.values()))
        for column, day in enumerate(days)
    ]
    svg = _svg(key, title, title, parts, top + row * len(cells))
    return Drawn(key, title, title, svg, columns, rows, kind="map")
