"""The codec `json`: one object or an array of them.

    readings  {"ts": RFC 3339 or epoch milliseconds?, "seq": integer?, "firmware": string?, "metrics": {name: value}}
    events    {"ts": …?, "seq": integer?, "code": string, "data": {…}?}

A whole payload is decoded in one call. Only a payload in which something is wrong is taken apart: its elements are
then judged one by one, so that a bad reading in the middle of a day's backlog costs that reading and no other.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import msgspec

from devices.payloads.codec import (
    EPOCH,
    MAX_CODE,
    MAX_FIRMWARE,
    MAX_SEQ,
    MAX_TS_MS,
    MAX_TS_US,
    AwareDatetime,
    Bad,
    DecodedEvent,
    DecodedReading,
)
from devices.payloads.columnar import ColumnDecoder
from devices.payloads.compiled_columns import CompiledColumns, can_read
from devices.payloads.json_columns import JsonColumns
from devices.payloads.judge import judge_event, judge_reading
from devices.payloads.native import load_reader
from devices.payloads.one_by_one import judge_each

_Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]
_Firmware = Annotated[str, msgspec.Meta(max_length=MAX_FIRMWARE)]
_Code = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CODE)]


class _NumbersOnly(msgspec.Struct, frozen=True, gc=False):
    metrics: dict[str, float]
    ts: AwareDatetime | float | int | None = None
    seq: _Seq | None = None
    firmware: _Firmware | None = None


class _Mixed(msgspec.Struct, frozen=True, gc=False):
    metrics: dict[str, float | bool | None]
    ts: AwareDatetime | float | int | None = None
    seq: _Seq | None = None
    firmware: _Firmware | None = None


class _WireEvent(msgspec.Struct, frozen=True, gc=False):
    code: _Code
    ts: AwareDatetime | float | int | None = None
    seq: _Seq | None = None
    data: dict[str, object] | None = None


class _NotPlainError(Exception):
    """The fast way does not look closely enough for this payload."""


# What the fast way may meet in a payload that it cannot read; the slow way then finds out which element it was.
_FAST_FAULTS: Final = (
    _NotPlainError,
    msgspec.DecodeError,
    UnicodeError,
    RecursionError,
    OverflowError,
)


class JsonCodec:
    """Decodes JSON payloads; see the module for their shape."""

    name: str = "json"

    def __init__(self, *, compiled: bool = True) -> None:
        """`compiled`: use the loop in C where there is one."""
        self._make_reader = load_reader() if compiled else None
        self._numbers_only: msgspec.json.Decoder[list[_NumbersOnly] | _NumbersOnly] = msgspec.json.Decoder(
            list[_NumbersOnly] | _NumbersOnly
        )
        self._mixed: msgspec.json.Decoder[list[_Mixed] | _Mixed] = msgspec.json.Decoder(list[_Mixed] | _Mixed)
        self._events: msgspec.json.Decoder[list[_WireEvent] | _WireEvent] = msgspec.json.Decoder(
            list[_WireEvent] | _WireEvent
        )

    def decode_readings(self, payload: bytes) -> Sequence[DecodedReading | Bad]:
        """Readings in the order in which the payload has them."""
        try:
            return self._all_readings(payload)
        except _FAST_FAULTS:
            return judge_each(payload, judge_reading)

    def decode_events(self, payload: bytes) -> Sequence[DecodedEvent | Bad]:
        """Events in the order in which the payload has them."""
        try:
            return self._all_events(payload)
        except _FAST_FAULTS:
            return judge_each(payload, judge_event)

    def column_decoder(self, metrics: Sequence[str]) -> ColumnDecoder:
        """A decoder for many payloads at once, of a product model with these metrics."""
        columns = JsonColumns(metrics)
        if self._make_reader is None or not can_read(metrics):
            return columns
        return CompiledColumns(metrics, self._make_reader, columns)

    def _all_readings(self, payload: bytes) -> list[DecodedReading]:
        _must_be_plain(payload)
        try:
            found = self._numbers_only.decode(payload)
        except msgspec.ValidationError:  # most likely a boolean or null among the metrics
            mixed = self._mixed.decode(payload)
            return [
                DecodedReading(_wire_us(wire.ts), wire.seq, wire.firmware or None, _numbers(wire.metrics))
                for wire in (mixed if isinstance(mixed, list) else [mixed])
            ]
        readings: list[DecodedReading] = []
        for wire in found if isinstance(found, list) else [found]:
            if "" in wire.metrics:
                raise _NotPlainError
            readings.append(DecodedReading(_wire_us(wire.ts), wire.seq, wire.firmware or None, wire.metrics))
        return readings

    def _all_events(self, payload: bytes) -> list[DecodedEvent]:
        _must_be_plain(payload)
        found = self._events.decode(payload)
        return [
            DecodedEvent(
                _wire_us(wire.ts), wire.seq, wire.code, None if wire.data is None else msgspec.json.encode(wire.data)
            )
            for wire in (found if isinstance(found, list) else [found])
        ]


def _must_be_plain(payload: bytes) -> None:
    """Send the slow way what the decoder would let pass: NUL, and bad UTF-8 in fields that nobody reads."""
    if not payload.isascii():
        _ = payload.decode()
    # One byte is found many times faster than six, and telemetry has no use for backslashes.
    if b"\\" in payload and b"\\u0000" in payload:
        raise _NotPlainError


def _numbers(metrics: dict[str, float | bool | None]) -> dict[str, float]:
    if "" in metrics:
        raise _NotPlainError
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _wire_us(ts: datetime | float | None) -> int | None:
    """Microseconds since the epoch, exact; spelt out, for this runs once per reading."""
    if isinstance(ts, datetime):
        since = ts - EPOCH
        ts_us = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        if 0 <= ts_us <= MAX_TS_US:
            return ts_us
    elif ts is None:
        return None
    elif 0 <= ts <= MAX_TS_MS:
        return round(ts * 1000)
    raise _NotPlainError
