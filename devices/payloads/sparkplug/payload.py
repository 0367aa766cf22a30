"""Sparkplug B's payload: a time, a sequence number and metrics (specification 3.0, section 6.4)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn, cast

from devices.errors import QuarantineReason, Rejected
from devices.payloads.sparkplug.wire import WireError, WireType, bytes_field, read_fields, varint_field

MOST_METRICS: Final = 20_000
_REBIRTH: Final = "Node Control/Rebirth"
_BOOLEAN: Final = 11
_DOUBLE: Final = struct.Struct("<d")
_FLOAT: Final = struct.Struct("<f")

Value = int | float | bool | str | bytes | None


@dataclass(slots=True)
class Metric:
    """One metric of a message, as it was sent; absent is None.

    `value` is an int where the message has an integer, whose sign only the type tells; `dataset` and `template` are
    messages of their own, not yet read.
    """

    name: str | None = None
    alias: int | None = None
    ts_ms: int | None = None
    datatype: int = 0
    is_null: bool = False
    value: Value = None
    dataset: bytes | None = None
    template: bytes | None = None


@dataclass(slots=True)
class Payload:
    """One message."""

    metrics: list[Metric]
    ts_ms: int | None = None
    seq: int | None = None


def read_payload(data: bytes) -> Payload:
    """Read a message. Raises Rejected."""
    payload = Payload([])
    try:
        for number, wire, value, raw in read_fields(data):
            match number, wire:
                case 1, WireType.VARINT:
                    payload.ts_ms = value
                case 2, WireType.BYTES:
                    payload.metrics.append(read_metric(raw))
                case 3, WireType.VARINT:
                    payload.seq = value
                case ((1 | 2 | 3), _):
                    _refuse(number, wire)
                case _:  # uuid, body, extensions
                    pass
            if len(payload.metrics) > MOST_METRICS:
                raise Rejected(QuarantineReason.OVERSIZED, f"more than {MOST_METRICS} metrics")
    except WireError as error:
        raise Rejected(QuarantineReason.MALFORMED, f"no Sparkplug B payload: {error}") from error
    return payload


def _refuse(number: int, wire: WireType) -> NoReturn:
    raise WireError(f"field {number} is of wire type {wire}")


def _fields_of_metric(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    for number, wire, value, raw in read_fields(data):
        expected = _WIRE_OF.get(number)
        if expected is None:  # historical, transient, metadata, properties, extensions
            continue
        if wire != expected:
            _refuse(number, wire)
        yield number, value, raw


def read_metric(data: bytes) -> Metric:
    """Read a metric. Raises WireError."""
    metric = Metric()
    for number, value, raw in _fields_of_metric(data):
        match number:
            case 1:
                metric.name = text_of(raw)
            case 2:
                metric.alias = value
            case 3:
                metric.ts_ms = value
            case 4:
                metric.datatype = value
            case 7:
                metric.is_null = bool(value)
            case 17:
                metric.dataset = raw
            case 18:
                metric.template = raw
            case _:
                metric.value = scalar(number - 10, value, raw)
    return metric


_WIRE_OF: Final = {
    **dict.fromkeys((2, 3, 4, 7, 10, 11, 14), WireType.VARINT),
    **dict.fromkeys((1, 15, 16, 17, 18), WireType.BYTES),
    12: WireType.FIXED32,
    13: WireType.FIXED64,
}


def scalar(which: int, value: int, raw: bytes) -> Value:
    """One of the values that metrics, and elements of a data set, have in the same order."""
    match which:
        case 0:
            return value & 0xFFFF_FFFF
        case 1:
            return value
        case 2:
            return cast("float", _FLOAT.unpack(raw)[0])
        case 3:
            return cast("float", _DOUBLE.unpack(raw)[0])
        case 4:
            return bool(value)
        case 5:
            return text_of(raw)
        case _:
            return raw


def text_of(raw: bytes) -> str:
    """A string. Raises WireError."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise WireError("a text is not UTF-8") from error


def rebirth_request(now_ms: int) -> bytes:
    """The command with which a host application asks an edge node for its births (section 6.4.13)."""
    metric = (
        bytes_field(1, _REBIRTH.encode())
        + varint_field(3, now_ms)
        + varint_field(4, _BOOLEAN)
        + varint_field(14, 1)  # boolean_value
    )
    return varint_field(1, now_ms) + bytes_field(2, metric)
