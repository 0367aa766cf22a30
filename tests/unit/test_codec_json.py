"""The codec `json`, example by example."""

import json

import pytest

from devices.errors import QuarantineReason
from devices.payloads.codec import Bad, DecodedEvent, DecodedReading
from devices.payloads.json import JsonCodec

CODEC = JsonCodec()
MARCH = 1_772_323_200_000_000  # 2026-03-01T00:00:00Z in microseconds


def reading(payload: str | bytes) -> DecodedReading:
    (found,) = CODEC.decode_readings(payload.encode() if isinstance(payload, str) else payload)
    assert isinstance(found, DecodedReading), found
    return found


def fault(payload: str | bytes) -> Bad:
    (found,) = CODEC.decode_readings(payload.encode() if isinstance(payload, str) else payload)
    assert isinstance(found, Bad), found
    return found


def event(payload: str) -> DecodedEvent:
    (found,) = CODEC.decode_events(payload.encode())
    assert isinstance(found, DecodedEvent), found
    return found


def test_a_reading_in_full() -> None:
    payload = (
        '{"ts": "2026-03-01T00:00:00Z", "seq": 7, "firmware": "1.2", "metrics": {"steps": 12, "heart_rate": 61.5}}'
    )
    assert reading(payload) == DecodedReading(MARCH, 7, "1.2", {"steps": 12.0, "heart_rate": 61.5})


def test_everything_but_metrics_may_be_left_out() -> None:
    for payload in ('{"metrics": {}}', '{"ts": null, "seq": null, "firmware": null, "metrics": {}}'):
        assert reading(payload) == DecodedReading(None, None, None, {})


def test_booleans_are_numbers_and_null_is_absent() -> None:
    metrics = reading('{"metrics": {"on": true, "off": false, "gone": null, "n": 3}}').metrics
    assert metrics == {"on": 1.0, "off": 0.0, "n": 3.0}
    assert {type(value) for value in metrics.values()} == {float}


def test_an_array_keeps_its_order() -> None:
    payload = json.dumps([{"ts": number, "metrics": {"n": number}} for number in (3, 1, 2)]).encode()
    assert [found.metrics["n"] for found in CODEC.decode_readings(payload) if isinstance(found, DecodedReading)] == [
        3,
        1,
        2,
    ]


def test_an_empty_array_holds_nothing() -> None:
    assert CODEC.decode_readings(b" [ ] ") == []
    assert CODEC.decode_events(b"[]") == []


def test_unknown_fields_are_let_pass() -> None:
    assert reading('{"metrics": {"n": 1}, "rssi": -71, "nested": {"a": [1]}}').metrics == {"n": 1.0}


def test_of_a_name_that_stands_twice_the_last_one_counts() -> None:
    assert reading('{"metrics": {"n": 1, "n": 2}, "seq": 1, "seq": 2}') == DecodedReading(None, 2, None, {"n": 2.0})
    twice = b'[{"metrics": {"n": 1, "n": 2}}, 7]'  # the slow way agrees
    assert CODEC.decode_readings(twice)[0] == DecodedReading(None, None, None, {"n": 2.0})


@pytest.mark.parametrize(
    ("ts", "expected_us"),
    [
        ('"2026-03-01T00:00:00Z"', MARCH),
        ('"2026-03-01T01:00:00+01:00"', MARCH),
        ('"2026-02-28T14:15:00-09:45"', MARCH),
        ('"2026-03-01T00:00:00-00:00"', MARCH),
        ('"2026-03-01t00:00:00z"', MARCH),
        ('"2026-03-01 00:00:00Z"', MARCH),
        ('"2026-03-01T00:00:00.5Z"', MARCH + 500_000),
        ('"2026-03-01T00:00:00.123456Z"', MARCH + 123_456),
        ('"2026-03-01T00:00:00.123456789Z"', MARCH + 123_457),
        ('"1970-01-01T00:00:00Z"', 0),
        ('"9999-12-31T23:59:59.999999Z"', 253_402_300_799_999_999),
        ("1772323200000", MARCH),
        ("1772323200000.25", MARCH + 250),
        ("1.7723232e12", MARCH),
        ("0", 0),
    ],
)
def test_times_that_are_understood(ts: str, expected_us: int) -> None:
    assert reading(f'{{"ts": {ts}, "metrics": {{}}}}').ts_us == expected_us
    assert reading(f'{{"ts": {ts}, "metrics": {{"": null}}}}'.replace('"": null', '"a": null')).ts_us == expected_us


