"""The codec `json`: one object or an array of them.

    readings  {"ts": RFC 3339 or epoch milliseconds?, "seq": integer?, "firmware": string?, "metrics": {name: value}}
    events    {"ts": …?, "seq": integer?, "code": string, "data": {…}?}

A whole payload is decoded in one call. Only a payload in which something is wrong is taken apart: its elements are
then judged one by one, so that a bad reading in the middle of a day's backlog costs that reading and no other.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Final, TypeVar, cast

import msgspec

from devices.errors import QuarantineReason, Rejected
from devices.payloads.codec import (
    MAX_CODE,
    MAX_FIRMWARE,
    MAX_SEQ,
    MAX_TS_US,
    AwareDatetime,
    Bad,
    DecodedEvent,
    DecodedReading,
    datetime_us,
    timestamp_us,
)
from devices.payloads.elements import elements
from devices.payloads.judge import judge_event, judge_reading

_Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]
_Firmware = Annotated[str, msgspec.Meta(max_length=MAX_FIRMWARE)]
_Code = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CODE)]
_Judged = TypeVar("_Judged")


class _WireReading(msgspec.Struct, frozen=True, gc=False):
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

    def __init__(self) -> None:
        self._readings = msgspec.json.Decoder(list[_WireReading] | _WireReading)
        self._events = msgspec.json.Decoder(list[_WireEvent] | _WireEvent)

    def decode_readings(self, payload: bytes) -> Sequence[DecodedReading | Bad]:
        """Readings in the order in which the payload has them."""
        try:
            return self._all_readings(payload)
        except _FAST_FAULTS:
            return _one_by_one(payload, judge_reading)

    def decode_events(self, payload: bytes) -> Sequence[DecodedEvent | Bad]:
        """Events in the order in which the payload has them."""
        try:
            return self._all_events(payload)
        except _FAST_FAULTS:
            return _one_by_one(payload, judge_event)

    def _all_readings(self, payload: bytes) -> list[DecodedReading]:
        _must_be_plain(payload)
        found = self._readings.decode(payload)
        wires = found if isinstance(found, list) else [found]
        # Searching the bytes is many times cheaper than looking at every value.
        if b"null" in payload or b"true" in payload or b"false" in payload:
            return [
                DecodedReading(
                    _wire_us(wire.ts),
                    wire.seq,
                    wire.firmware or None,
                    _numbers(wire.metrics),
                )
                for wire in wires
            ]
        return [
            DecodedReading(
                _wire_us(wire.ts),
                wire.seq,
                wire.firmware or None,
                cast("dict[str, float]", wire.metrics),
            )
            for wire in wires
        ]

    def _all_events(self, payload: bytes) -> list[DecodedEvent]:
        _must_be_plain(payload)
        found = self._events.decode(payload)
        wires = found if isinstance(found, list) else [found]
        return [
            DecodedEvent(
                _wire_us(wire.ts),
                wire.seq,
                wire.code,
                None if wire.data is None else msgspec.json.encode(wire.data),
            )
            for wire in wires
        ]


def _one_by_one(payload: bytes, judge: Callable[[object], _Judged]) -> list[_Judged | Bad]:
    try:
        found = elements(payload)
    except Rejected as rejected:
        return [Bad(payload, QuarantineReason(rejected.reason), rejected.detail)]
    judged: list[_Judged | Bad] = []
    for element in found:
        try:
            judged.append(judge(element.value))
        except Rejected as rejected:
            judged.append(Bad(element.raw, QuarantineReason(rejected.reason), rejected.detail))
    return judged


def _must_be_plain(payload: bytes) -> None:
    """Send the slow way what the fast way would let pass: NUL, empty names, bad UTF-8 in fields nobody reads."""
    if b"\\u0000" in payload or b'""' in payload:
        raise _NotPlainError
    if not payload.isascii():
        payload.decode()


def _numbers(metrics: dict[str, float | bool | None]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _wire_us(ts: datetime | float | None) -> int | None:
    if ts is None:
        return None
    ts_us = datetime_us(ts) if isinstance(ts, datetime) else timestamp_us(ts)
    if ts_us is None or not 0 <= ts_us <= MAX_TS_US:
        raise _NotPlainError
    return ts_us
