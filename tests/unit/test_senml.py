"""SenML, by the examples of RFC 8428 and beside them."""

import json
from base64 import urlsafe_b64encode
from decimal import Decimal

import cbor2
import pytest

from devices.errors import QuarantineReason
from devices.payloads import Bad, DecodedEvent, DecodedReading
from devices.payloads.dialect import Message, Translation
from devices.payloads.senml import SenmlCodec
from devices.payloads.senml_cbor import SenmlAnyCodec, SenmlCborCodec

NOW_US = 1_760_000_000_000_000
LABELS = {name: number for number, name in enumerate(("n", "u", "v", "vs", "vb", "s", "t", "ut", "vd"))} | {
    name: -1 - number for number, name in enumerate(("bver", "bn", "bt", "bu", "bv", "bs"))
}


def in_cbor(pack: list[dict[str, object]]) -> bytes:
    return cbor2.dumps([{LABELS.get(name, name): value for name, value in record.items()} for record in pack])


def translate(codec: SenmlCodec, payload: bytes) -> Translation:
    return codec.translate(Message("plant/d1/senml", payload, "d1", NOW_US))


def both(pack: list[dict[str, object]]) -> Translation:
    """What a pack says, which is the same in both forms but for the bytes of what cannot be read."""
    in_json = translate(SenmlAnyCodec(), json.dumps(pack).encode())
    other = translate(SenmlAnyCodec(), in_cbor(pack))
    assert other.said == in_json.said
    assert [(bad.reason, bad.detail) for bad in other.bad] == [(bad.reason, bad.detail) for bad in in_json.bad]
    return in_json


def readings(pack: list[dict[str, object]]) -> list[tuple[int | None, dict[str, float]]]:
    translation = both(pack)
    assert translation.bad == []
    return [(reading.ts_us, dict(reading.metrics)) for said in translation.said for reading in said.readings]


def reason(pack: list[dict[str, object]]) -> QuarantineReason:
    (bad,) = both(pack).bad
    return bad.reason


def test_a_single_datapoint_is_now() -> None:  # section 5.1.1
    assert readings([{"n": "urn:dev:ow:10e2073a01080063", "u": "Cel", "v": 23.1}]) == [
        (None, {"urn:dev:ow:10e2073a01080063": 23.1})
    ]


def test_multiple_datapoints_share_base_fields() -> None:  # section 5.1.2, shortened
    pack: list[dict[str, object]] = [
        {"bn": "urn:dev:ow:10e2073a0108006:", "bt": 1.276020076001e9, "bu": "A", "bver": 5},
        {"n": "voltage", "u": "V", "v": 120.1},
        {"n": "current", "t": -5, "v": 1.2},
        {"n": "current", "t": -4, "v": 1.3},
        {"n": "current", "v": 1.7},
    ]
    at_us = 1_276_020_076_001_000
    assert readings(pack) == [
        (at_us, {"voltage": 120.1, "current": 1.7}),
        (at_us - 5_000_000, {"current": 1.2}),
        (at_us - 4_000_000, {"current": 1.3}),
    ]


def test_different_data_types() -> None:  # section 5.1.4
    pack: list[dict[str, object]] = [
        {"bn": "urn:dev:ow:10e2073a01080063:", "n": "temp", "u": "Cel", "v": 23.1},
        {"n": "label", "vs": "Machine Room"},
        {"n": "open", "vb": False},
        {"n": "nfc-reader", "vd": "aGkgCg"},
    ]
    (said,) = both(pack).said
    assert said.readings == [DecodedReading(None, None, None, {"temp": 23.1, "open": 0.0})]
    assert said.events == [
        DecodedEvent(None, None, "label", b'{"value":"Machine Room"}'),
        DecodedEvent(None, None, "nfc-reader", b'{"value":"aGkgCg"}'),
    ]


def test_the_rfc_s_cbor_bytes() -> None:  # section 6
    payload = bytes.fromhex(
        "87a721781b75726e3a6465763a6f773a31306532303733613031303830303"
        "63a22fb41d303a15b00106223614120050067766f6c746167650161"
        "5602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a3006763757272656e74062302fb3ff4cccccccccccd"
        "a3006763757272656e74062202fb3ff6666666666666a3006763757272656e74062102f93e00"
        "a3006763757272656e74062002fb3ff999999999999aa3006763757272656e74060002fb3ffb333333333333"
    )
    (said,) = translate(SenmlCborCodec(), payload).said
    at_us = 1_276_020_076_001_000
    assert [(reading.ts_us, dict(reading.metrics)) for reading in said.readings] == [
        (at_us, {"voltage": 120.1, "current": 1.7}),
        *(
            (at_us - 1_000_000 * ago, {"current": value})
            for ago, value in zip(range(5, 0, -1), (1.2, 1.3, 1.4, 1.5, 1.6), strict=True)
        ),
    ]


