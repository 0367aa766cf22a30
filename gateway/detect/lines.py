"""The lines that `careloop detect` reads and writes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from gateway.detect.model import AlarmChange

EARLIEST_S: Final = -62_135_596_800.0  # the year 1
LATEST_S: Final = 253_402_300_799.0  # the year 9999


@dataclass(frozen=True, slots=True)
class Line:
    """One reading, or one event, or both."""

    device: str
    ts_s: float
    metrics: dict[str, float]  # without those that are absent
    event: str | None = None  # its code


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a series; its texts are given back as they came."""

    timestamp: str
    value: str
    ts_s: float
    number: float  # NaN for an empty value


class BadLine(ValueError):
    """A line that cannot be read; says why."""


class _WireLine(msgspec.Struct):
    device: str
    ts: datetime | float
    metrics: dict[str, float | bool | None] | None = None
    event: str | None = None


_decoder: Final = msgspec.json.Decoder(_WireLine)
_encoder: Final = msgspec.json.Encoder()


def parse_line(line: bytes) -> Line:
    """A line of NDJSON: ``{"device", "ts": RFC 3339 or epoch milliseconds, "metrics" or "event"}``. Raises BadLine."""
    try:
        wire = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLine(str(error)) from error
    if not wire.device:
        raise BadLine("`device` is empty")
    if wire.metrics is None and not wire.event:
        raise BadLine("neither `metrics` nor `event`")
    metrics = {name: float(value) for name, value in (wire.metrics or {}).items() if value is not None}
    return Line(wire.device, _instant_s(wire.ts), metrics, wire.event or None)


def parse_row(cells: Sequence[str], timestamp: int, value: int) -> Row:
    """A row of CSV, by the columns of its timestamp and its value. Raises BadLine."""
    if len(cells) <= max(timestamp, value):
        raise BadLine(f"{len(cells)} columns, where {max(timestamp, value) + 1} are needed")
    text = cells[value].strip()
    try:
        number = float(text) if text else math.nan
    except ValueError as error:
        raise BadLine(f"value {text!r} is not a number") from error
    return Row(cells[timestamp], cells[value], _instant_s(_parse_instant(cells[timestamp].strip())), number)


def _parse_instant(text: str) -> datetime | float:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as error:
        raise BadLine(f"timestamp {text!r} is neither RFC 3339 nor epoch milliseconds") from error


def _instant_s(instant: datetime | float) -> float:
    """Epoch seconds; a time that names no zone is taken as UTC."""
    if isinstance(instant, datetime):
        zoned = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
        return zoned.timestamp()
    seconds = instant / 1000.0
    if not EARLIEST_S <= seconds <= LATEST_S:
        raise BadLine(f"time {instant!r} is not epoch milliseconds of the years 1 to 9999")
    return seconds


def say_line(change: AlarmChange) -> bytes:
    """An alarm event as a line of NDJSON, without its end."""
    return _encoder.encode(
        {
            "device": change.device_id,
            "ts": say_ts(change.ts_s),
            "state": change.event,
            "kind": change.kind.value,
            "metric": change.metric,
            "score": round(change.score, 4),
            "explanation": change.explanation.text,
            "watch": change.watch,
            "severity": change.severity.value,
            "started_at": say_ts(change.started_at_s),
        }
    )


def say_ts(ts_s: float) -> str:
    """RFC 3339 in UTC, to the millisecond where it is not a whole second."""
    instant = datetime.fromtimestamp(round(ts_s * 1000) / 1000, UTC)
    text = instant.isoformat(timespec="milliseconds" if instant.microsecond else "seconds")
    return text.replace("+00:00", "Z")
