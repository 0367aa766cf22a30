"""The fast decoder of the codec `json` and the published model say the same of every payload."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from devices.payloads.codec import MAX_TS_MS, Bad, DecodedEvent, DecodedReading
from devices.payloads.json import JsonCodec
from devices.payloads.model import EventPayload, ReadingPayload, to_us

CODEC = JsonCodec()

NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
JUNK = st.sampled_from(["", "x", [], {}, [1], {"a": 1}, "NaN", "1.5"])
FRACTIONS = st.text("0123456789", max_size=9).map(lambda digits: f".{digits}" if digits else "")
OFFSETS = st.sampled_from(["Z", "z", "", "+00:00", "-00:00", "+01:00", "-09:45", "+14:00", "+0530", "+24:00", "+1:00"])
DATES = st.dates().map(str) | st.sampled_from(["2026-02-29", "1969-12-31", "1970-01-01", "9999-12-31", "0001-01-01"])
TIMES = st.times().map(lambda time: f"{time:%H:%M:%S}") | st.sampled_from(["24:00:00", "23:59:60", "7:00:00", "12:00"])
TEXTS = st.builds("{}{}{}{}{}".format, DATES, st.sampled_from("Tt _"), TIMES, FRACTIONS, OFFSETS)
STAMPS = TEXTS | st.integers(-10, 2**60) | st.floats(-10, 3e14) | st.none() | st.booleans() | JUNK | NUMBERS
VALUES = NUMBERS | st.booleans() | st.none()
METRICS = st.dictionaries(NAMES, VALUES, max_size=5) | st.dictionaries(NAMES, VALUES | JUNK, max_size=3) | JUNK
SEQS = st.integers(-2, 2**64) | st.none() | st.booleans() | st.floats(0, 10) | JUNK
FIRMWARES = NAMES | st.none() | st.integers() | st.text("1.", min_size=120, max_size=140)


def objects(required: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[dict[str, object]]:
    optional: dict[str, st.SearchStrategy[object]] = {"ts": STAMPS, "seq": SEQS, "firmware": FIRMWARES, "other": JUNK}
    whole = st.fixed_dictionaries(required, optional=optional)
    return whole | st.fixed_dictionaries({}, optional=optional | required)


READINGS = objects({"metrics": METRICS})
EVENTS = objects({"code": NAMES | JUNK | st.none(), "data": st.dictionaries(NAMES, VALUES | JUNK, max_size=3) | JUNK})


@given(READINGS)
def test_one_reading(payload: dict[str, object]) -> None:
    text = json.dumps(payload, ensure_ascii=False).encode()
    (found,) = CODEC.decode_readings(text)
    try:
        model = ReadingPayload.model_validate_json(text)
    except ValidationError:
        assert isinstance(found, Bad)
        return
    assert isinstance(found, DecodedReading), found
    assert found.ts_us == (None if model.ts is None else to_us(model.ts))
    assert found.seq == model.seq
    assert found.firmware == (model.firmware or None)
    assert found.metrics == {name: float(value) for name, value in model.metrics.items() if value is not None}


@given(EVENTS)
def test_one_event(payload: dict[str, object]) -> None:
    text = json.dumps(payload).encode()
    (found,) = CODEC.decode_events(text)
    try:
        model = EventPayload.model_validate_json(text)
    except ValidationError:
        assert isinstance(found, Bad)
        return
    assert isinstance(found, DecodedEvent), found
    assert found.ts_us == (None if model.ts is None else to_us(model.ts))
    assert (found.seq, found.code) == (model.seq, model.code)
    assert (None if found.data is None else json.loads(found.data)) == model.data


@given(st.lists(READINGS, max_size=6))
def test_an_array_is_its_elements(payloads: list[dict[str, object]]) -> None:
    """Whatever way a payload takes, fast or slow, each element is judged as if it had come alone."""
    texts = [json.dumps(payload).encode() for payload in payloads]
    alone = [CODEC.decode_readings(text)[0] for text in texts]
    assert list(CODEC.decode_readings(b"[" + b",".join(texts) + b"]")) == alone


@given(st.floats(0, 2.5e14), st.integers(0, MAX_TS_MS))
def test_milliseconds(fractional: float, whole: int) -> None:
    for ts in (fractional, whole):
        (found,) = CODEC.decode_readings(json.dumps({"ts": ts, "metrics": {}}).encode())
        assert isinstance(found, DecodedReading)
        assert found.ts_us is not None
        assert math.isclose(found.ts_us / 1000, ts, abs_tol=0.001)
