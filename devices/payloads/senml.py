"""The codec `senml+json` (also `senml`): Sensor Measurement Lists, RFC 8428, and what both its forms share.

A pack is resolved as section 4.6 says: base fields are added to the records after them. Records of one time make one
reading; the metric is the record's name without the base name, unless the pack tells of several things: then it bears
theirs too. Values that are text or data become events.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, TypeVar, cast

from devices.errors import QuarantineReason, Rejected
from devices.payloads.codec import MAX_TS_US, Bad, DecodedEvent, DecodedReading
from devices.payloads.dialect import Message, Said, Translation
from devices.payloads.elements import elements
from devices.payloads.naming import metric_name
from devices.payloads.storable import kind, must_be_text, shown
from devices.payloads.values import Values

_RELATIVE_BELOW_S: Final = 2**28  # RFC 8428, section 4.5.3
_VERSION: Final = 10
_MOST_NAMED: Final = 3  # faults of records that a detail tells one by one
_LONGEST_DETAIL: Final = 240

_KNOWN: Final = frozenset(
    {"bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"},
)
_VALUES: Final = ("v", "vb", "vs", "vd")

Record = Mapping[str, object]
_Decoded = TypeVar("_Decoded", DecodedReading, DecodedEvent)


@dataclass(slots=True)
class _Base:
    """The base fields in force."""

    tells_of: "_Things"
    name: str = ""
    time_s: Decimal = Decimal(0)
    value: float = 0.0
    sum: float | None = None


@dataclass(slots=True)
class Moment:
    """What was told at one time; a metric that is told again begins another reading, and the store judges the two."""

    values: list[Values] = field(default_factory=list[Values])
    told: dict[str, int] = field(default_factory=dict[str, int])  # how often each metric was, so far

    def add(self, new: Values) -> None:
        """Add what a record has told."""
        names = (*new.metrics, *new.others)
        at = max((self.told.get(name, 0) for name in names), default=0)
        if at == len(self.values):
            self.values.append(Values())
        self.values[at].metrics.update(new.metrics)
        self.values[at].others.update(new.others)
        self.values[at].firmware = new.firmware or self.values[at].firmware
        self.told.update(dict.fromkeys(names, at + 1))


@dataclass(slots=True)
class Pack:
    """A resolved pack: what was measured and said at each time, and the faults of single records."""

    moments: "dict[int | None, Moment]" = field(default_factory=dict[int | None, Moment])
    faults: list[Rejected] = field(default_factory=list[Rejected])

    def readings(self) -> list[DecodedReading]:
        """In the order in which the pack first names their times."""
        found = [values.reading(ts_us) for ts_us, moment in self.moments.items() for values in moment.values]
        return [reading for reading in found if reading is not None]

    def events(self) -> list[DecodedEvent]:
        """In the same order."""
        return [
            event
            for ts_us, moment in self.moments.items()
            for values in moment.values
            for event in values.events(ts_us)
        ]

    def bad(self, payload: bytes) -> list[Bad]:
        """The records that cannot be read, together with the pack, without which they say nothing."""
        if not self.faults:
            return []
        told = "; ".join(fault.detail for fault in self.faults[:_MOST_NAMED])
        more = len(self.faults) - _MOST_NAMED
        detail = f"{told} (and {more} more records)" if more > 0 else told
        return [Bad(payload, QuarantineReason(self.faults[0].reason), detail[:_LONGEST_DETAIL])]


class SenmlCodec:
    """Decodes SenML in JSON; see the module."""

    name: str = "senml+json"
    topics: Sequence[str] = ()
    answers: Sequence[str] = ()

    def decode_readings(self, payload: bytes) -> Sequence[DecodedReading | Bad]:
        """Readings; a relative time other than now cannot be read without the time of receipt."""
        return self._decode(payload, Pack.readings)

    def decode_events(self, payload: bytes) -> Sequence[DecodedEvent | Bad]:
        """Records whose value is text or data."""
        return self._decode(payload, Pack.events)

    def translate(self, message: Message) -> Translation:
        """Readings and events of the topic's device, relative times counted from the receipt."""
        try:
            pack = resolve(self.parse(message.payload), message.received_us, message.device_id)
        except Rejected as rejected:
            return Translation(bad=[_whole(message.payload, rejected)])
        said = Said(message.device_id, pack.readings(), pack.events())
        return Translation([said] if said.readings or said.events else [], pack.bad(message.payload))

    def parse(self, payload: bytes) -> Sequence[object]:
        """The records as they stand. Raises Rejected."""
        return [element.value for element in elements(payload)]

    def _decode(self, payload: bytes, take: Callable[[Pack], list[_Decoded]]) -> list[_Decoded | Bad]:
        try:
            pack = resolve(self.parse(payload), None)
        except Rejected as rejected:
            return [_whole(payload, rejected)]
        return [*take(pack), *pack.bad(payload)]


