"""The law book of payload codecs: what each of them keeps, whatever its format is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.payloads import Bad, Codec, DecodedEvent, DecodedReading, load_codecs
from devices.payloads.codec import MAX_TS_US
from devices.payloads.dialect import Message, is_dialect

CODECS = load_codecs()
NOW_US = 1_760_000_000_000_000

HOSTILE = [
    b"",
    b" ",
    b"\x00",
    b"\xff\xfe\xfd",
    b"null",
    b"7",
    b'"text"',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"metrics":{"a":' + b"9" * 10_000 + b"}}",
    b'{"metrics":{"a":1}} {"metrics":{"a":2}}',
    b'[{"metrics":{"a":1}},',
    b'{"metrics":{"\\ud800":1}}',
    b'{"metrics":{"a\\u0000":1}}',
    b'{"code":"\\udc00"}',
    b'{"code":"x","data":{"a":"\\u0000"}}',
    b'{"code":"x","data":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
]


PIECES = b"""{ } [ ] "ts" "metrics" "code" "data" : , 1e400 NaN true null "\\u0000" "\\ud83d" "" -0 0.5
"2026-03-01T00:00:00Z" \xc3 \t""".split(b" ")


def anything() -> st.SearchStrategy[bytes]:
    return st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)


@pytest.fixture(params=sorted(CODECS))
def codec(request: pytest.FixtureRequest) -> Codec:
    return CODECS[str(request.param)]


def must_be_lawful(codec: Codec, payload: bytes) -> None:
    for reading in codec.decode_readings(payload):
        if isinstance(reading, Bad):
            must_be_quarantinable(reading, payload)
            continue
        assert isinstance(reading, DecodedReading)
        assert all(type(value) is float and abs(value) < float("inf") for value in reading.metrics.values())
        assert all(name and is_storable(name) for name in reading.metrics)
        assert reading.firmware is None or (reading.firmware and is_storable(reading.firmware))
        assert reading.ts_us is None or 0 <= reading.ts_us <= MAX_TS_US
    for event in codec.decode_events(payload):
        if isinstance(event, Bad):
            must_be_quarantinable(event, payload)
            continue
        assert isinstance(event, DecodedEvent)
        assert event.code
        assert is_storable(event.code)
        assert event.data is None or event.data.startswith(b"{")
        assert event.ts_us is None or 0 <= event.ts_us <= MAX_TS_US
    must_translate_lawfully(codec, payload)


def must_translate_lawfully(codec: Codec, payload: bytes) -> None:
    if not is_dialect(codec):
        return
    for pattern in codec.topics or ("plant/{device_id}/up",):
        topic = "/".join("d1" if level.startswith("{") else level for level in pattern.split("/"))
        translation = codec.translate(Message(topic, payload, "d1", NOW_US))
        assert all(bad.raw or not payload for bad in translation.bad)
        assert all(bad.detail and bad.detail.isprintable() and len(bad.detail) <= 250 for bad in translation.bad)
        for said in translation.said:
            assert all(name and is_storable(name) for reading in said.readings for name in reading.metrics)
            assert all(event.code and is_storable(event.code) for event in said.events)


def must_be_quarantinable(bad: Bad, payload: bytes) -> None:
    assert bad.raw in payload
    assert bad.raw or not payload
    assert bad.detail
    assert bad.detail.isprintable()
    assert len(bad.detail) <= 250


def is_storable(text: str) -> bool:
    """Whether PostgreSQL takes it as text."""
    return "\0" not in text and text == text.encode(errors="replace").decode()


def test_the_json_codec_is_registered() -> None:
    assert "json" in CODECS


def test_a_codec_is_registered_under_its_own_name(codec: Codec) -> None:
    assert CODECS[codec.name] is codec


@pytest.mark.parametrize("payload", HOSTILE, ids=lambda payload: repr(payload[:24]))
def test_hostile_bytes_never_raise(codec: Codec, payload: bytes) -> None:
    must_be_lawful(codec, payload)


@pytest.mark.parametrize("name", sorted(CODECS))
@given(payload=anything())
def test_no_bytes_ever_raise(name: str, payload: bytes) -> None:
    must_be_lawful(CODECS[name], payload)


def test_what_is_nothing_at_all_is_one_bad_thing(codec: Codec) -> None:
    for found in (codec.decode_readings(b"\xff\x00\xff"), codec.decode_events(b"\xff\x00\xff")):
        (bad,) = found
        assert isinstance(bad, Bad)
        assert bad.raw == b"\xff\x00\xff"


def test_decoding_twice_says_the_same(codec: Codec) -> None:
    for payload in HOSTILE:
        assert codec.decode_readings(payload) == codec.decode_readings(payload)


def test_a_dialect_s_topics_can_be_routed(codec: Codec) -> None:
    if is_dialect(codec):
        for pattern in (*codec.topics, *codec.answers):
            assert pattern
            assert "#" not in pattern
