"""JSON readings of one product model, many payloads in one call.

The metrics of the model become the fields of a msgspec struct, so that the parser itself puts each number where its
column is; whatever does not fit exactly is left to the codec's other way.
"""

import math
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from operator import itemgetter
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.payloads.codec import EPOCH, MAX_FIRMWARE, MAX_SEQ, MAX_TS_MS, MAX_TS_US, AwareDatetime
from devices.payloads.columnar import ABSENT, ReadingColumns

_Ts = AwareDatetime | float | int | None
_Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None
_Firmware = Annotated[str, msgspec.Meta(max_length=MAX_FIRMWARE)] | None

_TOGETHER: Final = 64
"""Payloads decoded in one call: enough to make the call cheap, few enough to look for a bad one among them."""

_EXACT_US: Final = 2**51
"""Below it, microseconds survive the way through a float of seconds."""

_IMPOSSIBLE: Final = -2
"""Stands for a `ts` that is beyond what may be told."""

PLAIN_NAME: Final = re.compile(r'[^"\\\x00-\x1f]*')
"""What need not be escaped in JSON."""
_BLANK: Final = b" \t\r\n"
_OBJECT: Final = ({ord("{")}, {ord("}")})
_first, _last = itemgetter(0), itemgetter(-1)

_FAULTS: Final = (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError)
"""What a payload may be refused with; `ValidationError` is a DecodeError."""


class JsonColumns:
    """Decodes JSON payloads whose metrics are all known."""

    def __init__(self, metrics: Sequence[str]) -> None:
        """`metrics` are the columns, in their order."""
        # A name that has to be escaped comes with a backslash, so that its payloads are left in any case.
        names = {f"m{number}": name for number, name in enumerate(metrics) if PLAIN_NAME.fullmatch(name)}
        its_metrics = msgspec.defstruct(
            "Metrics",
            [(field, float | bool | None, math.nan) for field in names],
            rename=names,
            forbid_unknown_fields=True,
            gc=False,
        )
        fields: list[Any] = [
            ("metrics", its_metrics),
            ("ts", _Ts, None),
            ("seq", _Seq, ABSENT),
            ("firmware", _Firmware, None),
        ]
        reading = msgspec.defstruct("Reading", fields, gc=False)
        self._width = len(metrics)
        self._fields = len(names)
        self._columns_of_fields = [int(field[1:]) for field in names]
        self._lines = msgspec.json.Decoder(reading).decode_lines
        self._array = msgspec.json.Decoder(list[reading]).decode

    def decode(self, payloads: Sequence[bytes]) -> ReadingColumns:
        """Decode payloads, or leave them."""
        found = _Found()
        for start in range(0, len(payloads), _TOGETHER):
            self._take(found, start, payloads[start : start + _TOGETHER])
        return self._columns(found)

    def _take(self, found: "_Found", start: int, payloads: Sequence[bytes]) -> None:
        """Decode some payloads together; where one of them does not fit, each half by itself."""
        count = len(payloads)
        text = _join(payloads)
        if text is not None:
            try:
                readings = self._lines(text)
            except _FAULTS:
                readings = ()
            if len(readings) == count:
                found.add_objects(start, readings)
                return
        if count > 1:
            middle = count // 2
            self._take(found, start, payloads[:middle])
            self._take(found, start + middle, payloads[middle:])
        elif not payloads[0].startswith(b"[") or not self._take_array(found, start, payloads[0]):
            found.left.append(start)

    def _take_array(self, found: "_Found", number: int, payload: bytes) -> bool:
        if not payload.isascii() or b"\\" in payload:
            return False
        try:
            found.add_array(number, self._array(payload))
        except _FAULTS:
            return False
        return True

    def _columns(self, found: "_Found") -> ReadingColumns:
        readings = found.readings
        payload, element = found.places()
        columns = ReadingColumns(
            payload=payload,
            element=element,
            ts_us=_microseconds([reading.ts for reading in readings]),
            seq=_numbers([reading.seq for reading in readings]),
            firmware=_told([reading.firmware for reading in readings]),
            values=self._values(readings),
            left=found.left,
        )
        impossible = columns.ts_us == _IMPOSSIBLE
        return _without(columns, frozenset(payload[impossible].tolist())) if impossible.any() else columns

    def _values(self, readings: "Sequence[Any]") -> NDArray[np.float64]:
        """The numbers of the metrics; booleans become 0 and 1, null and what is not told NaN."""
        fields = chain.from_iterable(map(msgspec.structs.astuple, [reading.metrics for reading in readings]))
        told = np.fromiter(fields, np.float64, len(readings) * self._fields).reshape(len(readings), self._fields)
        if self._fields == self._width:
            return told
        values = np.full((len(readings), self._width), np.nan)
        values[:, self._columns_of_fields] = told
        return values


