"""The lines that `careloop detect` reads and writes."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from gateway.detect.instants import BadTime, Instants
from gateway.detect.model import AlarmChange

Wanted = TypeVar("Wanted")


@dataclass(frozen=True, slots=True)
class Line:
    """One reading, or one event, or both."""

    device: str
    ts_s: float
    metrics: dict[str, float]  # without those that are absent
    event: str | None = None  # its code


@dataclass(frozen=True, slots=True)
class Row:
    """One value of a series."""

    ts_s: float
    number: float  # NaN for an empty value


class BadLine(ValueError):
    """A line that cannot be read; says why."""


class _WireLine(msgspec.Struct):
    device: str | int
    ts: datetime | float
    metrics: dict[str, float | bool | None] | None = None
    event: str | None = None


_NO_NUMBERS: Final = (b"NaN", b"Infinity")
_decoder: Final = msgspec.json.Decoder(_WireLine)
_encoder: Final = msgspec.json.Encoder()


def parse_line(line: bytes, instants: Instants | None = None) -> Line:
    """A line of NDJSON: ``{"device", "ts": RFC 3339 or a number, "metrics" or "event"}``. Raises BadLine.

    `instants` are those of its file; without them a number is epoch milliseconds.
    """
    wire = read_json(line, _decoder)
    device = str(wire.device)  # a number is a name, too
    if not device:
        raise BadLine("`device` is empty")
    if wire.metrics is None and not wire.event:
        raise BadLine("neither `metrics` nor `event`")
    metrics = {name: float(value) for name, value in (wire.metrics or {}).items() if value is not None}
    try:
        ts_s = (instants or Instants("ms")).of(wire.ts)
    except BadTime as error:
        raise BadLine(str(error)) from error
    return Line(device, ts_s, metrics, wire.event or None)


def read_json(text: bytes, decoder: msgspec.json.Decoder[Wanted]) -> Wanted:
    """JSON, also with NaN and Infinity, which Python's `json.dumps` writes and are absent then. Raises BadLine."""
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, msgspec.ValidationError) or not any(each in text for each in _NO_NUMBERS):
            raise BadLine(str(error)) from error
    try:
        return decoder.decode(msgspec.json.encode(json.loads(text)))  # of these it makes null
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadLine(str(error)) from error


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
