"""What a metric's value is, once its type is known (specification 3.0, section 6.4.16)."""

import base64
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, cast

from devices.payloads.sparkplug.payload import Metric, Value, read_metric, scalar, text_of
from devices.payloads.sparkplug.wire import WireError, WireType, read_fields

_DEEPEST: Final = 8  # templates within templates
_IS_DEFINITION: Final = 5  # a template's field: an NBIRTH says what such templates hold, with no values of any motor
_MOST_CELLS: Final = 100_000


class DataType(IntEnum):
    """The types by their numbers; 20 and 21 are property sets, which are no values of metrics."""

    UNKNOWN = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19


_SIGNED_BITS: Final = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
_ARRAYS: Final = {22: "b", 23: "h", 24: "i", 25: "q", 26: "B", 27: "H", 28: "I", 29: "Q", 30: "f", 31: "d", 34: "Q"}
_BOOLEAN_ARRAY: Final = 32
_STRING_ARRAY: Final = 33


def needs_type(metric: Metric) -> bool:
    """Whether only its type would tell what the value means: an integer's sign, an array's elements."""
    return (
        not metric.datatype
        and not metric.is_null
        and isinstance(metric.value, int | bytes)
        and not isinstance(metric.value, bool)
    )


def value_of(metric: Metric) -> object:
    """The value: a number, a boolean or text; lists and objects as JSON has them; None where it is null.

    Integers are sent as unsigned ones. Senders differ in how many bits a small negative number takes, so that only as
    many as its type has are looked at.
    """
    if metric.is_null:
        return None
    if metric.dataset is not None:
        return _dataset(metric.dataset)
    return _typed(metric.datatype, metric.value)


def _typed(datatype: int, value: Value) -> object:
    if isinstance(value, bytes):
        return _bytes(datatype, value)
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if datatype == DataType.BOOLEAN:
        return bool(value)
    bits = _SIGNED_BITS.get(cast("DataType", datatype))
    if bits is None:
        return value
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _bytes(datatype: int, value: bytes) -> object:
    letter = _ARRAYS.get(datatype)
    if letter is not None and len(value) % struct.calcsize(f"<{letter}") == 0:
        return [item[0] for item in struct.iter_unpack(f"<{letter}", value)]
    if datatype == _BOOLEAN_ARRAY and len(value) >= 4:  # noqa: PLR2004 - a count in front
        count = min(int.from_bytes(value[:4], "little"), 8 * (len(value) - 4))
        return [bool(value[4 + at // 8] >> (7 - at % 8) & 1) for at in range(count)]
    if datatype == _STRING_ARRAY and value.endswith(b"\0"):
        return [text_of(piece) for piece in value[:-1].split(b"\0")]
    return base64.b64encode(value).decode()


def _dataset(data: bytes) -> object:
    """A table: the names of its columns, and its rows. Raises WireError."""
    columns: list[str] = []
    types: list[int] = []
    rows: list[list[object]] = []
    cells = 0
    for number, wire, value, raw in read_fields(data):
        match number, wire:
            case 2, WireType.BYTES:
                columns.append(text_of(raw))
            case 3, WireType.VARINT:
                types.append(value)
            case 3, WireType.BYTES:  # packed
                types += raw
            case 4, WireType.BYTES:
                rows.append([_cell(cell, types[at] if at < len(types) else 0) for at, cell in enumerate(_parts(raw))])
                cells += len(rows[-1])
            case _:
                pass
        if cells > _MOST_CELLS:
            raise WireError(f"a data set of more than {_MOST_CELLS} cells")
    return {"columns": columns, "rows": rows}


def _parts(row: bytes) -> Iterator[bytes]:
    return (raw for number, wire, _, raw in read_fields(row) if number == 1 and wire == WireType.BYTES)


def _cell(data: bytes, datatype: int) -> object:
    found: object = None
    for number, wire, value, raw in read_fields(data):
        if wire != _CELL_WIRES.get(number):
            raise WireError(f"field {number} of a data set's value is of wire type {wire}")
        found = _typed(datatype, scalar(number - 1, value, raw))
    return found


_CELL_WIRES: Final = {
    1: WireType.VARINT,
    2: WireType.VARINT,
    3: WireType.FIXED32,
    4: WireType.FIXED64,
    5: WireType.VARINT,
    6: WireType.BYTES,
}


def unfold(metric: Metric, depth: int = 0) -> Iterator[Metric]:
    """The metric; of a template those within, named by their path, of its definition none. Raises WireError."""
    if metric.template is None or metric.is_null:
        yield metric
        return
    if depth >= _DEEPEST:
        raise WireError(f"templates within templates, more than {_DEEPEST} deep")
    fields = list(read_fields(metric.template))
    if any(number == _IS_DEFINITION and value for number, _, value, _ in fields):
        return
    for number, wire, _, raw in fields:
        if number == 2 and wire == WireType.BYTES:  # noqa: PLR2004 - a template's metrics
            inner = read_metric(raw)
            inner.name = f"{metric.name or ''}/{inner.name or ''}"
            inner.ts_ms = metric.ts_ms if inner.ts_ms is None else inner.ts_ms
            yield from unfold(inner, depth + 1)