@pytest.mark.parametrize(
    ("t", "ts_us"),
    [
        (0, None),
        (-60, NOW_US - 60_000_000),
        (-0.5, NOW_US - 500_000),
        (30, NOW_US + 30_000_000),
        (2**28 - 1, NOW_US + (2**28 - 1) * 1_000_000),
        (2**28, 2**28 * 1_000_000),
        (1_760_000_000.123456, 1_760_000_000_123_456),
    ],
)
def test_times_below_2_to_28_are_relative_to_now(t: float, ts_us: int | None) -> None:
    assert readings([{"n": "a", "v": 1, "t": t}]) == [(ts_us, {"a": 1.0})]


def test_base_value_and_sum() -> None:
    pack: list[dict[str, object]] = [
        {"bv": 100, "bs": 10, "n": "a", "v": 1},
        {"n": "b", "v": 2, "s": 5},
        {"n": "c", "s": 1},
    ]
    told = {"a": 101.0, "a_sum": 10.0, "b": 102.0, "b_sum": 15.0, "c_sum": 11.0}
    assert readings(pack) == [(None, told)]


@pytest.mark.parametrize(
    ("base", "record", "total"), [({}, {"s": 3}, 3.0), ({"bs": 10}, {"v": 1}, 10.0), ({"bs": 0}, {"v": 1}, 0.0)]
)
def test_of_base_sum_and_sum_the_one_that_is_missing_is_zero(
    base: dict[str, object], record: dict[str, object], total: float
) -> None:
    ((_, told),) = readings([base, {"n": "a", **record}])
    assert told["a_sum"] == total


def test_without_base_sum_and_sum_there_is_no_sum() -> None:
    assert readings([{"bv": 100, "n": "a", "v": 1}]) == [(None, {"a": 101.0})]


def test_a_base_sum_makes_no_value_of_a_record_without_one() -> None:
    assert reason([{"bs": 10}, {"n": "a"}]) is QuarantineReason.MALFORMED


def test_a_record_without_a_name_bears_the_base_name_s_last_part() -> None:
    assert readings([{"bn": "urn:dev:mac:0024befffe804ff1/temp", "v": 1}]) == [(None, {"temp": 1.0})]


def test_a_pack_of_several_things_says_whose_each_value_is() -> None:  # the RFC's collection of resources
    pack: list[dict[str, object]] = [
        {"bn": "2001:db8::2/", "bt": 1.320078429e9, "n": "temperature", "u": "Cel", "v": 25.2},
        {"n": "humidity", "u": "%RH", "v": 30},
        {"bn": "2001:db8::1/", "n": "temperature", "u": "Cel", "v": 12.3},
        {"n": "humidity", "u": "%RH", "v": 67},
    ]
    told = {
        "2001_db8_2_temperature": 25.2,
        "2001_db8_2_humidity": 30.0,
        "2001_db8_1_temperature": 12.3,
        "2001_db8_1_humidity": 67.0,
    }
    assert readings(pack) == [(1_320_078_429_000_000, told)]


def test_what_the_device_of_the_topic_says_of_itself_keeps_its_names_beside_others() -> None:
    pack: list[dict[str, object]] = [
        {"bn": "urn:dev:d1:", "n": "temp", "v": 1},
        {"bn": "urn:dev:d2:", "n": "temp", "v": 2},
        {"bn": "urn:dev:d1:humidity", "v": 3},
        {"bn": "", "n": "temp3", "v": 4},
    ]
    assert readings(pack) == [(None, {"temp": 1.0, "urn_dev_d2_temp": 2.0, "humidity": 3.0, "temp3": 4.0})]


@pytest.mark.parametrize("name", ["urn:dev:x:", "plant/1/", "plant/1:"])
def test_parts_of_one_thing_are_no_several_things(name: str) -> None:
    pack: list[dict[str, object]] = [{"bn": f"{name}temp", "v": 1}, {"bn": f"{name}humidity", "v": 2}]
    assert readings(pack) == [(None, {"temp": 1.0, "humidity": 2.0})]
    assert readings([{"bn": name, "n": "temp", "v": 1}, pack[1]]) == [(None, {"temp": 1.0, "humidity": 2.0})]


def test_a_second_value_of_one_metric_is_left_to_the_store() -> None:
    assert readings([{"n": "a", "v": 1}, {"n": "a", "v": 2}]) == [(None, {"a": 1.0}), (None, {"a": 2.0})]


