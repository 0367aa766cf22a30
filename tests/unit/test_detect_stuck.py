"""A sensor that stands still, and what only looks like it."""

import numpy as np
import pytest

from gateway.detect.model import AlarmChange
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