@pytest.mark.parametrize(
    "ts",
    [
        '"yesterday"',
        '""',
        '"2026-03-01"',
        '"2026-03-01T00:00:00"',
        '"2026-02-30T00:00:00Z"',
        '"2026-03-01T24:00:00Z"',
        '"2026-03-01T00:00:60Z"',
        '"2026-03-01T00:00:00+24:00"',
        '"1969-12-31T23:59:59Z"',
        '"1772323200000"',
        '"9999-12-31T23:59:59-12:00"',
        '"\\ud83d"',
        "true",
        "-1",
        "1e300",
        "99999999999999999999999",
        "253402300800000",
        "[]",
        "{}",
        "NaN",
        "-Infinity",
    ],
)
def test_times_that_are_none(ts: str) -> None:
    assert fault(f'{{"ts": {ts}, "metrics": {{}}}}').reason is QuarantineReason.BAD_TIMESTAMP


@pytest.mark.parametrize(
    ("payload", "reason", "word"),
    [
        ("", "malformed", "JSON"),
        ("{", "malformed", "JSON"),
        ("{}", "malformed", "metrics"),
        ("null", "malformed", "null"),
        ('"text"', "malformed", "string"),
        ('{"metrics": {"n": 1}} x', "malformed", "JSON"),
        ('{"metrics": {"n": 01}}', "malformed", "JSON"),
        ('{"metrics": {"n": nan}}', "malformed", "JSON"),
        ('{"metrics": {"a\\u0000": 1}}', "malformed", "NUL"),
        ('{"metrics": {"\\ud800": 1}}', "malformed", "surrogate"),
        ('{"metrics": {}, "firmware": "1\\u0000"}', "malformed", "NUL"),
        ('{"metrics": 5}', "wrong_type", "metrics"),
        ('{"metrics": null}', "wrong_type", "metrics"),
        ('{"metrics": []}', "wrong_type", "metrics"),
        ('{"metrics": {"": 1}}', "wrong_type", "empty"),
        ('{"metrics": {"n": "1"}}', "wrong_type", "'n'"),
        ('{"metrics": {"n": {}}}', "wrong_type", "'n'"),
        ('{"metrics": {"n": [1]}}', "wrong_type", "'n'"),
        ('{"metrics": {}, "seq": 1.5}', "wrong_type", "seq"),
        ('{"metrics": {}, "seq": true}', "wrong_type", "seq"),
        ('{"metrics": {}, "seq": -1}', "wrong_type", "seq"),
        ('{"metrics": {}, "seq": 9223372036854775808}', "wrong_type", "seq"),
        ('{"metrics": {}, "firmware": 2}', "wrong_type", "firmware"),
        (f'{{"metrics": {{}}, "firmware": "{"1" * 129}"}}', "wrong_type", "firmware"),
        ('{"metrics": {"n": NaN}}', "not_a_number", "'n'"),
        ('{"metrics": {"n": -Infinity}}', "not_a_number", "'n'"),
        ('{"metrics": {"n": 1e400}}', "not_a_number", "'n'"),
        (f'{{"metrics": {{"n": {"9" * 5000}}}}}', "not_a_number", "'n'"),
    ],
)
def test_faults_and_their_reasons(payload: str, reason: str, word: str) -> None:
    bad = fault(payload)
    assert bad.reason == reason
    assert word in bad.detail
    assert bad.raw == payload.encode()


