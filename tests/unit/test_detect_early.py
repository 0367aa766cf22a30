"""Recordings that last minutes, and machines whose time is a number of cycles, are judged reading by reading."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from devices.ids import partition_of
from devices.profiles import AUTOMATIC
from gateway.cli.detect import EARLY_S, detect
from gateway.detect.checkpoint import SavedState
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange, Kind, Samples
from gateway.detect.settings import DetectSettings
from tests.detect.stories import HOUR_S, Floats

METRICS = ("current", "flow", "setting")


def pump(count: int = 1100, valve_s: int | None = 600) -> Floats:
    """Current, flow and a setting of a pump; from `valve_s` on its valve closes by a third within twenty readings."""
    rng = np.random.default_rng(3)
    closing = np.zeros(count) if valve_s is None else np.clip((np.arange(count) - valve_s) / 20.0, 0.0, 1.0)
    flow = 32.0 + rng.normal(0.0, 0.5, count) - 10.0 * closing
    return np.column_stack([1.3 + rng.normal(0.0, 0.2, count), flow, np.full(count, 3.0)])


def worn(cycles: int = 300, seed: int = 4, wear: float = 6.0) -> Floats:
    """Fourteen sensors of a machine that wears out: its wear comes to so many times their noise."""
    rng = np.random.default_rng(seed)
    wears = wear * np.exp(np.arange(1.0 - cycles, 1.0) / 40.0)
    return np.outer(wears, rng.choice([-1.0, 1.0], 14)) + rng.normal(size=(cycles, 14))


def daily(minutes: Floats, seed: int) -> Floats:
    """Ten sensors that follow the day, some hardly and some by three times their noise."""
    rng = np.random.default_rng(seed)
    day = np.sin(2 * np.pi * (minutes / 1440.0 + rng.uniform()))
    return np.outer(day, rng.uniform(0.0, 3.0, 10)) + rng.normal(size=(len(minutes), 10))


def told(
    values: Floats,
    every_s: float = 1.0,
    *,
    early_s: float = EARLY_S,
    compiled: bool = True,
    metrics: tuple[str, ...] = METRICS,
    ts_s: Floats | None = None,
) -> list[AlarmChange]:
    ts_s = np.arange(len(values), dtype=np.float64) * np.float64(every_s) if ts_s is None else ts_s
    samples = Samples(AUTOMATIC, ("a",), np.zeros(len(values), np.int32), ts_s, ts_s, metrics, values)
    return Engine({}, DetectSettings(decline_early=early_s), compiled=compiled).judge([samples])


@pytest.mark.parametrize("every_s", [0.001, 1.0, 10.0])
def test_a_valve_that_closes_is_told_within_some_readings(every_s: float) -> None:
    changes = told(pump(), every_s)
    assert {change.metric for change in changes} == {"flow"}
    assert changes[0].kind is Kind.DECLINE
    assert 600 * every_s < changes[0].ts_s < 640 * every_s
    assert told(pump(valve_s=None), every_s) == []


def test_a_gateway_goes_by_hours() -> None:
    assert told(pump(), early_s=0.0) == []
    hourly = told(pump(), HOUR_S, early_s=0.0)
    assert hourly
    assert told(pump(), HOUR_S) == hourly


@pytest.mark.parametrize("every_s", [1.0, 60.0])
def test_compiled_or_not_is_the_same(every_s: float) -> None:
    assert told(pump(), every_s) == told(pump(), every_s, compiled=False)


@pytest.mark.parametrize("every_s", [60.0, 900.0, 1800.0, HOUR_S])
def test_wear_is_told_of_in_time_however_long_a_cycle_is(every_s: float) -> None:
    names = tuple(f"m{k}" for k in range(14))
    for seed in (4, 5):
        raised = [change for change in told(worn(seed=seed), every_s, metrics=names) if change.event == "raised"]
        assert raised
        assert raised[0].metric is None
        assert 150 < raised[0].ts_s / every_s < 280
        assert told(worn(seed=seed, wear=0.0), every_s, metrics=names) == []


@pytest.mark.parametrize(("every_s", "cycles"), [(60.0, 280), (600.0, 520)])
def test_wear_is_told_of_alike_by_the_compiled_loops(every_s: float, cycles: int) -> None:
    """The second machine goes on where the first ends, beyond the 500 readings after which a device begins anew."""
    values, names = np.vstack([worn(), worn()])[:cycles, :9], tuple(f"m{k}" for k in range(9))
    changes = told(values, every_s, metrics=names)
    assert changes
    assert changes == told(values, every_s, metrics=names, compiled=False)


@pytest.mark.parametrize("compiled", [True, False])
def test_chance_of_the_first_readings_makes_no_regimes_of_noise_later(*, compiled: bool) -> None:
    """After 500 readings a level starts anew: leaps that landed near until then do not count for its first hours."""
    rng, zeros = np.random.default_rng(1), np.zeros(502, np.int32)
    ts_s, names = np.float64(900.0) * np.arange(502, dtype=np.float64), tuple(f"m{k}" for k in range(10))
    engine = Engine({}, DetectSettings(decline_early=EARLY_S), compiled=compiled)
    engine.judge([Samples(AUTOMATIC, ("a",), zeros, ts_s, ts_s, names, rng.normal(size=(502, 10)))])
    state = msgspec.msgpack.decode(engine.checkpoint(partition_of("a")), type=SavedState)
    (saved,) = (each for each in state.stations if each.detector == "decline")
    known = {array.name: array.data for array in saved.arrays}
    near, steps = (np.frombuffer(known[name], np.float32) for name in ("covered", "count"))
    anew = steps <= 2.0  # all of them but such as had begun anew before
    assert np.count_nonzero(anew) > len(names) // 2
    assert near[anew].max() <= 1.0


@pytest.mark.parametrize(("every_s", "hours"), [(120.0, 14), (300.0, 30), (600.0, 72)])
def test_a_days_rhythm_is_no_wear_before_it_has_come_round(every_s: float, hours: int) -> None:
    for seed in (1, 2, 3):
        values = daily(np.arange(0.0, hours * 60.0, every_s / 60.0), seed)
        assert told(values, every_s, metrics=tuple(f"m{k}" for k in range(10))) == []


def test_nothing_is_told_of_after_a_pause_in_which_a_days_rhythm_went_on() -> None:
    minutes = np.concatenate([np.arange(0.0, 200.0), np.arange(200.0 + 30 * 60.0, 700.0 + 30 * 60.0)])
    for seed in (1, 2):
        changes = told(daily(minutes, seed), ts_s=60.0 * minutes, metrics=tuple(f"m{k}" for k in range(10)))
        assert changes == []


def test_what_was_learnt_in_minutes_is_not_held_against_hours() -> None:
    """A day's rhythm would be a drift, were its hours compared with the seconds of the beginning."""
    minutes = np.arange(4 * 1440)
    values = pump(len(minutes), valve_s=None)
    values += 2.0 * np.sin(2 * np.pi * (minutes / 1440.0))[:, None] * np.array([0.2, 0.5, 0.0])
    late = [change for change in told(values, 60.0) if change.event == "raised" and change.ts_s > 2 * EARLY_S]
    assert late == []


