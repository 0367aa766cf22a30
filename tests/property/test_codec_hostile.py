"""Whatever bytes come, however a valid payload is bent: no codec raises, or takes memory for what is not there."""

import json
import struct
import tracemalloc
from collections.abc import Sequence

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.payloads import Bad, Codec, load_codecs
from devices.payloads.codec import MAX_TS_US
from devices.payloads.dialect import Message, Translation, is_dialect
from devices.payloads.sparkplug.wire import bytes_field, varint_field

CODECS = load_codecs()
NOW_US = 1_760_000_000_000_000
MOST_BYTES = 4_000_000  # of memory at its height, for a payload of MOST_PAYLOAD
MOST_PAYLOAD = 8192

_METRIC = (
    bytes_field(1, b"a/b")
    + varint_field(2, 1)
    + varint_field(3, NOW_US // 1000)
    + varint_field(4, 10)
    + b"\x69"
    + bytes(8)
)
_TEMPLATE = bytes_field(1, b"t") + varint_field(4, 19) + bytes_field(18, bytes_field(2, _METRIC))
SPARKPLUG = varint_field(1, NOW_US // 1000) + bytes_field(2, _METRIC) + bytes_field(2, _TEMPLATE) + varint_field(3, 0)
_RECORDS = [
    {"bn": "urn:x:", "bt": 1.7e9, "n": "a", "v": 1.5, "s": 2},
    {"n": "b", "t": -5, "vs": "x"},
    {"n": "c", "vb": True},
]
_LABELS = {"bn": -2, "bt": -3, "n": 0, "v": 2, "s": 5, "t": 6, "vs": 3, "vb": 4}
JSONS = [
    _RECORDS,
    {"ts": 1_760_000_000_000, "values": {"a": 1, "b": "x", "c": [1, {"d": None}]}},
    {"dev-1": [{"ts": 1_760_000_000_000, "values": {"a": "1.5"}}], "dev-2": {"a": True}},
    {"Time": "2026-03-01T07:30:00", "AM2301": {"Temperature": 21.4}, "POWER": "ON"},
    [{"ts": "2026-03-01T07:30:00Z", "seq": 1, "firmware": "1", "metrics": {"a": 1}}],
]
SEEDS = [
    SPARKPLUG,
    cbor2.dumps([{_LABELS[name]: value for name, value in record.items()} for record in _RECORDS]),
    *(json.dumps(seed).encode() for seed in JSONS),
]
TOPICS = {
    "sparkplug": [f"spBv1.0/g/{kind}/e" for kind in ("NBIRTH", "NDATA", "NDEATH")]
    + [f"spBv1.0/g/{kind}/e/d" for kind in ("DBIRTH", "DDATA", "DDEATH")],
    "thingsboard": [
        *(f"v1/devices/me/{topic}" for topic in ("telemetry", "attributes", "rpc/request/1", "rpc/response/1")),
        *(f"v1/gateway/{topic}" for topic in ("telemetry", "attributes", "connect", "rpc", "attributes/request")),
    ],
}


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """A valid payload with a few of its bytes changed, cut out, doubled, or followed by others."""
    payload = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(len(payload) - 1, 0)))
        match draw(st.integers(0, 4)):
            case 0:
                payload[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                del payload[at : at + draw(st.integers(1, 8))]
            case 2:
                payload[at:at] = payload[at : at + draw(st.integers(1, 16))]
            case 3:
                payload[at:at] = b"\xff" * draw(st.integers(1, 9))  # lengths that are not there
            case _:
                payload += draw(st.binary(max_size=12))
    return bytes(payload)


def translations(codec: Codec, payload: bytes) -> Sequence[Translation]:
    if not is_dialect(codec):
        return []
    topics = TOPICS.get(codec.name, ["plant/d1/up"])
    return [codec.translate(Message(topic, payload, "d1", NOW_US)) for topic in topics]


def must_be_lawful(codec: Codec, payload: bytes) -> None:
    decoded = [*codec.decode_readings(payload), *codec.decode_events(payload)]
    assert all(bad.detail.isprintable() and len(bad.detail) <= 250 for bad in decoded if isinstance(bad, Bad))
    for translation in translations(codec, payload):
        assert all(bad.raw and bad.detail and bad.detail.isprintable() for bad in translation.bad) or not payload
        assert all(len(bad.detail) <= 250 for bad in translation.bad)
        for said in translation.said:
            for reading in said.readings:
                assert all(
                    name and "\0" not in name and abs(value) < float("inf") for name, value in reading.metrics.items()
                )
                assert reading.ts_us is None or 0 <= reading.ts_us <= MAX_TS_US
            for event in said.events:
                assert event.code
                assert len(event.code) <= 128
                assert event.data is None or (event.data.startswith(b"{") and b"\\u0000" not in event.data)


@pytest.mark.parametrize("name", sorted(CODECS))
@given(payload=bent() | st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_no_payload_breaks_a_codec(name: str, payload: bytes) -> None:
    must_be_lawful(CODECS[name], payload)


BOMBS = {
    "nested arrays": b"[" * MOST_PAYLOAD,
    "nested CBOR arrays": b"\x81" * MOST_PAYLOAD,
    "nested CBOR maps": b"\xa1\x61a" * (MOST_PAYLOAD // 3),
    "CBOR that declares 2^62 elements": b"\x9b\x3f" + b"\xff" * 7,
    "CBOR that declares 2^40 bytes": b"\x5b\x00\x00\x01\x00\x00\x00\x00\x00",
    "a CBOR bignum": b"\x81\xa2\x00\x61a\x02\xc2\x59\x1f\x00" + b"\xff" * 0x1F00,
    "CBOR that refers to itself": bytes.fromhex("d81c81d81d00"),
    "CBOR with a power of ten": cbor2.dumps([{0: "a", 2: cbor2.CBORTag(4, [10**9, 1])}]),
    "empty records": b"[" + b"{}," * (MOST_PAYLOAD // 3 - 1) + b"{}]",
    "long digits": b'[{"n":"a","v":' + b"9" * (MOST_PAYLOAD - 30) + b"}]",
    "empty metrics": b"\x12\x00" * (MOST_PAYLOAD // 2),
    "a template in a template": b"",
    "a length that is not there": b"\x12\xff\xff\xff\xff\x0f",
    "a data set of empty rows": bytes_field(
        2, bytes_field(1, b"a") + varint_field(4, 16) + bytes_field(17, bytes_field(4, b"\x0a\x00" * 3) * 600)
    ),
    "a boolean array that is not there": bytes_field(
        2, bytes_field(1, b"a") + varint_field(4, 32) + bytes_field(16, struct.pack("<I", 2**32 - 1))
    ),
}
_nested = _METRIC
while len(_nested) < MOST_PAYLOAD // 2:
    _nested = bytes_field(1, b"t") + varint_field(4, 19) + bytes_field(18, bytes_field(2, _nested))
BOMBS["a template in a template"] = bytes_field(2, _nested)


@pytest.mark.parametrize("bomb", sorted(BOMBS))
@pytest.mark.parametrize("name", sorted(CODECS))
def test_no_payload_takes_memory_for_what_is_not_there(name: str, bomb: str) -> None:
    codec, payload = load_codecs()[name], BOMBS[bomb]
    assert len(payload) <= MOST_PAYLOAD
    tracemalloc.start()
    try:
        must_be_lawful(codec, payload)
        _, height = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert height < MOST_BYTES * (1 + len(TOPICS.get(name, ())))
