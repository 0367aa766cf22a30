"""A sensor that stands still, and what only looks like it."""

import numpy as np
import pytest

from devices.profiles import AUTOMATIC
from gateway.detect.engine import Engine
from gateway.detect.lines import Line
from gateway.detect.model import AlarmChange, Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.stream import Stream
from gateway.detect.stuck import Stuck
from tests.detect.stories import HOUR_S, START_S, Floats, engine_for, habit, hours, judge, profile_of


def found(values: Floats, kind: str = "gauge", parameters: dict[str, object] | None = None) -> list[AlarmChange]:
    profile = profile_of({"name": "watch", "detector": "stuck", "parameters": parameters or {}}, kind=kind)
    return judge(engine_for(profile), profile, hours(len(values)), values)


def pulse(count: int, seed: int = 1) -> Floats:
    """An hourly pulse with one decimal."""
    rng = np.random.default_rng(seed)
    return np.round(70 + 10 * np.sin(np.arange(count) / 24 * 2 * np.pi) + 4 * rng.normal(size=count), 1)


def test_a_frozen_sensor_is_told_within_half_a_day() -> None:
    values = pulse(600)
    values[400:] = values[399]
    changes = found(values)
    assert [change.event for change in changes if change.event != "updated"] == ["raised"]
    assert changes[0].ts_s <= START_S + (400 + 12) * HOUR_S
    assert "readings on end" in changes[0].explanation.text


def test_of_a_sensor_that_has_just_changed_it_is_not_said_that_it_still_stands() -> None:
    values = pulse(600)
    values[400:] = values[399]
    profile = profile_of({"name": "watch", "detector": "stuck", "keep_firing_for": "2d"})
    stands = judge(engine_for(profile), profile, hours(600), values)
    at = round((stands[-1].ts_s - START_S) / HOUR_S)  # it is told of again, as on each day
    values[at] += 1.5
    told = next(each for each in judge(engine_for(profile), profile, hours(600), values) if each.ts_s == hours(600)[at])
    assert (stands[-1].event, told.event) == ("updated", "updated")
    assert told.explanation.text.startswith("Metric had stood still since 20 March ")
    assert told.explanation.text.endswith(f"; now it is {values[at]:g}")


@pytest.mark.parametrize("every_s", [1.0, 60.0])
def test_a_sensor_that_is_read_often_is_told_within_sixty_odd_readings(every_s: float) -> None:
    values = pulse(600)
    values[400:] = values[399]
    profile = profile_of({"name": "watch", "detector": "stuck"})
    changes = judge(engine_for(profile), profile, START_S + every_s * np.arange(600), values)
    assert [change.event for change in changes if change.event != "updated"] == ["raised"]
    assert 55 <= (changes[0].ts_s - START_S) / every_s - 400 <= 70


@pytest.mark.parametrize("decimals", [0, 1])
def test_readings_of_each_second_are_judged_alike_compiled_or_not(decimals: int) -> None:
    values = np.round(pulse(700), decimals)
    values[200:245] = values[199]
    values[400:600] = values[399]
    profile = profile_of({"name": "watch", "detector": "stuck"})
    found = [
        judge(
            Engine({profile.model: profile}, DetectSettings(), compiled=each), profile, START_S + np.arange(700), values
        )
        for each in (True, False)
    ]
    assert found[0]
    assert found[0] == found[1]


def test_how_long_a_profile_says_it_must_last_goes_for_readings_of_each_second_too() -> None:
    values = pulse(600)
    values[400:] = values[399]
    profile = profile_of({"name": "watch", "detector": "stuck", "parameters": {"lasting": "3m"}})
    changes = judge(engine_for(profile), profile, START_S + np.arange(600), values)
    assert 180 <= changes[0].ts_s - START_S - 400 <= 182


def test_a_coarse_sensor_that_is_read_often_must_stand_for_longer() -> None:
    values = np.round(pulse(2000) / 12)
    values[1900:] = values[1899]
    profile = profile_of({"name": "watch", "detector": "stuck"})
    assert judge(engine_for(profile), profile, START_S + np.arange(2000), values) == []


def test_amounts_that_repeat_themselves_are_told_as_soon() -> None:
    values = habit(30)
    values[500:] = 431.0
    changes = found(values, "delta")
    assert changes[0].event == "raised"
    assert changes[0].ts_s <= START_S + (500 + 12) * HOUR_S


@pytest.mark.parametrize("kind", ["counter", "state"])
def test_counters_at_rest_and_states_are_never_stuck(kind: str) -> None:
    values = pulse(600)
    values[400:] = 1.0
    assert found(values, kind) == []


