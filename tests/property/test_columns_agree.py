"""Decoding many payloads at once says exactly what decoding them one by one says, whatever stands among them."""

import json
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import groupby
from typing import Any, cast

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devices.payloads import Bad, DecodedEvent, DecodedReading
from devices.payloads.columnar import ABSENT, ColumnDecoder, ReadingColumns
from devices.payloads.compiled_columns import CompiledColumns
from devices.payloads.json import JsonCodec
from devices.payloads.json_columns import JsonColumns
from gateway.intake import Mixed, Packet, Route
from gateway.pipeline.batch import Batch
from gateway.pipeline.decode import decode_batch
from gateway.pipeline.packets import Packets, bunches_of, unmixed
from tests.ingest.decoding import DEVICES, sources
from tests.ingest.rig import NOW_S, Door

CODEC = JsonCodec()
METRICS = ("celsius", "boils", "Wasser °C", 'said "so"', "m0")

NAMES = st.sampled_from([*METRICS, "unknown", "", "celsius\0"])
VALUES = st.floats(-50, 200) | st.integers(-(2**70), 2**70) | st.booleans() | st.none() | st.just("1.5")
STAMPS: st.SearchStrategy[object] = st.sampled_from(
    [
        *(None, 0, -1, 1_760_000_000_123, 1_760_000_000_123.456, 253_402_300_799_999, 253_402_300_800_000, 2**63),
        *("2026-03-01T10:00:00Z", "2026-03-01T10:00:00.123456+05:30", "1969-12-31T23:59:59.5Z"),
        *("2045-06-07T08:09:10.000001Z", "2026-03-01", "", True, NOW_S * 1000, 86_400_000 + NOW_S * 1000),
    ]
)
OTHERS: list[object] = [1, "}\n{", {"metrics": {}}, [[{}]]]
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "ts": STAMPS,
    "seq": st.none() | st.integers(-2, 2**64) | st.just(1.0),
    "firmware": st.sampled_from([None, "", "1.0", "2.0", "x" * 129, 5]),
    "other": st.sampled_from(OTHERS),
}
READINGS = st.fixed_dictionaries({"metrics": st.dictionaries(NAMES, VALUES, max_size=4)}, optional=FIELDS)
PLAIN = st.fixed_dictionaries(
    {"metrics": st.dictionaries(st.sampled_from(METRICS[:3]), st.floats(0, 100), max_size=3)},
    optional={"ts": st.integers(0, 2 * 10**12), "seq": st.integers(0, 9), "firmware": st.sampled_from(["1.0", "2.0"])},
)


def as_bytes(told: object, form: int) -> bytes:
    """JSON in one of its forms."""
    return json.dumps(told, ensure_ascii=form != 1, indent=1 if form == 2 else None).encode()


WHOLE = st.builds(as_bytes, READINGS | PLAIN, st.integers(0, 2))
ARRAYS = st.builds(as_bytes, st.lists(PLAIN | READINGS, max_size=4), st.just(0))
# What is only JSON together with its neighbours, and what holds more than one value.
PIECES = st.sampled_from(
    [
        *(b"", b" ", b"{", b"}", b"[", b"]", b"{}", b"[]", b"null", b"{}{}", b"\n", b'{"metrics":{}', b"\xff"),
        *(b'{"metrics":{}}{"metrics":{}}', b'{"metrics":{}}\n{"metrics":{}}', b'{"metrics":{},"other":{}', b"{}}"),
        *(b'{"metrics":{},"other":"}', b'{","q":1}{"metrics":{}}', b'{"metrics":{},"other":[{}', b'{}],"q":{}}'),
        *(b' {"metrics":{"boils":1}}\r\n', b'\x0b{"metrics":{}}', b'{"metrics":{"boils":1e400}}', b"{\x00}"),
        *(b'{"metrics":{"boils":1},"metrics":{}}', b'{"metrics":{"boils":1,"boils":null}}', b'{"metrics":{"a":NaN}}'),
        *(b'{"metrics":{"\\u0062oils":1}}', b'{"metrics":{},"firmware":"\\u0000"}', b'{"metrics":{},"x":"\xff"}'),
        b'{"x":' * 2000,
    ]
)
PAYLOADS = st.lists(WHOLE | ARRAYS | PIECES | st.binary(max_size=8), max_size=12)


class OneByOne:
    """The codec without its other capability."""

    name = "json"

    def decode_readings(self, payload: bytes) -> Sequence[DecodedReading | Bad]:
        """As the codec does."""
        return CODEC.decode_readings(payload)

    def decode_events(self, payload: bytes) -> Sequence[DecodedEvent | Bad]:
        """As the codec does."""
        return CODEC.decode_events(payload)


