"""Rows of machines: compiled or not, however they are batched and whatever is undone, the findings are the same."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.ids import PARTITIONS
from devices.profiles.model import Profile
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange, Samples
from gateway.detect.native import load_kernel
from gateway.detect.settings import DetectSettings

DEVICES = ("pump", "mill")
WIDE = 34  # more metrics than are judged together
ROWS = 700
SETTINGS = DetectSettings()


def profile_of(metrics: int) -> Profile:
    """A product whose rows alone are watched."""
    names = names_of(metrics)
    watches: list[dict[str, object]] = [{"name": "row", "detector": "unlike", "parameters": {"warm_up": 0}}]
    for k, name in enumerate(names):
        watches.append({"name": f"row-{k}", "detector": "unlike", "metric": name})
    kinds = {name: {"kind": "gauge"} for name in names}
    return Profile.model_validate({"model": "machine", "title": "Machine", "metrics": kinds, "watches": watches})


def names_of(metrics: int) -> tuple[str, ...]:
    return tuple(f"metric_{(5 * k) % metrics}" for k in range(metrics))


def rows_of(seed: int, metrics: int, count: int = ROWS) -> Samples:
    """Machines read every few seconds: a common load, faults, gaps, rows of the past, absurd and absent values."""
    rng = np.random.default_rng(seed)
    device = (rng.random(count) < 0.1).astype(np.int32)  # one that is known for long enough, and a young one
    ts_s = 1.7e9 + np.cumsum(rng.choice([0.0, 5.0, 20.0, 600.0], count, p=[0.05, 0.8, 0.145, 0.005]))
    ts_s = np.where(rng.random(count) < 0.02, ts_s - 90.0, ts_s)
    load = np.convolve(rng.normal(size=count + 19), np.ones(20) / np.sqrt(20), "valid")
    values = 0.3 * rng.normal(size=(count, metrics)) + np.outer(load, rng.choice([-1.0, 0.0, 1.0], metrics))
    values[560:620, : min(3, metrics - 1)] += 9.0
    values[660:, : metrics // 2] *= -3.0
    values[:, metrics - 1] = rng.random(count) < 0.02
    odd = rng.random(values.shape)
    values[odd < 0.06] = np.nan
    values[odd > 0.999] = rng.choice([1e31, np.inf])
    values[:60] = np.round(load[:60, None]) + 0.0  # whole rows at first: series are opened in one order
    values[rng.integers(60, count, 2), metrics - 1] = rng.choice([1e29, -1e30])
    told = np.asarray(values, np.float64)
    return Samples(profile_of(metrics), DEVICES, device, ts_s, ts_s, names_of(metrics), told)


def cut(rows: Samples, edges: list[int]) -> list[Samples]:
    parts = [slice(start, end) for start, end in pairwise([0, *sorted(set(edges)), len(rows.ts_s)])]
    names, profile = rows.metrics, rows.profile
    return [
        Samples(profile, DEVICES, rows.device[at], rows.ts_s[at], rows.ts_s[at], names, rows.values[at]) for at in parts
    ]


def lived(engine: Engine, batches: list[Samples], undone: set[int]) -> list[AlarmChange]:
    changes: list[AlarmChange] = []
    for number, batch in enumerate(batches):
        if number in undone:
            engine.begin()
            engine.judge([batch])
            engine.rollback()
        engine.begin()
        changes += engine.judge([batch])
        engine.commit()
    return changes


def saved(engine: Engine) -> list[bytes]:
    return [engine.checkpoint(partition) for partition in range(PARTITIONS)]


@pytest.mark.parametrize("metrics", [2, 7, WIDE])
@settings(max_examples=2, deadline=None)
@given(
    seed=st.integers(0, 10_000), cuts=st.lists(st.integers(1, ROWS - 1), max_size=6), undone=st.sets(st.integers(0, 6))
)
def test_compiled_or_not_and_however_batched_rows_are_judged_the_same(
    metrics: int, seed: int, cuts: list[int], undone: set[int]
) -> None:
    assert load_kernel() is not None, "python scripts/build_native.py"
    rows = rows_of(seed, metrics)
    compiled, plain, whole = (Engine({}, SETTINGS, compiled=is_compiled) for is_compiled in (True, False, True))
    batches = cut(rows, cuts)
    told = lived(compiled, batches, undone)
    assert told == lived(plain, batches, undone)
    assert saved(compiled) == saved(plain)
    assert told == whole.judge([rows])


def test_such_rows_have_alarms_of_all_sorts() -> None:
    """So that the test above compares something."""
    told = [change for seed in range(3) for change in Engine({}, SETTINGS).judge([rows_of(seed, 7)])]
    assert {"raised", "cleared"} <= {change.event for change in told if change.watch == "row"}


@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 10_000), at=st.integers(1, ROWS - 1))
def test_a_restart_in_between_changes_nothing(seed: int, at: int) -> None:
    first, second = cut(rows_of(seed, 7), [at])
    profiles = {first.profile.model: first.profile}
    before, after = Engine(profiles, SETTINGS), Engine(profiles, SETTINGS)
    told = before.judge([first])
    for partition, state in enumerate(saved(before)):
        after.restore(partition, state)
    assert told + after.judge([second]) == Engine({}, SETTINGS).judge([first, second])
