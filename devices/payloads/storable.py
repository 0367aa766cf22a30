"""What a database takes for text and for JSON, and a device's own words made harmless."""

import math
from typing import Final, cast

from devices.errors import QuarantineReason, Rejected

_SHOWN: Final = 60  # characters of a device's own words that may stand in a detail


def must_be_text(text: str) -> None:
    """NUL and lone surrogates are JSON, but no database takes them for text."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Rejected(
            QuarantineReason.MALFORMED,
            f"{shown(text)} holds NUL or half of a surrogate pair",
        )


def must_be_storable(data: object) -> None:
    """Everything in an event's data must survive a journey through jsonb."""
    left = [data]
    while left:
        value = left.pop()
        if isinstance(value, str):
            must_be_text(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise Rejected(QuarantineReason.NOT_A_NUMBER, f"data holds {value}")
        elif isinstance(value, list):
            left.extend(cast("list[object]", value))
        elif isinstance(value, dict):
            entries = cast("dict[str, object]", value)
            left.extend(entries.keys())
            left.extend(entries.values())


def kind(value: object) -> str:
    """What JSON calls a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return f"the number {shown(value)}"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def shown(value: str | float) -> str:
    """A device's own words, made harmless: ASCII only, and short."""
    words = ascii(value)
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}…"
