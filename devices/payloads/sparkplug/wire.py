"""Protocol Buffers on the wire, as far as a reader of messages needs them (the encoding guide's wire types 0, 1, 2, 5).

Nothing is allocated for a length that is declared but not there, and nothing recurses: callers go into a message
within a message by calling again.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

_LONGEST_VARINT: Final = 10
_MOST: Final = (1 << 64) - 1


class WireType(IntEnum):
    """How a field's value stands on the wire."""

    VARINT = 0
    FIXED64 = 1
    BYTES = 2
    FIXED32 = 5


_FIXED: Final = {WireType.FIXED64: 8, WireType.FIXED32: 4}


class WireError(ValueError):
    """These bytes are no message."""


Field = tuple[int, WireType, int, bytes]
"""Number, type, and the value: a varint as an integer, everything else as its bytes."""


def read_fields(data: bytes) -> Iterator[Field]:
    """The fields of a message in their order. Raises WireError at the first that is none."""
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if not number:
            raise WireError(f"field 0 at byte {position}")
        if wire == WireType.VARINT:
            value, position = _varint(data, position)
            yield number, WireType.VARINT, value, b""
            continue
        if wire == WireType.BYTES:
            size, position = _varint(data, position)
        elif wire in _FIXED:
            size = _FIXED[WireType(wire)]
        else:
            raise WireError(f"wire type {wire} of field {number}")
        if size > end - position:
            raise WireError(f"field {number} says {size} bytes, {end - position} are there")
        yield number, WireType(wire), 0, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    if position < len(data) and data[position] < 0x80:  # noqa: PLR2004 - nearly always: one byte is all
        return data[position], position + 1
    value = 0
    for place in range(_LONGEST_VARINT):
        if position >= len(data):
            raise WireError("a number is cut off")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more bytes follow
            return value & _MOST, position
    raise WireError("a number of more than ten bytes")


def varint_field(number: int, value: int) -> bytes:
    """A field of wire type 0."""
    return _encoded(number << 3) + _encoded(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """A field of wire type 2."""
    return _encoded(number << 3 | WireType.BYTES) + _encoded(len(value)) + value


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
