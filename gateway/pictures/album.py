"""What `careloop detect --plot` keeps while it reads, and which series it draws in the end."""

import math
from collections.abc import Sequence
from typing import Final

from gateway.detect.lines import Line
from gateway.detect.model import AlarmChange, Kind
from gateway.pictures.canvas import Sheet
from gateway.pictures.series import AlarmSpan, Mark, Points, SeriesPanel, usual_per_day

MOST_SERIES: Final = 300
"""Series whose values are kept; of further ones there is only what their alarms show."""
MOST_PANELS: Final = 8
FEW: Final = 3
"""So many are shown at least, with alarms or without."""
DAILY: Final = frozenset({Kind.USAGE_DROP, Kind.USAGE_SURGE})

_Key = tuple[str, str]  # device, metric


class Album:
    """Values of series as they are read, and the alarms among them."""

    def __init__(self) -> None:
        self._points: dict[_Key, Points] = {}
        self._first_of: dict[str, _Key] = {}  # of each device, the series that its own alarms are drawn on
        self._clock_s = -math.inf
        self._unkept: set[_Key] = set()
        self._alarms: dict[_Key, dict[tuple[str, float], AlarmSpan]] = {}

    def read(self, lines: Sequence[Line]) -> None:
        """Keep the values of lines."""
        for line in lines:
            self._clock_s = max(self._clock_s, line.ts_s)
            for metric, value in line.metrics.items():
                key = (line.device, metric)
                points = self._points.get(key)
                if points is None:
                    self._first_of.setdefault(line.device, key)
                    if len(self._points) >= MOST_SERIES:
                        self._unkept.add(key)
                        continue
                    points = self._points[key] = Points()
                points.add(line.ts_s, value)

    def tell(self, changes: Sequence[AlarmChange]) -> None:
        """Note what was decided."""
        for change in changes:
            own = (change.device_id, change.metric or "")
            key = own if change.metric is not None else self._first_of.get(change.device_id, own)
            of_series = self._alarms.setdefault(key, {})
            alarm = of_series.setdefault(
                (change.watch, change.started_at_s), AlarmSpan(change.watch, change.started_at_s)
            )
            alarm.marks.append(Mark(change.event, change.ts_s, f"{change.watch}: {change.explanation.text}"))
            if change.event in {"cleared", "retracted"}:
                alarm.ended_s = change.ts_s
            elif change.event == "raised":
                alarm.ended_s = None
                alarm.expected = change.explanation.expected
                alarm.looks_back_to_s = min((ts_s for ts_s, _ in change.explanation.evidence), default=None)
            if change.kind in DAILY:
                alarm.per_day.update(change.explanation.evidence[:-1])  # the last day is not over
                alarm.usual_per_day = usual_per_day(change.explanation.expected, change.explanation.window_s)
            if key in self._unkept and key not in self._points:
                self._points[key] = _points_of(change)

    def sheet(self, source: str) -> Sheet:
        """The picture: series with alarms first, those with the most of them before the others."""
        ranked = sorted(self._points, key=lambda key: (-len(self._alarms.get(key, {})), key))
        most = min(MOST_PANELS, max(len(self._alarms), FEW))
        shown = ranked[:most]
        series = len(set(self._points) | self._unkept)
        subtitle = f"{series:,} series, {len(self._alarms):,} with alarms"
        if len(shown) < series:
            subtitle += f"; {len(shown)} shown, those with the most alarms first"
        return Sheet(source, subtitle, [self._panel(key) for key in shown])

    def _panel(self, key: _Key) -> SeriesPanel:
        device, metric = key
        alarms = sorted(self._alarms.get(key, {}).values(), key=lambda alarm: alarm.began_s)
        return SeriesPanel(
            f"{device}   {metric}", "", self._points[key], alarms, self._clock_s if alarms else -math.inf
        )


def _points_of(change: AlarmChange) -> Points:
    points = Points()
    for ts_s, value in change.explanation.evidence:
        points.add(ts_s, value)
    return points
