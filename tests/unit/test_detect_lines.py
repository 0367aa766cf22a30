"""What `careloop detect` reads and writes, and how numbers are put into words."""

import json

import pytest

from gateway.detect.lines import BadLine, parse_line, say_line, say_ts
from gateway.detect.words import say_instant, say_metric, say_number, say_quantity, say_span, thin_out, unit_of
from tests.detect.stories import START_S, engine_for, judge, stories


def test_a_line_takes_both_kinds_of_time_and_drops_what_is_absent() -> None:
    line = parse_line(b'{"device":"a","ts":"2024-03-04T01:00:00+01:00","metrics":{"x":1,"on":true,"gone":null}}')
    assert (line.device, line.ts_s, line.metrics) == ("a", START_S, {"x": 1.0, "on": 1.0})
    assert parse_line(b'{"device":"a","ts":1709510400000,"metrics":{}}').ts_s == START_S
    assert parse_line(b'{"device":"a","ts":"2024-03-04T00:00:00.25Z","metrics":{}}').ts_s == START_S + 0.25


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"ts":0,"metrics":{}}',
        b'{"device":"","ts":0,"metrics":{}}',
        b'{"device":"a","ts":"yesterday","metrics":{}}',
        b'{"device":"a","ts":1e300,"metrics":{}}',
        b'{"device":"a","ts":0,"metrics":{"x":"hot"}}',
        b'{"device":"a","ts":0,"metrics":[1]}',
        b'{"device":"\xff","ts":0,"metrics":{}}',
    ],
)
def test_a_line_that_cannot_be_read_says_why(text: bytes) -> None:
    with pytest.raises(BadLine, match=r"."):
        parse_line(text)


def test_an_event_is_a_line_that_a_machine_can_read() -> None:
    story = stories()["threshold"]
    raised, *_ = judge(engine_for(story.profile()), story.profile(), story.ts_s, story.values, "cooker-7")
    told = json.loads(say_line(raised))
    assert {"device", "ts", "state", "kind", "metric", "score", "explanation"} <= set(told)
    assert (told["device"], told["state"], told["kind"], told["metric"]) == (
        "cooker-7",
        "raised",
        "threshold",
        "metric",
    )
    assert told["ts"] == say_ts(raised.ts_s)
    assert told["explanation"] == "Metric 120, above its limit of 110"


def test_times_are_utc_and_keep_their_fraction() -> None:
    assert say_ts(START_S) == "2024-03-04T00:00:00Z"
    assert say_ts(START_S + 0.1239) == "2024-03-04T00:00:00.124Z"
    assert say_ts(START_S + 0.9999) == "2024-03-04T00:00:01Z"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (118, "118"),
        (1234567, "1,234,567"),
        (0.1234, "0.123"),
        (12.345, "12.3"),
        (-7.0, "-7"),
        (2e-9, "2e-09"),
    ],
)
def test_numbers_are_said_as_exactly_as_they_matter(value: float, said: str) -> None:
    assert say_number(value) == said


def test_units_and_names_are_those_of_people() -> None:
    assert say_quantity(118, "Cel") == "118 °C"
    assert say_quantity(8400, "{steps}") == "8,400 steps"
    assert say_quantity(3, "1") == "3"
    assert say_metric("boiler_temperature_celsius") == "Boiler temperature"
    assert say_metric("steps") == "Steps"


def test_spans_and_instants() -> None:
    spans = {
        1: "1 second",
        45: "45 seconds",
        600: "10 minutes",
        5400: "1.5 hours",
        86_400: "24 hours",
        260_000: "3 days",
    }
    assert {seconds: say_span(seconds) for seconds in spans} == spans
    assert say_instant(START_S + 300, START_S + 900) == "00:05"
    assert say_instant(START_S, START_S + 90_000) == "4 March 00:00"
    assert say_instant(START_S, START_S + 400 * 86_400) == "4 March 2024 00:00"


def test_thinned_points_keep_their_ends() -> None:
    points = [(float(number), 0.0) for number in range(1000)]
    thin = thin_out(points)
    assert len(thin) == 100
    assert (thin[0], thin[-1]) == (points[0], points[-1])
    assert thin_out(points[:7]) == tuple(points[:7])


def test_a_unit_that_a_name_ends_in_goes_with_the_number() -> None:
    assert [unit_of(name) for name in ("boiler_temperature_celsius", "battery_percent", "supply_v", "steps")] == [
        "Cel",
        "%",
        "V",
        "1",
    ]
    assert unit_of(None) == "1"