def as_told(found: ReadingColumns, position: int) -> tuple[object, ...]:
    row = zip(METRICS, found.values[position].tolist(), strict=True)
    metrics = {name: value for name, value in row if not math.isnan(value)}
    ts_us, seq = int(found.ts_us[position]), int(found.seq[position])
    return (
        None if ts_us == ABSENT else ts_us,
        None if seq == ABSENT else seq,
        found.firmware.get(position),
        metrics,
    )


@given(PAYLOADS)
@example([b'{"metrics":{},"other":{}', b'{"metrics":{}}', b'}{"metrics":{}}{"metrics":{}}'])
@example([b'{"metrics":{},"other":"}', b'{","q":1}{"metrics":{}}'])
@example([b'{"metrics":{}}', b'{"metrics":{}}{"metrics":{}}', b'{"metrics":', b"{}}"])
@settings(max_examples=150)
def test_columns_say_what_the_codec_says(payloads: list[bytes]) -> None:
    must_say_what_the_codec_says(JsonColumns(METRICS), payloads)
    must_say_what_the_codec_says(compiled(), payloads)


def compiled() -> ColumnDecoder:
    decoder = CODEC.column_decoder(METRICS)
    assert isinstance(decoder, CompiledColumns), "python scripts/build_native.py, which needs a C compiler (cc)"
    return decoder


def must_say_what_the_codec_says(decoder: ColumnDecoder, payloads: list[bytes]) -> None:
    found = decoder.decode(payloads)
    assert list(found.left) == sorted(set(found.left))
    positions: dict[int, list[int]] = {}
    for position, payload in enumerate(found.payload.tolist()):
        positions.setdefault(payload, []).append(position)
    assert positions.keys().isdisjoint(found.left)
    assert found.payload.tolist() == sorted(found.payload.tolist())
    for number, payload in enumerate(payloads):
        if number in found.left:
            continue
        places = positions.get(number, [])
        assert [int(found.element[position]) for position in places] == list(range(len(places)))
        told = [
            (one.ts_us, one.seq, one.firmware, one.metrics) if isinstance(one, DecodedReading) else one
            for one in CODEC.decode_readings(payload)
        ]
        assert [as_told(found, position) for position in places] == told


@given(st.lists(PLAIN, max_size=200), st.integers(0, 200))
def test_only_what_does_not_fit_is_left(told: list[object], at: int) -> None:
    payloads = [json.dumps(one, ensure_ascii=False).encode() for one in told]
    plain = [payload.isascii() for payload in payloads]
    place = min(at, len(payloads))
    payloads.insert(place, b"garbage")
    plain.insert(place, False)
    for decoder in (JsonColumns(METRICS), compiled()):
        found = decoder.decode(payloads)
        assert list(found.left) == [number for number, is_plain in enumerate(plain) if not is_plain]