def test_bytes_that_are_not_text() -> None:
    assert fault(b'{"metrics": {"\xff": 1}}').reason is QuarantineReason.MALFORMED
    assert fault(b'{"metrics": {}, "unknown": "\xff"}').reason is QuarantineReason.MALFORMED
    assert reading('{"metrics": {"température": 1}, "firmware": "β"}') == DecodedReading(
        None, None, "β", {"température": 1.0}
    )


def test_nesting_beyond_all_reason() -> None:
    for bomb in (b"[" * 200_000, b'{"metrics": {}, "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"):
        assert fault(bomb).reason is QuarantineReason.MALFORMED


def test_a_bad_element_costs_only_itself() -> None:
    elements = [b'{"metrics": {"n": 1}}', b'{"metrics": {"n": NaN}}', b'{ "ts": "x", "metrics": {} }', b"[ ]"]
    good, *bad, last = CODEC.decode_readings(b" [" + b" , ".join(elements) + b',\n{"metrics": {"n": true}}\t]\n')
    assert good == DecodedReading(None, None, None, {"n": 1.0})
    assert last == DecodedReading(None, None, None, {"n": 1.0})
    assert [(one.raw, one.reason) for one in bad if isinstance(one, Bad)] == [
        (elements[1], QuarantineReason.NOT_A_NUMBER),
        (elements[2], QuarantineReason.BAD_TIMESTAMP),
        (elements[3], QuarantineReason.MALFORMED),
    ]


def test_thousands_of_bad_elements_share_a_place() -> None:
    good = b'{"metrics": {"n": 1}}'
    payload = b"[" + b",".join([good, *(b"%d" % number for number in range(5000)), good]) + b"]"
    found = CODEC.decode_readings(payload)
    bad = [one for one in found if isinstance(one, Bad)]
    assert len(bad) == 1000
    assert [one for one in found if isinstance(one, DecodedReading)] == [DecodedReading(None, None, None, {"n": 1.0})]
    assert [number for one in bad[:-1] for number in [json.loads(one.raw)]] == list(range(999))
    assert json.loads(bad[-1].raw) == [*range(999, 5000), json.loads(good)], "what follows is not looked at, but kept"
    assert "all that follows" in bad[-1].detail
    again = CODEC.decode_readings(bad[-1].raw)
    assert json.loads([one for one in again if isinstance(one, Bad)][-1].raw)[0] == 1998, "a replay looks at the next"


def test_an_array_that_breaks_off_is_bad_as_a_whole() -> None:
    payload = '[{"metrics": {"n": 1}}, {"metr'
    assert fault(payload).raw == payload.encode()


def test_an_event_in_full() -> None:
    payload = '{"ts": 1772323200000, "seq": 3, "code": "restarted", "data": {"cause": "update", "n": [1, 2.5, null]}}'
    assert event(payload) == DecodedEvent(MARCH, 3, "restarted", b'{"cause":"update","n":[1,2.5,null]}')
    assert event('{"code": "x", "data": null}') == DecodedEvent(None, None, "x", None)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("{}", "malformed"),
        ('{"code": null}', "wrong_type"),
        ('{"code": 5}', "wrong_type"),
        ('{"code": ""}', "wrong_type"),
        (f'{{"code": "{"x" * 129}"}}', "wrong_type"),
        ('{"code": "x", "data": [1]}', "wrong_type"),
        ('{"code": "x", "data": "y"}', "wrong_type"),
        ('{"code": "x", "data": {"n": NaN}}', "not_a_number"),
        ('{"code": "x", "data": {"n": 1e400}}', "not_a_number"),
        ('{"code": "x", "data": {"deep": [{"a": "\\u0000"}]}}', "malformed"),
        ('{"code": "x", "ts": "now"}', "bad_timestamp"),
    ],
)
def test_faults_of_events(payload: str, reason: str) -> None:
    (bad,) = CODEC.decode_events(payload.encode())
    assert isinstance(bad, Bad)
    assert bad.reason == reason


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert event('{"code": "x", "data": {"path": "a\\\\u0000"}}').data == b'{"path":"a\\\\u0000"}'
