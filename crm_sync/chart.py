"""A case's evidence as a small picture, which travels with its messages: SVG, well below 4 kB."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crm_sync.brief import spread
from crm_sync.model import AlarmState, CaseAlarm, Subject

MEDIA_TYPE: Final = "image/svg+xml"
FILE_NAME: Final = "evidence.svg"
MAX_POINTS: Final = 40
FEWEST: Final = 3
"""Points below which a picture says no more than the words do."""
MAX_CAPTION: Final = 90

_WIDTH, _HEIGHT = 480, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 468, 34, 150
_STYLE: Final = (
    "text{font:11px system-ui,sans-serif;fill:#4b5563}.t{font-size:13px;font-weight:600;fill:#111827}"
    ".l{fill:none;stroke:#2563eb;stroke-width:2}.a{stroke:#dc2626;stroke-dasharray:4 3}"
    ".g{stroke:#d1d5db}.w{fill:#dc2626}"
)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where instants and values lie on the picture."""

    from_s: float
    to_s: float
    low: float
    high: float

    def x(self, ts_s: float) -> float:
        """From the left, in pixels."""
        share = (ts_s - self.from_s) / (self.to_s - self.from_s) if self.to_s > self.from_s else 0.5
        return round(_LEFT + share * (_RIGHT - _LEFT), 1)

    def y(self, value: float) -> float:
        """From the top, in pixels."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(_BOTTOM - share * (_BOTTOM - _TOP), 1)


def chart_of(alarms: Sequence[CaseAlarm]) -> CaseAlarm | None:
    """The alarm whose evidence says most: the gravest that has enough of it, of these the newest."""
    shown = [each for each in alarms if each.state is not AlarmState.RETRACTED and len(each.evidence) >= FEWEST]
    return max(shown, key=lambda each: (each.severity.rank, each.started_at_s), default=None)


def draw_chart(alarm: CaseAlarm, subject: Subject, title: str) -> str:
    """The evidence of an alarm over time, with the moment at which it began."""
    points = spread(alarm.evidence, MAX_POINTS)
    times, values = [ts_s for ts_s, _ in points], [value for _, value in points]
    frame = _Frame(times[0], times[-1], min(values), max(values))
    zone, zone_name = _zone(subject.time_zone)
    line = " ".join(f"{frame.x(ts_s):g},{frame.y(value):g}" for ts_s, value in points)
    began = ""
    if frame.from_s < alarm.started_at_s <= frame.to_s:
        at = frame.x(alarm.started_at_s)
        began = f'<line class="a" x1="{at:g}" y1="{_TOP - 6}" x2="{at:g}" y2="{_BOTTOM}"/>'
    caption, until = escape(_clip(title)), f"{_stamp(times[-1], zone)} {zone_name}".rstrip()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
        f' role="img" aria-label="{escape(_clip(title), {chr(34): "&quot;"})}"><style>{_STYLE}</style>'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/><text class="t" x="12" y="20">{caption}</text>'
        f'<line class="g" x1="{_LEFT}" y1="{_BOTTOM}" x2="{_RIGHT}" y2="{_BOTTOM}"/>'
        f'<line class="g" x1="{_LEFT}" y1="{_TOP}" x2="{_RIGHT}" y2="{_TOP}"/>{began}'
        f'<text x="{_LEFT - 6}" y="{_TOP + 4}" text-anchor="end">{frame.high:.4g}</text>'
        f'<text x="{_LEFT - 6}" y="{_BOTTOM + 4}" text-anchor="end">{frame.low:.4g}</text>'
        f'<text x="{_LEFT}" y="{_BOTTOM + 18}">{_stamp(times[0], zone)}</text>'
        f'<text x="{_RIGHT}" y="{_BOTTOM + 18}" text-anchor="end">{until}</text>'
        f'<polyline class="l" points="{line}"/>'
        f'<circle class="w" cx="{frame.x(times[-1]):g}" cy="{frame.y(values[-1]):g}" r="4"/></svg>'
    )


def attach_chart(alarms: Sequence[CaseAlarm], subject: Subject, title: str) -> dict[str, str] | None:
    """The picture as a message carries it; None where there is too little to draw."""
    alarm = chart_of(alarms)
    if alarm is None:
        return None
    drawn = b64encode(draw_chart(alarm, subject, title).encode()).decode()
    return {"file_name": FILE_NAME, "media_type": MEDIA_TYPE, "base64": drawn}


def _stamp(ts_s: float, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(ts_s, zone):%Y-%m-%d %H:%M}"


def _zone(name: str | None) -> tuple[tzinfo, str]:
    try:
        return (ZoneInfo(name), "") if name else (UTC, "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC, "UTC"


def _clip(text: str) -> str:
    return text if len(text) <= MAX_CAPTION else f"{text[: MAX_CAPTION - 1].rstrip()}…"