NUMBERS = st.one_of(
    *(st.floats(allow_nan=False, allow_infinity=False).map(repr), st.integers(-(2**70), 2**70).map(str)),
    st.from_regex(r"-?(0|[1-9][0-9]{0,21})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["-0", "-0.0", "0e9", "01", "1.", ".5", "+1", "1e", "1e+", "--1", "1e999", "5e-324", "0x1", "NaN"]),
)
DATES = st.one_of(
    st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
    st.from_regex(
        r"(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,7})?"
        r"(Z|z|[+-][0-2][0-9]:[0-6][0-9])?",
        fullmatch=True,
    ),
    st.sampled_from(["1970-01-01T00:00:00Z", "2000-02-29T23:59:59.5+23:59", "2100-02-29T00:00:00Z"]),
)


@given(NUMBERS, NUMBERS | DATES.map('"{}"'.format), NUMBERS, st.integers(0, 200))
@settings(max_examples=150)
def test_numbers_and_dates_are_read_to_the_last_bit(value: str, ts: str, seq: str, cut: int) -> None:
    forms = [
        f'{{"metrics":{{"celsius":{value}}}}}',
        f'{{ "ts" : {ts} , "metrics" : {{ "boils" : true, "celsius" : {value} }}, "firmware":"1.0" }}',
        f'{{"seq":{seq},"metrics":{{}},"firmware":""}}',
        f'{{"ts":{ts},"seq":1,"metrics":{{"celsius":null}}}}',
    ]
    payloads = [form.encode() for form in forms]
    must_say_what_the_codec_says(compiled(), [*payloads, *(payload[:cut] for payload in payloads)])


@given(st.lists(PLAIN, min_size=1, max_size=3), st.data())
@settings(max_examples=200)
def test_a_damaged_payload_is_read_as_the_codec_reads_it(told: list[object], data: st.DataObject) -> None:
    payloads = [json.dumps(one, ensure_ascii=False).encode() for one in told]
    damaged = bytearray(payloads[0])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    must_say_what_the_codec_says(compiled(), [bytes(damaged), *payloads[1:]])


ROUTES = st.sampled_from([Route.TELEMETRY] * 6 + [Route.EVENTS, Route.STATUS, Route.UNKNOWN])
PACKETS = st.lists(
    st.tuples(
        st.sampled_from([*DEVICES, "k1", "k2", "stranger"]),
        ROUTES,
        WHOLE | ARRAYS | PIECES | st.builds(json.dumps, PLAIN).map(str.encode),
        st.sampled_from([NOW_S, NOW_S + 0.1]),
    ),
    max_size=12,
)


def must_be_equal(one: Batch, other: Batch) -> None:
    assert list(one.packets) == list(other.packets)
    for name in ("events", "statuses", "refused", "firmware", "unprofiled"):
        assert getattr(one, name) == getattr(other, name), name
    assert len(one.readings) == len(other.readings)
    for ours, theirs in zip(one.readings, other.readings, strict=True):
        assert [*map(ours.device_id, range(len(ours)))] == [*map(theirs.device_id, range(len(theirs)))]
        for column in fields(ours):
            if column.name in {"device", "device_ids"}:  # the order in which devices were met does not matter
                continue
            left: object = getattr(ours, column.name)
            right: object = getattr(theirs, column.name)
            if isinstance(left, np.ndarray):
                np.testing.assert_array_equal(cast("Any", left), right, column.name)
                assert cast("Any", left).dtype == cast("Any", right).dtype, column.name
            else:
                assert left == right, column.name


def mixed_of(packets: list[Packet]) -> list[Mixed]:
    """Packets as the door of a broker hands them on: alike in what they carry, of whatever device."""
    pieces: list[Mixed] = []
    for (route, received_s), some in groupby(packets, lambda packet: (packet.route, packet.received_s)):
        origins, tokens, _, device_ids, topics, payloads, _, codecs = zip(*some, strict=True)
        pieces.append(Mixed(origins[0], route, device_ids, topics, codecs[0], received_s, tokens, payloads))
    assert [*Packets(pieces)] == packets
    assert [*Packets([bunch for piece in pieces for bunch in unmixed(piece)])] == packets
    return pieces


@given(st.lists(PACKETS, min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_batches_are_the_same_either_way(batches: list[list[tuple[str, Route, bytes, float]]]) -> None:
    together, mixed, apart = sources(CODEC), sources(CODEC), sources(OneByOne())
    for told in batches:
        door = Door()
        packets = [
            Packet(door, number, route, device_id, f"devices/{device_id}/{route.name}", payload, received_s, "json")
            for number, (device_id, route, payload, received_s) in enumerate(told)
        ]
        bunches, pieces = bunches_of(packets), mixed_of(packets)
        one_by_one = decode_batch(apart, bunches, NOW_S)
        must_be_equal(decode_batch(together, bunches, NOW_S), one_by_one)
        must_be_equal(decode_batch(mixed, pieces, NOW_S), one_by_one)
        assert together.firmware == mixed.firmware == apart.firmware


class Failing(OneByOne):
    """A codec whose columns break every promise, each time another one."""

    def __init__(self) -> None:
        self.times = 0

    def column_decoder(self, metrics: Sequence[str]) -> "Failing":
        """A bad one."""
        del metrics
        return self

    def decode(self, payloads: Sequence[bytes]) -> ReadingColumns:
        """Something else each time."""
        self.times += 1
        good = JsonColumns(("celsius", "boils")).decode(payloads)
        match self.times % 4:
            case 0:
                raise RuntimeError
            case 1:
                return replace(good, values=good.values[:, :1])
            case 2:
                return replace(good, ts_us=np.full_like(good.ts_us, -5))
            case _:
                return replace(good, payload=good.payload + np.int32(1))


def test_a_codec_whose_columns_break_its_promises_is_taken_one_by_one() -> None:
    failing, apart = sources(Failing()), sources(OneByOne())
    payload = b'{"ts":1760000000000,"metrics":{"celsius":1,"boils":2}}'
    for number in range(8):
        packet = Packet(Door(), number, Route.TELEMETRY, f"k{number % 2 + 1}", "t", payload, NOW_S, "json")
        failing.decoders._apart.clear()  # pyright: ignore[reportPrivateUsage] - each one is tried
        bunches = bunches_of([packet])
        must_be_equal(decode_batch(failing, bunches, NOW_S), decode_batch(apart, bunches, NOW_S))