def test_what_a_record_does_not_know_is_let_pass_but_not_what_must_be_understood() -> None:
    assert readings([{"n": "a", "v": 1, "future": 7}]) == [(None, {"a": 1.0})]
    assert reason([{"n": "a", "v": 1}, {"n": "b", "v": 1, "future_": 7}]) is QuarantineReason.MALFORMED


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"n": "a", "v": "high"}, QuarantineReason.WRONG_TYPE),
        ({"n": "a", "vb": 1}, QuarantineReason.WRONG_TYPE),
        ({"n": "a", "vs": 1}, QuarantineReason.WRONG_TYPE),
        ({"n": "a", "v": 1, "vs": "b"}, QuarantineReason.WRONG_TYPE),
        ({"n": "a"}, QuarantineReason.MALFORMED),
        ({"v": 1}, QuarantineReason.MALFORMED),
        ({"n": "a\0", "v": 1}, QuarantineReason.MALFORMED),
        ({"n": "a", "v": 1, "t": 1e12}, QuarantineReason.BAD_TIMESTAMP),
        ({"n": "a", "v": 1, "t": "now"}, QuarantineReason.WRONG_TYPE),
    ],
)
def test_a_wrong_record_costs_itself(record: dict[str, object], expected: QuarantineReason) -> None:
    translation = both([{"n": "good", "v": 1}, record])
    (said,) = translation.said
    assert [dict(reading.metrics) for reading in said.readings] == [{"good": 1.0}]
    (bad,) = translation.bad
    assert bad.reason is expected
    assert bad.detail.startswith("record 2: ")


@pytest.mark.parametrize(
    "record", [{"bver": 11}, {"bver": 0}, {"bt": "x"}, {"bn": 5}, {"bv": None, "bt": True}, {"bs": [1]}]
)
def test_a_wrong_base_field_spoils_the_pack(record: dict[str, object]) -> None:
    translation = both([{"n": "good", "v": 1}, record])
    assert not translation.said
    assert len(translation.bad) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number(value: float) -> None:
    assert reason([{"n": "a", "v": value}]) is QuarantineReason.NOT_A_NUMBER


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Decimal("23.1"), 23.1),
        (cbor2.CBORTag(4, [-1, 231]), 23.1),
        (cbor2.CBORTag(4, [1_000_000_000, 1]), None),
        (cbor2.CBORTag(4, [10**18, 1]), None),
        (cbor2.CBORTag(4, [1]), None),
        (cbor2.CBORTag(5, [10**6, 3]), None),
        (2**64, None),  # a bignum
        (cbor2.CBORTag(35, "(a+)+b"), None),
        (cbor2.CBORTag(99_999, 1), None),
    ],
)
def test_of_cbor_s_tags_only_decimal_fractions_count(value: object, said: float | None) -> None:
    translation = translate(SenmlCborCodec(), cbor2.dumps([{0: "a", 2: value}]))
    found = [reading.metrics["a"] for one in translation.said for reading in one.readings]
    assert found == ([] if said is None else [said])
    assert len(translation.bad) == (said is None)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x81" * 100_000,
        b"\xc6" * 100_000,
        b"\xbf" * 100_000,
        b"\x9b\x00\x00\x00\x7f\xff\xff\xff\xff",
        b"\x5b\x00\x00\x00\x7f\xff\xff\xff\xffabc",
        b"\x7b\xff\xff\xff\xff\xff\xff\xff\xffabc",
        b"\xbb\x00\x00\x00\x7f\xff\xff\xff\xff",
        b"\x81\xa1\x02\xc2\x59\xff\xff" + b"\xff" * 65_535,
        bytes.fromhex("d81c81d81d00"),  # an array that holds itself
        bytes.fromhex("8001"),
        b"",
    ],
    ids=lambda payload: payload[:6].hex(),
)
def test_hostile_cbor_is_one_bad_thing(payload: bytes) -> None:
    (bad,) = SenmlCborCodec().decode_readings(payload)
    assert isinstance(bad, Bad)
    assert bad.raw == payload


def test_bytes_stand_as_text_in_both_forms() -> None:
    (said,) = translate(SenmlCborCodec(), cbor2.dumps([{0: "a", 8: b"\x00\xff"}])).said
    assert (
        said.events[0].data
        == json.dumps({"value": urlsafe_b64encode(b"\x00\xff").decode()}, separators=(",", ":")).encode()
    )


def test_a_payload_alone_knows_no_relative_times() -> None:
    (bad,) = SenmlCodec().decode_readings(b'[{"n":"a","v":1,"t":-5}]')
    assert isinstance(bad, Bad)
    assert bad.reason is QuarantineReason.BAD_TIMESTAMP