def _whole(payload: bytes, rejected: Rejected) -> Bad:
    return Bad(payload, QuarantineReason(rejected.reason), rejected.detail)


def resolve(records: Sequence[object], received_us: int | None, device_id: str = "") -> Pack:
    """Resolve a pack. Raises Rejected where the pack as a whole cannot be read."""
    pack, base = Pack(), _Base(_Things(records, device_id))
    for number, record in enumerate(records, 1):
        if not isinstance(record, Mapping):
            raise Rejected(QuarantineReason.MALFORMED, f"record {number} is {kind(record)}, not an object")
        fields = cast("Record", record)
        _take_base(base, fields, number)
        try:
            _take_record(pack, base, fields, received_us)
        except Rejected as rejected:
            reason = QuarantineReason(rejected.reason)
            pack.faults.append(Rejected(reason, f"record {number}: {rejected.detail}"))
    return pack


def _take_base(base: _Base, record: Record, number: int) -> None:
    """Put a record's base fields in force; a fault in one of them spoils everything after it."""
    unknown = [name for name in record if name.endswith("_") and name not in _KNOWN]
    if unknown:
        detail = f"record {number}: {shown(unknown[0])} must be understood, and is not (RFC 8428, section 4.4)"
        raise Rejected(QuarantineReason.MALFORMED, detail)
    try:
        _check_version(record.get("bver"))
        if "bn" in record:
            base.name = _text("bn", record["bn"])
        if "bt" in record:
            base.time_s = _time_s("bt", record["bt"])
        if "bv" in record:
            base.value = _number("bv", record["bv"])
        if "bs" in record:
            base.sum = _number("bs", record["bs"])
    except Rejected as rejected:
        raise Rejected(QuarantineReason(rejected.reason), f"record {number}: {rejected.detail}") from rejected


def _check_version(version: object) -> None:
    if version is not None and not 0 < _number("bver", version) <= _VERSION:
        raise Rejected(QuarantineReason.MALFORMED, f"bver is {shown(str(version))}; up to {_VERSION} is known")


def _take_record(pack: Pack, base: _Base, record: Record, received_us: int | None) -> None:
    given = [name for name in _VALUES if record.get(name) is not None]
    if len(given) > 1:
        raise Rejected(QuarantineReason.WRONG_TYPE, f"has {' and '.join(given)}; one value is allowed")
    if not given and record.get("s") is None:
        if "n" in record or "t" in record:
            raise Rejected(QuarantineReason.MALFORMED, "has no value")
        return  # base fields alone
    name = _name(base, record)
    offset = record.get("t")
    ts_us = _ts_us(base.time_s if offset is None else base.time_s + _time_s("t", offset), received_us)
    values = Values()
    if given:
        values.put(name, _value(given[0], record[given[0]], base))
    if (total := _sum(base, record)) is not None:
        values.put(f"{name}_sum", total)
    pack.moments.setdefault(ts_us, Moment()).add(values)