class _Found:
    """Readings as they are found, and where."""

    def __init__(self) -> None:
        self.readings: list[Any] = []  # structs whose type was made at run time
        self.left: list[int] = []
        self._runs: list[tuple[int, int]] = []  # first payload, and how many with one reading each
        self._arrays: list[tuple[int, int]] = []  # where in `_runs`, and how many readings

    def add_objects(self, start: int, readings: Sequence[Any]) -> None:
        """Payloads from one on, with one reading each."""
        self.readings += readings
        self._runs.append((start, len(readings)))

    def add_array(self, number: int, readings: Sequence[Any]) -> None:
        """A payload with any number of readings."""
        self.readings += readings
        self._arrays.append((len(self._runs), len(readings)))
        self._runs.append((number, 1))

    def places(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The payload of each reading, and its place there."""
        starts = [start for start, _ in self._runs]
        counts = [count for _, count in self._runs]
        within = _steps(counts)
        payload = np.repeat(np.array(starts, np.int32), counts) + within
        if not self._arrays:
            return payload, np.zeros(len(payload), np.int32)
        ends = np.cumsum(counts)
        sizes = np.ones(len(payload), np.intp)
        for run, size in self._arrays:
            sizes[ends[run] - 1] = size
        return np.repeat(payload, sizes), _steps(sizes)


def _steps(counts: Sequence[int] | NDArray[np.intp]) -> NDArray[np.int32]:
    """0, 1, … for each count, one after the other."""
    ends = np.cumsum(counts, dtype=np.int32)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int32) - np.repeat(ends - np.asarray(counts, np.int32), counts)


def _join(payloads: Sequence[bytes]) -> bytes | None:
    """Payloads as lines that can be decoded together; None for what has to be looked at more closely.

    Each payload begins with { and ends with }, so that }, newline, { stand at every joint. The parser refuses a newline
    within a string, and outside of strings no JSON value has a { right after a }. So no value reaches over a joint, and
    there is at least one in every payload: where as many values as payloads come out, each payload is exactly one. An
    object that is sent in three pieces, or two objects in one, can neither take a neighbour's reading for its own nor
    shift it. Whatever is not plain ASCII, or escaped, goes the other way, which looks for NUL and bad UTF-8.
    """
    try:
        if (set(map(_first, payloads)), set(map(_last, payloads))) != _OBJECT:
            payloads = [payload.strip(_BLANK) for payload in payloads]
            if (set(map(_first, payloads)), set(map(_last, payloads))) != _OBJECT:
                return None
    except IndexError:  # an empty one
        return None
    text = b"\n".join(payloads)
    return text if text.isascii() and b"\\" not in text else None


def _microseconds(told: "list[datetime | float | int | None]") -> NDArray[np.int64]:
    kinds = set(map(type, told))
    if kinds == {int}:
        return _from_milliseconds(told)
    if kinds == {datetime}:
        seconds = np.fromiter(map(datetime.timestamp, told), np.float64, len(told))  # pyright: ignore[reportArgumentType] - all are
        if len(seconds) and seconds.max() < _EXACT_US / 1e6:
            ts_us = np.rint(seconds * 1e6).astype(np.int64)
            return np.where(ts_us < 0, _IMPOSSIBLE, ts_us)
    return np.array([_one_us(ts) for ts in told], np.int64)


def _from_milliseconds(told: "list[Any]") -> NDArray[np.int64]:
    try:
        ts_ms = np.array(told, np.int64)
    except OverflowError:
        return np.array([_one_us(ts) for ts in told], np.int64)
    return np.where((ts_ms < 0) | (ts_ms > MAX_TS_MS), _IMPOSSIBLE, np.clip(ts_ms, 0, MAX_TS_MS) * 1000)


def _one_us(ts: "datetime | float | int | None") -> int:
    """Microseconds since the epoch, exact."""
    if ts is None:
        return ABSENT
    if isinstance(ts, datetime):
        since = ts - EPOCH
        ts_us = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        return ts_us if 0 <= ts_us <= MAX_TS_US else _IMPOSSIBLE
    return round(ts * 1000) if 0 <= ts <= MAX_TS_MS else _IMPOSSIBLE


def _numbers(told: list[int | None]) -> NDArray[np.int64]:
    return np.array([ABSENT if seq is None else seq for seq in told] if None in told else told, np.int64)


def _told(firmware: list[str | None]) -> dict[int, str]:
    return {position: text for position, text in enumerate(firmware) if text} if any(firmware) else {}


def _without(columns: ReadingColumns, left: frozenset[int]) -> ReadingColumns:
    """The columns without the readings of some payloads, which are left."""
    keep = ~np.isin(columns.payload, list(left))
    position = np.cumsum(keep) - 1
    return ReadingColumns(
        payload=columns.payload[keep],
        element=columns.element[keep],
        ts_us=columns.ts_us[keep],
        seq=columns.seq[keep],
        firmware={int(position[was]): text for was, text in columns.firmware.items() if keep[was]},
        values=columns.values[keep],
        left=sorted({*columns.left, *left}),
    )
