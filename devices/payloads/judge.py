"""One parsed element judged in every detail: a reading, an event, or the reason why it is neither."""

import math
from collections.abc import Mapping
from typing import cast

import msgspec

from devices.errors import QuarantineReason, Rejected
from devices.payloads.codec import (
    MAX_CODE,
    MAX_FIRMWARE,
    MAX_SEQ,
    DecodedEvent,
    DecodedReading,
    timestamp_us,
)
from devices.payloads.storable import kind, must_be_storable, must_be_text, shown


def judge_reading(element: object) -> DecodedReading:
    """A reading; raises Rejected with the first fault found."""
    fields = _fields(element)
    ts_us, seq = _ts_us(fields), _seq(fields)
    firmware = fields.get("firmware")
    if firmware is not None:
        firmware = _text("firmware", firmware, MAX_FIRMWARE) or None
    if "metrics" not in fields:
        raise Rejected(QuarantineReason.MALFORMED, "metrics is missing")
    metrics = fields["metrics"]
    if not isinstance(metrics, dict):
        raise Rejected(QuarantineReason.WRONG_TYPE, f"metrics is {kind(metrics)}, not an object")
    return DecodedReading(ts_us, seq, firmware, _numbers(cast("dict[str, object]", metrics)))


def judge_event(element: object) -> DecodedEvent:
    """An event; raises Rejected with the first fault found."""
    fields = _fields(element)
    ts_us, seq = _ts_us(fields), _seq(fields)
    if "code" not in fields:
        raise Rejected(QuarantineReason.MALFORMED, "code is missing")
    code = _text("code", fields["code"], MAX_CODE)
    if not code:
        raise Rejected(QuarantineReason.WRONG_TYPE, "code is empty")
    data = fields.get("data")
    if data is None:
        return DecodedEvent(ts_us, seq, code, None)
    if not isinstance(data, dict):
        raise Rejected(QuarantineReason.WRONG_TYPE, f"data is {kind(data)}, not an object")
    must_be_storable(cast("object", data))
    return DecodedEvent(ts_us, seq, code, msgspec.json.encode(data))


def _fields(element: object) -> Mapping[str, object]:
    if not isinstance(element, dict):
        raise Rejected(QuarantineReason.MALFORMED, f"{kind(element)} where an object is expected")
    return cast("dict[str, object]", element)


def _ts_us(fields: Mapping[str, object]) -> int | None:
    ts = fields.get("ts")
    if ts is None:
        return None
    ts_us = timestamp_us(ts)
    if ts_us is None:
        found = shown(ts) if isinstance(ts, str | int | float) else kind(ts)
        raise Rejected(
            QuarantineReason.BAD_TIMESTAMP,
            f"ts {found} is neither RFC 3339 with an offset nor epoch milliseconds, from 1970 to 9999",
        )
    return ts_us


def _seq(fields: Mapping[str, object]) -> int | None:
    seq = fields.get("seq")
    if seq is None:
        return None
    if not isinstance(seq, int) or isinstance(seq, bool) or not 0 <= seq <= MAX_SEQ:
        raise Rejected(
            QuarantineReason.WRONG_TYPE,
            f"seq is {kind(seq)}, not an integer from 0 to 2^63 - 1",
        )
    return seq


def _numbers(metrics: Mapping[str, object]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, value in metrics.items():
        if not name:
            raise Rejected(QuarantineReason.WRONG_TYPE, "a metric has an empty name")
        must_be_text(name)
        if value is None:
            continue
        if not isinstance(value, int | float):
            raise Rejected(
                QuarantineReason.WRONG_TYPE,
                f"metric {shown(name)} is {kind(value)}, not a number or boolean",
            )
        number = float(value)
        if not math.isfinite(number):
            raise Rejected(QuarantineReason.NOT_A_NUMBER, f"metric {shown(name)} is {number}")
        numbers[name] = number
    return numbers


def _text(field: str, value: object, longest: int) -> str:
    if not isinstance(value, str):
        raise Rejected(QuarantineReason.WRONG_TYPE, f"{field} is {kind(value)}, not a string")
    if len(value) > longest:
        raise Rejected(QuarantineReason.WRONG_TYPE, f"{field} is longer than {longest} characters")
    must_be_text(value)
    return value
