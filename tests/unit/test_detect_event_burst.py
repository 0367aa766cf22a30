"""Bursts of events against the device's own habit, and against a limit."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from devices.errors import ConfigError
from devices.profiles import AUTOMATIC
from devices.profiles.model import Profile
from gateway.detect.engine import Engine
from gateway.detect.lines import BadLine, parse_line
from gateway.detect.settings import DetectSettings
from gateway.detect.stream import Stream
from tests.detect.bursts import bursts, day_of, events, lived, now_and_then, readings, told, watched
from tests.detect.stories import DAY_S, START_S, engine_for, samples_of


def storm(first: float, last: float, per_day: float) -> list[float]:
    return np.arange(first, last, 1.0 / per_day).tolist()


def test_a_storm_is_told_of_within_hours_and_is_over_when_it_has_been_calm() -> None:
    changes = lived(readings(60) + events([*now_and_then(40, 0.3), *storm(40, 43, 24)]))
    assert told(changes) == ["raised", "cleared"]
    assert 40 < day_of(changes[0]) < 40.5
    assert 43.3 < day_of(changes[-1]) < 45
    raised = changes[0]
    assert raised.metric == "event:E17"
    assert raised.watch.startswith("event-burst-")
    assert raised.started_at_s == pytest.approx(START_S + 40 * DAY_S, abs=2 * 3600)
    assert "Event E17 has come" in raised.explanation.text
    assert "of this" not in raised.explanation.text
    assert "by chance this happens less than once in" in raised.explanation.text
    assert raised.explanation.evidence[-1][1] == len(raised.explanation.evidence)


def test_a_code_that_never_came_is_told_of_when_it_storms() -> None:
    (raised, *_) = lived(readings(40) + events(storm(30, 31, 40)))
    assert raised.event == "raised"
    assert day_of(raised) < 30.5
    assert "hardly ever one" in raised.explanation.text


def test_a_new_device_is_not_judged_by_a_habit_that_it_does_not_have() -> None:
    assert lived(readings(5) + events(storm(1, 3, 40))) == []


@pytest.mark.parametrize("per_day", [0.05, 0.5, 8.0])
def test_a_steady_rate_is_no_burst(per_day: float) -> None:
    lines = [
        line
        for seed in range(3)
        for line in (
            *readings(45, 6 * 3600.0, device=f"d{seed}"),
            *events(now_and_then(45, per_day, seed), device=f"d{seed}"),
        )
    ]
    assert lived(lines) == []


def test_days_that_differ_and_clumps_are_no_bursts() -> None:
    rng = np.random.default_rng(5)
    counts: list[int] = rng.poisson(rng.lognormal(0.5, 0.5, 60)).tolist()
    uneven = [day + at for day, count in enumerate(counts) for at in sorted(rng.random(count).tolist())]
    clumps = [at + n * 20 / DAY_S for at in now_and_then(60, 0.3, 7) for n in range(4)]
    assert lived(readings(60, 3 * 3600.0) + events(uneven) + events(clumps, "E18")) == []


def test_a_habit_is_each_devices_own() -> None:
    chatty, quiet = now_and_then(34, 12, 3), storm(30, 31, 12)
    every_s = 3 * 3600.0
    lines = readings(34, every_s) + events(chatty) + readings(34, every_s, device="b") + events(quiet, device="b")
    assert {change.device_id for change in lived(lines)} == {"b"}


def test_silence_is_not_recovery() -> None:
    before = readings(41) + events([*now_and_then(40, 0.3), *storm(40, 41, 24)])
    after = [replace(line, ts_s=line.ts_s + 50 * DAY_S) for line in readings(5)]
    changes = [change for change in lived(before + after) if change.event in {"raised", "cleared"}]
    assert [change.event for change in changes] == ["raised", "cleared"]
    assert day_of(changes[-1]) > 50.3  # not with the first reading after nine days of silence


def test_time_off_is_no_time_without_events() -> None:
    lines = readings(120, 3 * 3600.0) + events(now_and_then(120, 2.0, 9))
    assert lived([line for line in lines if not 30 < (line.ts_s - START_S) / DAY_S < 100]) == []


def test_the_fault_does_not_become_the_norm() -> None:
    changes = lived(readings(50, 6 * 3600.0) + events([*now_and_then(30, 0.3), *storm(30, 50, 18)]))
    assert told(changes) == ["raised"]


def test_a_limit_holds_whatever_the_habit_is() -> None:
    profile = watched(parameters={"count": 5, "within": "1h", "unlikely": 1e6})
    often = events(now_and_then(20, 10, 2))
    five = events([10 + minute / 1440 for minute in (0, 5, 10, 15, 40)])
    assert lived(readings(20) + often, profile) == []
    raised, *_ = lived(readings(20) + often + five, profile)
    assert day_of(raised) == pytest.approx(10 + 40 / 1440, abs=0.01)
    assert "its limit is 5 within 60 minutes" in raised.explanation.text or "1 hour" in raised.explanation.text
    assert raised.explanation.expected.startswith("fewer than 5 within")


def test_a_limit_is_in_force_from_the_first_day() -> None:
    profile = watched(parameters={"count": 3, "within": "1d"})
    changes = lived(readings(6) + events([0.1, 0.2, 0.3]), profile)
    assert told(changes) == ["raised", "cleared"]
    assert day_of(changes[0]) == pytest.approx(0.3, abs=0.01)


def test_all_events_together_can_be_watched() -> None:
    profile = watched(event="*", parameters={"count": 4, "within": "1h", "unlikely": 1e6})
    mixed = events([10, 10.01], "E17") + events([10.02, 10.03], "E18")
    assert told(lived(readings(20) + mixed, profile))[0] == "raised"
    assert lived(readings(20) + mixed[:3], profile) == []


def test_events_of_other_codes_do_not_count() -> None:
    profile = watched(parameters={"count": 3, "within": "1h", "unlikely": 1e6})
    assert lived(readings(20) + events([10, 10.01], "E17") + events([10.02, 10.03], "E18"), profile) == []


def test_events_alone_are_enough() -> None:
    """A button sends nothing else; time goes by its events."""
    changes = lived(events([*np.arange(0, 40, 0.9).tolist(), *storm(40, 40.5, 60), *np.arange(40.6, 50, 0.9).tolist()]))
    assert told(changes) == ["raised", "cleared"]


def test_what_comes_late_counts_in_its_place_and_raises_nothing_by_itself() -> None:
    stream = Stream(AUTOMATIC, DetectSettings(silence_grace=0.0))
    usual = sorted(readings(40) + events(now_and_then(40, 0.3)), key=lambda line: line.ts_s)
    assert bursts(stream.take(usual)) == []
    late = events(storm(39.1, 39.5, 60))
    assert bursts(stream.take(late)) == []
    after = [replace(line, ts_s=line.ts_s + 40 * DAY_S) for line in readings(1)]
    (raised, *_) = bursts(stream.take(after))
    assert raised.event == "raised"
    assert 40 <= day_of(raised) < 40.2
    assert raised.started_at_s >= START_S + 39.0 * DAY_S


def test_only_so_many_codes_of_a_device_are_watched() -> None:
    stream = Stream(AUTOMATIC, DetectSettings(silence_grace=0.0, events_per_device=3))
    lines = readings(30) + [line for code in range(9) for line in events([20.0 + code / 100], f"E{code}")]
    lines += [line for code in range(9) for line in events(storm(28, 28.5, 60), f"E{code}")]
    found = bursts(stream.take(sorted(lines, key=lambda line: line.ts_s)))
    assert {change.metric for change in found} == {"event:E0", "event:E1", "event:E2"}


def test_wrong_watches_are_named() -> None:
    for parameters in ({"count": 3}, {"within": "1h"}, {"count": 40, "within": "1h"}):
        with pytest.raises(ConfigError, match="count"):
            Engine({"thing": watched(parameters=parameters)}, DetectSettings())
    with pytest.raises(ConfigError, match="event"):
        Engine({"thing": watched(detector="record")}, DetectSettings())
    with pytest.raises(ConfigError, match="metric"):
        Engine({"thing": watched(event=None)}, DetectSettings())
    with pytest.raises(ValidationError, match="no event named 'E99'"):
        watched(event="E99")
    with pytest.raises(ValidationError, match="either a metric or an event"):
        watched(metric="x")


def test_a_problem_is_named_after_the_code() -> None:
    profile: Profile = watched(event="E17")
    assert profile.problem_of(profile.watches[0]) == "e17"


def test_lines_of_events_are_read() -> None:
    line = parse_line(b'{"device": "a", "ts": 1700000000000, "event": "E17"}')
    assert (line.event, line.metrics) == ("E17", {})
    both = parse_line(b'{"device": "a", "ts": 1700000000000, "event": "E17", "metrics": {"x": 1}}')
    assert (both.event, both.metrics) == ("E17", {"x": 1.0})
    with pytest.raises(BadLine, match="neither"):
        parse_line(b'{"device": "a", "ts": 1700000000000}')


def test_a_device_without_events_takes_next_to_no_memory() -> None:
    engine = engine_for(AUTOMATIC)
    ids = [f"d{number}" for number in range(500)]
    engine.judge([samples_of(AUTOMATIC, ids, np.full(500, START_S), np.arange(500.0))])
    assert engine.bytes_held["event_burst"] == 500 * 8