class _Things:
    """What a pack tells of, by its base names; where that is more than one thing, a metric's name has to say which."""

    def __init__(self, records: Sequence[object], device_id: str) -> None:
        self._own = device_id
        found: set[str] = set()
        base_name: object = ""
        for record in records:
            if not isinstance(record, Mapping):
                continue
            fields = cast("Record", record)
            base_name = fields.get("bn", base_name)
            if isinstance(base_name, str) and any(fields.get(name) is not None for name in (*_VALUES, "s")):
                found.add(_thing_and_part(base_name, is_named=bool(fields.get("n")))[0])
        self._are_several = len(found) > 1

    def named(self, thing: str, name: str) -> str:
        """A metric's name; the device that sends the pack need not be told apart."""
        if not self._are_several or not thing or _last(thing)[1] == self._own:
            return name
        return f"{metric_name(thing)}_{name}"


def _last(text: str) -> tuple[str, str]:
    """Without the last part, and the last part."""
    head, _, last = text.rpartition(":")
    return head, last


def _thing_and_part(base_name: str, *, is_named: bool) -> tuple[str, str]:
    """The thing that a record tells of, and, where it has no name, the part of the thing."""
    whole = base_name.rstrip(":/.").replace("/", ":")
    return (whole, "") if is_named else _last(whole)


def _name(base: _Base, record: Record) -> str:
    """The record's own name; where it has none, the last part of the base name."""
    told = _text("n", record.get("n", ""))
    thing, part = _thing_and_part(base.name, is_named=bool(told))
    name = told or part
    if not name:
        raise Rejected(QuarantineReason.MALFORMED, "has no name")
    return base.tells_of.named(thing, name)


def _sum(base: _Base, record: Record) -> float | None:
    """Of base sum and sum, one that is missing is zero (section 4.5.4); None where both are."""
    told = record.get("s")
    if told is None:
        return base.sum
    return _number("s", told) + (base.sum or 0.0)


def _value(name: str, value: object, base: _Base) -> object:
    match name:
        case "v":
            return _number("v", value) + base.value
        case "vb":
            if not isinstance(value, bool):
                raise Rejected(QuarantineReason.WRONG_TYPE, f"vb is {kind(value)}, not a boolean")
            return value
        case _:
            return _text(name, value)


def _ts_us(time_s: Decimal, received_us: int | None) -> int | None:
    """Microseconds since the epoch; None for now."""
    if time_s >= _RELATIVE_BELOW_S:
        ts_us = round(time_s * 1_000_000)
    elif not time_s:
        return None
    elif received_us is None:
        raise Rejected(QuarantineReason.BAD_TIMESTAMP, "a time relative to now needs the time of receipt")
    else:
        ts_us = received_us + round(time_s * 1_000_000)
    if not 0 <= ts_us <= MAX_TS_US:
        raise Rejected(QuarantineReason.BAD_TIMESTAMP, f"the time {shown(str(time_s))} s is not from 1970 to 9999")
    return ts_us


def _time_s(name: str, value: object) -> Decimal:
    """Exact, as far as the number that was sent is: seconds with microseconds do not fit sums of floats."""
    number = _number(name, value)
    if abs(number) > MAX_TS_US / 1e6:
        raise Rejected(QuarantineReason.BAD_TIMESTAMP, f"{name} is {number:g} s, not from 1970 to 9999")
    return Decimal(repr(value)) if isinstance(value, int | float) else Decimal(repr(number))


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Rejected(QuarantineReason.WRONG_TYPE, f"{name} is {kind(value)}, not a number")
    try:
        number = float(value)
    except (OverflowError, ValueError):  # beyond every float; a signalling NaN
        number = math.nan
    if not math.isfinite(number):
        raise Rejected(QuarantineReason.NOT_A_NUMBER, f"{name} is no finite number")
    return number


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise Rejected(QuarantineReason.WRONG_TYPE, f"{name} is {kind(value)}, not a string")
    must_be_text(value)
    return value
