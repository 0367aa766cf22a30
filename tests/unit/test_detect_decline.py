"""Slow decline: of a level, of all levels of a device together, and of use."""

import numpy as np
import pytest

from devices.profiles import AUTOMATIC
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange, Kind, Samples
from gateway.detect.settings import DetectSettings
from tests.detect.stories import (
    DAY_S,
    HOUR_S,
    START_S,
    Floats,
    engine_for,
    habit,
    hours,
    judge,
    profile_of,
    samples_of,
)

NOISY = tuple(f"sensor_{number}" for number in range(10))


def sensors(seed: int, count: int = 300, drift: float = 0.0) -> Floats:
    """Ten sensors in noise; from the middle on each moves by `drift` noises, up or down."""
    rng = np.random.default_rng(seed)
    late = np.clip((np.arange(count) - count / 2) / (count / 4), 0, 1)[:, None]
    way = rng.choice([-1.0, 1.0], len(NOISY))
    return 50 + 5 * (rng.normal(size=(count, len(NOISY))) + drift * late * way)


def device(values: Floats, cycle_s: float = HOUR_S, *, compiled: bool = True) -> list[AlarmChange]:
    """What the generic watches say of one device without a profile."""
    ts_s = (START_S + cycle_s * np.arange(len(values))).astype(np.float64)
    names = NOISY[: values.shape[1]]
    samples = Samples(AUTOMATIC, ("a",), np.zeros(len(values), np.int32), ts_s, ts_s, names, values)
    return Engine({}, DetectSettings(), compiled=compiled).judge([samples])


def told(changes: list[AlarmChange], kind: Kind = Kind.DECLINE) -> list[AlarmChange]:
    return [change for change in changes if change.kind is kind and change.event == "raised"]


@pytest.mark.parametrize("cycle_s", [HOUR_S, DAY_S])
def test_many_sensors_that_drift_a_little_are_told_as_one(cycle_s: float) -> None:
    changes = told(device(sensors(1, drift=1.5), cycle_s))
    assert [change.metric for change in changes] == [None]
    assert START_S + 150 * cycle_s < changes[0].ts_s < START_S + 230 * cycle_s
    said = changes[0].explanation
    assert "of 10 metrics of this device have drifted" in said.text
    assert "Sensor" in said.text


def test_each_of_them_alone_would_not_be_told() -> None:
    assert told(device(sensors(1, drift=1.5)[:, :2])) == []


@pytest.mark.parametrize("seed", range(5))
def test_calm_sensors_are_left_alone(seed: int) -> None:
    assert told(device(sensors(seed, count=400))) == []


def test_what_moves_all_sensors_at_once_is_no_wear() -> None:
    rng = np.random.default_rng(2)
    regimes = rng.normal(0, 300, (6, len(NOISY)))
    assert told(device(sensors(2, count=400) + regimes[rng.integers(6, size=400)])) == []


def test_settings_and_constants_say_nothing() -> None:
    rng = np.random.default_rng(3)
    levels = rng.choice([0.0, 20.0, 42.0], (300, 5))
    flat = np.broadcast_to(np.array([1.0, 518.67, 100.0, 0.0, 14.62]), (300, 5))
    assert told(device(np.hstack([levels, flat]))) == []


def test_splits_and_restarts_change_nothing_for_a_device() -> None:
    values, ts_s = sensors(1, drift=1.5), hours(300)
    whole = device(values)
    assert device(values, compiled=False) == whole
    engine, parts = Engine({}, DetectSettings()), list[AlarmChange]()
    for start, end in ((0, 37), (37, 38), (38, 200), (200, 300)):
        other = Engine({AUTOMATIC.model: AUTOMATIC}, DetectSettings())
        samples = Samples(
            AUTOMATIC,
            ("a",),
            np.zeros(end - start, np.int32),
            ts_s[start:end],
            ts_s[start:end],
            NOISY,
            values[start:end],
        )
        engine.begin()
        engine.judge([samples])
        engine.rollback()
        parts += engine.judge([samples])
        for partition in engine.dirty():
            other.restore(partition, engine.checkpoint(partition))
        engine = other
    assert parts == whole


def test_a_level_that_moves_further_than_ever_is_told_by_itself() -> None:
    rng = np.random.default_rng(4)
    heat = 70 + rng.normal(size=600)
    heat[450:] -= np.minimum(np.arange(150) / 8, 10)
    profile = profile_of({"name": "watch", "detector": "decline"}, unit="Cel")
    changes = judge(engine_for(profile), profile, hours(600), heat)
    assert [change.event for change in changes if change.event != "updated"] == ["raised"]
    assert "has drifted down to" in changes[0].explanation.text


def test_a_battery_that_fills_and_empties_has_not_drifted() -> None:
    rng = np.random.default_rng(5)
    charge = np.round(100 - (np.arange(1500) * 0.4) % 90 + 0.3 * rng.normal(size=1500))
    profile = profile_of({"name": "watch", "detector": "decline"})
    assert judge(engine_for(profile), profile, hours(1500), charge) == []


@pytest.mark.parametrize("kind", ["delta", "counter"])
def test_use_that_fades_is_told_while_it_is_lower(kind: str) -> None:
    use = habit(70, seed=1) * np.interp(np.arange(70 * 24) / 24, [40, 54], [1, 0.4])
    values = np.cumsum(use) if kind == "counter" else use
    profile = profile_of({"name": "watch", "detector": "decline"}, kind=kind)
    raised = told(judge(engine_for(profile), profile, hours(70 * 24), values))
    assert len(raised) == 1
    assert START_S + 40 * DAY_S < raised[0].ts_s < START_S + 62 * DAY_S
    assert "Metric has declined to about" in raised[0].explanation.text


def test_a_lazy_week_is_no_decline() -> None:
    use = habit(70, seed=1)
    use[40 * 24 : 47 * 24] *= 0.4
    profile = profile_of({"name": "watch", "detector": "decline"}, kind="delta")
    assert judge(engine_for(profile), profile, hours(70 * 24), use) == []


def test_a_profile_can_watch_a_device_as_a_whole() -> None:
    profile = profile_of({"name": "wear", "detector": "decline", "metric": None, "problem": "wear"})
    assert judge(engine_for(profile), profile, hours(100), sensors(1, 100)[:, 0]) == []
    assert samples_of(profile, ["a"], hours(1), np.zeros(1)).metrics == ("metric",)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_gauge_that_only_rose_at_first_is_no_counter_for_good(compiled: bool) -> None:
    """Ten sensors warm up for two days without ever falling, then rest in noise, and drift in the end."""
    values = sensors(3, count=260, drift=2.5)
    warming = 30 + np.arange(60)[:, None] * 0.25 + np.arange(len(NOISY)) * 0.01
    found = told(device(np.vstack([warming, values]), compiled=compiled))
    assert [change.metric for change in found] == [None]
    assert found[0].ts_s > START_S + 180 * HOUR_S


@pytest.mark.parametrize("seed", [5, 7, 8])
def test_the_older_a_device_the_more_must_have_drifted(seed: int) -> None:
    """The same drift is told of a device of 150 readings, and not of one of 450; of that one a larger drift is."""
    small, large, before = sensors(seed, drift=1.25), sensors(seed, drift=1.6), sensors(seed + 1)
    assert len(told(device(small))) == 1
    assert told(device(np.vstack([before, small]))) == []
    assert len(told(device(np.vstack([before, large])))) == 1
