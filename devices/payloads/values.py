"""Values as the field sends them, sorted into what is measured and what is only said.

A metric is a number. Dialects also send text, lists and objects under a metric's name: each of them becomes an event
whose code is that name, with ``{"value": …}`` as its data.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from devices.errors import QuarantineReason, Rejected
from devices.payloads.codec import MAX_CODE, MAX_FIRMWARE, DecodedEvent, DecodedReading
from devices.payloads.naming import metric_name
from devices.payloads.storable import must_be_storable, must_be_text, shown

_NUMERAL: Final = re.compile(r"-?(?:0|[1-9]\d{0,30})(?:\.\d{1,30})?")

FIRMWARE_NAMES: Final = frozenset(
    {"firmware", "firmwareversion", "fw", "fwversion", "currentfwversion", "fwver", "firmwarerevision"}
)
"""Names, without their punctuation, under which the field tells its firmware's version."""


@dataclass(slots=True)
class Values:
    """What one moment of one device said."""

    metrics: dict[str, float] = field(default_factory=dict[str, float])
    others: dict[str, object] = field(default_factory=dict[str, object])
    firmware: str | None = None

    def put(self, name: str, value: object, *, numerals: bool = False) -> None:
        """Sort a value in; null is nothing. Raises Rejected. `numerals`: text that is a number counts as one."""
        if value is None:
            return
        if not name:
            raise Rejected(QuarantineReason.WRONG_TYPE, "a metric has an empty name")
        must_be_text(name)
        if isinstance(value, str) and is_firmware_name(name):
            must_be_text(value)
            self.firmware = value[:MAX_FIRMWARE] or self.firmware
        elif isinstance(value, int | float):
            self.metrics[name] = finite(name, value)
        elif numerals and isinstance(value, str) and is_numeral(value):
            self.metrics[name] = finite(name, float(value))
        else:
            must_be_storable(value)
            self.others[name] = value

    def reading(self, ts_us: int | None, seq: int | None = None) -> DecodedReading | None:
        """The measured part, if there is any."""
        if not self.metrics and self.firmware is None:
            return None
        return DecodedReading(ts_us, seq, self.firmware, self.metrics)

    def events(self, ts_us: int | None, seq: int | None = None) -> list[DecodedEvent]:
        """The rest."""
        return [said_event(name, value, ts_us, seq) for name, value in self.others.items()]


def said_event(name: str, value: object, ts_us: int | None, seq: int | None = None) -> DecodedEvent:
    """The event of a metric whose value is no number."""
    code = name if len(name) <= MAX_CODE else metric_name(name)
    return DecodedEvent(ts_us, seq, code, msgspec.json.encode({"value": value}))


def is_numeral(text: str) -> bool:
    """Whether text is a number, as people write one."""
    return _NUMERAL.fullmatch(text) is not None


def is_firmware_name(name: str) -> bool:
    """Whether a device tells its firmware under this name; of a path, the last part counts."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(filter(str.isalnum, last)).lower() in FIRMWARE_NAMES


def firmware_of(attributes: Mapping[str, object]) -> str | None:
    """The firmware among attributes."""
    for name, value in attributes.items():
        if isinstance(value, str) and value and is_firmware_name(name):
            return value[:MAX_FIRMWARE]
    return None


def finite(name: str, value: float) -> float:
    """The value as a float. Raises Rejected (not a number)."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Rejected(QuarantineReason.NOT_A_NUMBER, f"metric {shown(name)} is {number}")
    return number
