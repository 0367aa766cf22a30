"""The codec `flat`: any JSON object, its numbers by their paths; for firmware that knows no envelope, as Tasmota.

    {"Time": "2026-03-01T07:30:00+01:00", "ENERGY": {"Power": 12, "Total": 3.4}, "POWER": "ON"}

is the reading ``ENERGY_Power = 12, ENERGY_Total = 3.4, POWER = 1``. Names of a path are joined by ``_``, elements of an
array count from 1; ON, OFF and booleans are 1 and 0; text that is a number counts as one, unless it is what a thing is
called by, under a name such as ``id`` or ``serial``, or longer than what is measured; other text and null are let pass.
The time stands in ``Time``, ``time``, ``ts`` or ``timestamp``: RFC 3339, or epoch seconds or milliseconds.
A local time without its offset could be any hour: the time of receipt counts then, as without one. A firmware's version
is taken where a name says so.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from devices.errors import QuarantineReason, Rejected
from devices.payloads.codec import Bad, DecodedEvent, DecodedReading, timestamp_us
from devices.payloads.judge import judge_event
from devices.payloads.naming import metric_names
from devices.payloads.one_by_one import judge_each
from devices.payloads.storable import kind, shown
from devices.payloads.values import Values, is_firmware_name, is_numeral

_TIMES: Final = ("ts", "time", "Time", "timestamp")
_SWITCHED: Final = {"ON": 1.0, "OFF": 0.0}
_DEEPEST: Final = 8
_MOST_DIGITS: Final = 15  # as many as a float keeps; what has more is no measurement
_WORDS: Final = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_COUNTED: Final = frozenset({"no", "nr", "num", "number"})  # as in serial number
_NAMES: Final = frozenset(
    {"id", "uid", "uuid", "guid", "deviceid", "nodeid", "sensorid", "serial", "serialno", "serialnumber", "sn"}
    | {"imei", "imsi", "iccid", "msisdn", "eui", "mac", "phone"}
)
"""What a number in text is where a name ends so: that of a thing, not one that was measured."""

_MILLISECONDS_FROM: Final = 1e11  # as seconds this is the year 5138


class FlatCodec:
    """Decodes JSON objects of any shape; see the module."""

    name: str = "flat"

    def decode_readings(self, payload: bytes) -> Sequence[DecodedReading | Bad]:
        """One reading for the object, or for each object of an array."""
        return judge_each(payload, _reading)

    def decode_events(self, payload: bytes) -> Sequence[DecodedEvent | Bad]:
        """Events, in the shape that the codec `json` has for them."""
        return judge_each(payload, judge_event)


def _reading(element: object) -> DecodedReading:
    if not isinstance(element, dict):
        raise Rejected(QuarantineReason.MALFORMED, f"{kind(element)} where an object is expected")
    if not element:
        raise Rejected(QuarantineReason.MALFORMED, "an empty object says nothing")
    fields = dict(cast("Mapping[str, object]", element))
    time = next((name for name in _TIMES if fields.get(name) is not None), None)
    ts_us = None if time is None else _ts_us(time, fields.pop(time))
    found = dict(_leaves(fields, "", 0))
    names = metric_names(path for path, value in found.items() if isinstance(value, float))
    values = Values()
    for path, value in found.items():
        values.put(path if isinstance(value, str) else names[path], value)
    return DecodedReading(ts_us, None, values.firmware, values.metrics)


def _leaves(value: object, path: str, depth: int) -> Iterator[tuple[str, float | str]]:
    """Numbers, and the firmware's version, by their paths."""
    if depth > _DEEPEST:
        raise Rejected(QuarantineReason.MALFORMED, f"nested more than {_DEEPEST} deep")
    match value:
        case dict():
            for name, inner in cast("dict[str, object]", value).items():
                yield from _leaves(inner, f"{path}/{name}" if path else name, depth + 1)
        case list():
            for number, inner in enumerate(cast("list[object]", value), 1):
                yield from _leaves(inner, f"{path}/{number}", depth + 1)
        case str():
            told = _of_text(path, value)
            if told is not None:
                yield path, told
        case int() | float():
            yield path, _finite(path, value)
        case _:
            pass


def _of_text(path: str, text: str) -> float | str | None:
    """What text counts as; None where it is let pass."""
    if text.upper() in _SWITCHED:
        return _SWITCHED[text.upper()]
    if is_firmware_name(path):
        return text
    return float(text) if is_numeral(text) and not _is_name(path, text) else None


def _is_name(path: str, numeral: str) -> bool:
    """Whether a number in text is what a thing is called by."""
    if sum(map(str.isdigit, numeral)) > _MOST_DIGITS and "." not in numeral:
        return True
    words = [word.lower() for word in _WORDS.findall(path.rpartition("/")[2])]
    while len(words) > 1 and words[-1] in _COUNTED:
        words.pop()
    return bool(words) and words[-1] in _NAMES


def _finite(path: str, value: float) -> float:
    try:
        return float(value)  # whether it is finite is looked at where it is put
    except OverflowError:
        raise Rejected(QuarantineReason.NOT_A_NUMBER, f"{shown(path)} is beyond every float") from None


def _ts_us(name: str, time: object) -> int | None:
    if isinstance(time, int | float) and not isinstance(time, bool):
        ts_us = timestamp_us(time if abs(time) >= _MILLISECONDS_FROM else time * 1000)
    else:
        ts_us = timestamp_us(time)
        if ts_us is None and isinstance(time, str) and timestamp_us(f"{time}Z") is not None:
            return None
    if ts_us is None:
        found = shown(time) if isinstance(time, str | int | float) else kind(time)
        raise Rejected(QuarantineReason.BAD_TIMESTAMP, f"{shown(name)} is {found}, no time that is known")
    return ts_us