@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_a_days_rhythm_of_a_server_that_is_read_each_minute_is_no_drift(seed: int) -> None:
    rng, minutes = np.random.default_rng(seed), np.arange(720.0)
    wander = np.zeros(len(minutes))
    for at in range(1, len(minutes)):
        wander[at] = 0.98 * wander[at - 1] + 0.2 * rng.normal()
    day = 3.0 * np.sin(2 * np.pi * minutes / 1440.0)
    values = rng.normal(size=(len(minutes), 6)) + np.outer(wander, [0.8, -0.8, 0.4, 0.0, 0.0, 0.8])
    values += np.outer(day, [1.0, 0.5, 0.2, 1.0, 0.5, 0.0])
    assert told(values, 60.0, metrics=tuple(f"m{k}" for k in range(6))) == []


def test_a_machine_that_switches_on_and_off_is_told_of_a_few_times_only() -> None:
    rng = np.random.default_rng(6)
    is_on = np.repeat(np.arange(40) % 2 == 1, 60)
    values = pump(len(is_on), valve_s=None)
    values[:, 0] = np.where(is_on, 5.0, 0.2) + rng.normal(0.0, 0.05, len(is_on))
    assert len([change for change in told(values, 5.0) if change.event == "raised"]) <= 3


def test_cycles_may_be_the_time(tmp_path: Path) -> None:
    lines = [
        json.dumps({"device": "pump", "ts": cycle, "metrics": dict(zip(METRICS, values, strict=True))})
        for cycle, values in enumerate(pump().tolist(), 1)
    ]
    file = tmp_path / "cycles.ndjson"
    file.write_text("\n".join(lines), encoding="utf-8")
    result = CliRunner().invoke(detect, [str(file)])
    alarm = json.loads(result.stdout.splitlines()[0])
    assert (alarm["state"], alarm["metric"]) == ("raised", "flow")
    assert "1970-01-01T00:00:00.6" in alarm["ts"]