def test_what_looks_like_a_counter_or_a_state_is_never_stuck() -> None:
    rng = np.random.default_rng(2)
    turns = np.cumsum(rng.gamma(1.0, 3.0, 600))
    turns[400:500] = turns[399]
    door = np.repeat(rng.integers(1, 3, 60), 10).astype(float)
    assert found(turns) == []
    assert found(door) == []


def test_no_use_is_not_stuck() -> None:
    values = habit(30)
    values[500:] = 0.0
    assert found(values, "delta") == []


def test_a_coarse_gauge_repeats_itself() -> None:
    rng = np.random.default_rng(3)
    assert found(np.round(21 + 0.6 * rng.normal(size=2000))) == []


def test_where_a_series_rests_it_may_rest_for_longer() -> None:
    values = pulse(900)
    for day in range(0, 800, 24):
        values[day : day + 7] = 52.3
    values[800:820] = 52.3
    assert found(values) == []


def test_one_that_moves_again_is_told_as_over() -> None:
    values = pulse(600)
    values[400:430] = 66.6
    assert [change.event for change in found(values) if change.event != "updated"] == ["raised", "cleared"]


def calories(days: int, seed: int = 1) -> Floats:
    """Whole calories of each hour: what a body at rest needs, and what the steps of the day add."""
    return np.round(71.4 + 0.05 * habit(days, seed), 1)


def test_a_weekend_at_what_a_body_needs_at_rest_is_not_stuck() -> None:
    values = calories(40)
    values[30 * 24 + 18 : 32 * 24 + 9] = 71.4
    assert found(values) == []


def test_a_body_that_rests_every_night_may_still_be_stuck_elsewhere() -> None:
    values = calories(40)
    values[10 * 24 + 18 : 12 * 24 + 9] = 71.4  # a long rest is no measure of what is said of other values
    values[30 * 24 + 12 :] = 103.7
    changes = found(values)
    assert [change.event for change in changes][:1] == ["raised"]
    assert changes[0].ts_s <= START_S + (30 * 24 + 12 + 14) * HOUR_S


def stuck_of(metrics: dict[str, Floats]) -> list[tuple[str, str | None, float]]:
    """What a stream tells of standing still, of a device without a profile: event, metric and hour."""
    rows = enumerate(zip(*metrics.values(), strict=True))
    lines = [
        Line("a", START_S + HOUR_S * i, {name: float(of) for name, of in zip(metrics, row, strict=True)})
        for i, row in rows
    ]
    changes = Stream(AUTOMATIC, DetectSettings()).take(lines)
    found = [change for change in changes if change.kind is Kind.STUCK and change.event == "raised"]
    return [(change.event, change.metric, (change.ts_s - START_S) / HOUR_S) for change in found]


def worn(days: int) -> dict[str, Floats]:
    """A wearable whose owner never sits for a whole hour, until it lies on a table."""
    steps = np.round(habit(days)).astype(np.float64)
    rest = 57 - steps / 60 + np.random.default_rng(5).normal(size=len(steps))
    sitting = np.minimum(np.round(rest, 1), 59.9).astype(np.float64)
    battery = (100.0 - np.arange(len(steps)) % 100).astype(np.float64)
    return {"steps": steps, "walked": (steps * 0.7).astype(np.float64), "sitting": sitting, "battery": battery}


@pytest.mark.parametrize("days", [1, 8])
@pytest.mark.parametrize("known", [False, True])
def test_what_stands_still_while_the_others_rest_lies_on_a_table(days: int, known: bool) -> None:
    """However long it lies there: after four days it was called stuck, too."""
    metrics = worn(35)
    if known:
        metrics["sitting"][: 20 * 24][metrics["steps"][: 20 * 24] == 0] = 60.0
    away = slice(25 * 24 + 9, (25 + days) * 24 + 5)
    for name, rests in {"steps": 0.0, "walked": 0.0, "sitting": 60.0}.items():
        metrics[name][away] = rests
    assert stuck_of(metrics) == []


def test_what_stands_still_while_the_others_go_on_is_stuck() -> None:
    metrics = worn(30)
    metrics["sitting"][25 * 24 + 9 :] = 60.0
    told = stuck_of(metrics)
    assert [(event, metric) for event, metric, _ in told] == [("raised", "sitting")]
    assert told[0][2] <= 25 * 24 + 9 + 24


def test_state_of_version_one_goes_on_without_its_guess_at_a_rest() -> None:
    saved = {"run": np.ones(1), "rest": np.ones(1), "record": np.ones(1)}
    assert set(Stuck().migrate(1, saved) or {}) == {"run", "record"}
    assert Stuck().migrate(3, saved) is None
