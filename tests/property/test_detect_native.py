"""The detectors' compiled loops do what the detectors in Python do, to the last bit."""

import math
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.ids import PARTITIONS
from devices.profiles import AUTOMATIC
from devices.profiles.model import Profile
from gateway.detect.engine import Engine
from gateway.detect.exact import exp2_of, exp_of, log_of
from gateway.detect.lines import Line, Row
from gateway.detect.model import AlarmChange, Samples
from gateway.detect.native import load_kernel
from gateway.detect.settings import DetectSettings
from gateway.detect.shelf import Shelf
from gateway.detect.stream import Scorer
from tests.detect.stories import DAY_S, HOUR_S
from tests.property.test_detect_splits import PROFILE, readings, samples_of

SETTINGS = DetectSettings(silence_shortest=2 * HOUR_S, silence_warm_up=0.0)


@pytest.fixture(scope="module", autouse=True)
def kernel() -> None:
    """The loops must be there, and made of the present sources."""
    assert shutil.which("cc"), "the tests need a C compiler, such as Debian's gcc and libc6-dev"
    assert load_kernel() is not None, "python scripts/build_native.py"


def backlog(seed: int, count: int) -> list[Line]:
    """One device's days at once: amounts and levels and states, jumps, late and absurd values, weeks without news."""
    rng = np.random.default_rng(seed)
    ts_s = 1.7e9 + np.cumsum(rng.choice([60.0, HOUR_S, 3 * HOUR_S, 20 * DAY_S], count, p=[0.2, 0.6, 0.19, 0.01]))
    ts_s -= np.where(rng.random(count) < 0.1, rng.choice([HOUR_S, 2 * DAY_S], count), 0.0)
    idle = ts_s // DAY_S % 9 >= 6
    heat = rng.normal(size=count) * np.where(rng.random(count) < 0.02, 50.0, 1.0)
    heat[rng.random(count) < 0.01] = rng.choice([1e29, -1e30, 1e31, np.inf, -0.0, 1e-300])
    steps = np.where(idle | (rng.random(count) < 0.3), 0.0, rng.gamma(1.5, 100.0, count))
    turns = np.cumsum(steps) * np.where(rng.random(count) < 0.01, 0.1, 1.0)
    switch = rng.integers(0, 2, count).astype(float)
    values = {"heat": heat, "steps": steps, "turns": turns, "switch": switch}
    return [Line("device-0", float(ts_s[i]), {name: float(of[i]) for name, of in values.items()}) for i in range(count)]


def with_metrics(lines: list[Line], profile: Profile, alive_s: list[float]) -> Samples:
    names = ("heat", "turns", "steps", "switch")
    plain = samples_of(lines, profile, alive_s)
    values = np.array([[line.metrics.get(name, np.nan) for name in names] for line in lines])
    return Samples(
        plain.profile, plain.device_ids, plain.device, plain.ts_s, plain.alive_s, metrics=names, values=values
    )


def lived(engine: Engine, batches: list[Samples], undone: set[int]) -> list[AlarmChange]:
    """Judge turn after turn, some of them undone and repeated."""
    changes: list[AlarmChange] = []
    for number, batch in enumerate(batches):
        now_s = float(np.max(batch.alive_s))
        if number in undone:
            engine.begin()
            engine.judge([batch])
            engine.due(now_s, now_s)
            engine.rollback()
        engine.begin()
        changes += engine.judge([batch])
        changes += engine.due(now_s, now_s)
        engine.commit()
    return changes


def saved(engine: Engine) -> list[bytes]:
    return [engine.checkpoint(partition) for partition in range(PARTITIONS)]


@pytest.mark.parametrize("profile", [PROFILE, AUTOMATIC], ids=lambda profile: profile.model)
@settings(max_examples=3, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    is_backlog=st.booleans(),
    cuts=st.lists(st.integers(1, 399), max_size=8),
    undone=st.sets(st.integers(0, 8)),
    early_s=st.sampled_from([0.0, 100 * DAY_S]),
)
def test_compiled_or_not_makes_no_difference(
    *, profile: Profile, seed: int, is_backlog: bool, cuts: list[int], undone: set[int], early_s: float
) -> None:
    lines = backlog(seed, 400) if is_backlog else readings(seed, devices=5, count=400)
    alive_s = np.maximum.accumulate([line.ts_s for line in lines]).tolist()
    edges = [0, *sorted(set(cuts)), len(lines)]
    batches = [with_metrics(lines[start:end], profile, alive_s[start:end]) for start, end in pairwise(edges)]
    chosen = SETTINGS.model_copy(update={"decline_early": early_s})
    compiled, plain = Engine({}, chosen), Engine({}, chosen, compiled=False)
    told = lived(compiled, batches, undone)
    assert told == lived(plain, batches, undone)
    assert saved(compiled) == saved(plain)


def many_an_hour(seed: int) -> list[Line]:
    """Three devices of known habits: six-hourly for two months, then every few minutes, with leaps."""
    rng = np.random.default_rng(seed)
    sparse = 1.7e9 + 6 * HOUR_S * np.arange(210)
    ts_s = np.concatenate([sparse, sparse[-1] + 20 * HOUR_S + 400.0 * np.arange(40)])
    heat = rng.normal(20.0, 1.0, len(ts_s)) + np.where(rng.random(len(ts_s)) < 0.02, 9.0, 0.0)
    steps = np.where(rng.random(len(ts_s)) < 0.4, rng.choice([0.0, -0.0], len(ts_s)), rng.gamma(2.0, 50.0, len(ts_s)))
    turns = np.cumsum(rng.gamma(2.0, 50.0, len(ts_s)))
    heat[235:] += 60.0
    heat[[214, 215, 216, 230]], steps[[220, 240]] = np.nan, (-3.0, np.nan)
    ts_s[[225, 226]] = ts_s[[226, 225]]
    return [
        Line(f"device-{device}", float(ts_s[i]), {"heat": heat[i] + device, "steps": steps[i], "turns": turns[i]})
        for i in range(len(ts_s))
        for device in range(3)
    ]


@pytest.mark.parametrize("profile", [PROFILE, AUTOMATIC], ids=lambda profile: profile.model)
def test_many_readings_an_hour_come_to_the_same(profile: Profile) -> None:
    """Of most of them nothing can follow, and all detectors take them at once; turns of them can be undone as well."""
    lines = many_an_hour(5)
    alive_s = np.maximum.accumulate([line.ts_s for line in lines]).tolist()
    edges = [0, 600, 645, 650, 700, len(lines)]
    batches = [with_metrics(lines[start:end], profile, alive_s[start:end]) for start, end in pairwise(edges)]
    compiled, plain = Engine({}, SETTINGS), Engine({}, SETTINGS, compiled=False)
    told = lived(compiled, batches, {1, 3})
    assert told
    assert told == lived(plain, batches, {1, 3})
    assert saved(compiled) == saved(plain)


@pytest.mark.parametrize("profile", [PROFILE, AUTOMATIC], ids=lambda profile: profile.model)
def test_where_the_state_lies_makes_no_difference(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are put side by side, grow there, and are taken apart again, between turns of which some are undone."""
    shelves: list[int] = []

    class Counted(Shelf):
        def grow(self, capacity: int) -> None:
            shelves.append(capacity)
            super().grow(capacity)

    monkeypatch.setattr("gateway.detect.engine.TIDY_EVERY", 1)
    monkeypatch.setattr("gateway.detect.shelf.WORTH_IT", 8)
    monkeypatch.setattr("gateway.detect.shelf.Shelf", Counted)
    lines = sorted(
        (
            replace(line, device=f"{line.device}-{first_day}", ts_s=line.ts_s + first_day * DAY_S)
            for first_day in range(0, 16, 2)
            for line in readings(first_day, devices=20, count=250)
        ),
        key=lambda line: line.ts_s,
    )
    alive_s = np.maximum.accumulate([line.ts_s for line in lines]).tolist()
    batches = [
        with_metrics(lines[start : start + 100], profile, alive_s[start : start + 100])
        for start in range(0, len(lines), 100)
    ]
    compiled, plain = Engine({}, SETTINGS), Engine({}, SETTINGS, compiled=False)
    told = lived(compiled, batches, {3, 7, 12})
    assert len(set(shelves)) > 1
    assert told == lived(plain, batches, {3, 7, 12})
    for device_id in compiled.device_ids():
        assert compiled.take_out(device_id) == plain.take_out(device_id)


def test_series_that_an_undone_turn_dismissed_are_judged_again() -> None:
    """More of them in one turn than compiled loops hide without stopping."""
    rng = np.random.default_rng(7)
    times_s = 1.7e9 + 6 * HOUR_S * np.arange(52)  # after 48, a metric is a level, of which nobody watches the use
    batches = [
        with_metrics(
            [Line(f"device-{device}", ts_s, {"heat": rng.normal(20.0, 1.0)}) for device in range(300) for ts_s in some],
            AUTOMATIC,
            [some[-1]] * (300 * len(some)),
        )
        for some in ([*map(float, times_s[:46])], *([float(ts_s)] for ts_s in times_s[46:]))
    ]
    compiled, plain = Engine({}, SETTINGS), Engine({}, SETTINGS, compiled=False)
    assert lived(compiled, batches, set(range(1, len(batches)))) == lived(plain, batches, set())
    assert saved(compiled) == saved(plain)


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_device_is_watched_as_a_whole_from_the_reading_on_that_brings_enough_series(*, is_compiled: bool) -> None:
    """Not from the first one on of a batch that has such a reading; and a turn that is undone leaves nothing of it."""
    few = [Line("device-0", 1.7e9 + 60 * at, {"turns": at % 7.0, "steps": at % 5.0}) for at in range(100)]
    lines = [*few, *(replace(line, ts_s=line.ts_s - 30 * HOUR_S, metrics={"heat": 1.0, "turns": 0.5}) for line in few)]
    chosen = SETTINGS.model_copy(update={"decline_early": 100 * DAY_S})
    states: list[list[bytes]] = []
    for size in (1, 150, len(lines)):
        batches = [
            with_metrics(lines[at : at + size], AUTOMATIC, [1.7e9 + 6000.0] * len(lines[at : at + size]))
            for at in range(0, len(lines), size)
        ]
        engine = Engine({}, chosen, compiled=is_compiled)
        lived(engine, batches, {0})
        states.append(saved(engine))
    assert states[0] == states[1] == states[2]


def test_the_bound_on_metrics_is_the_same() -> None:
    few = DetectSettings(metrics_per_device=2)
    lines = backlog(1, 300)
    batch = with_metrics(lines, AUTOMATIC, np.maximum.accumulate([line.ts_s for line in lines]).tolist())
    compiled, plain = Engine({}, few), Engine({}, few, compiled=False)
    assert compiled.judge([batch, batch]) == plain.judge([batch, batch])
    assert saved(compiled) == saved(plain)


def test_numbers_stand_for_device_ids() -> None:
    lines = readings(3, devices=5, count=300)
    batch = samples_of(lines, PROFILE, np.maximum.accumulate([line.ts_s for line in lines]).tolist())
    by_id, by_number = Engine({}, SETTINGS), Engine({}, SETTINGS)
    numbers = by_number.numbers_of(batch.device_ids)
    assert by_number.numbers_of(batch.device_ids[:2]).tolist() == numbers[:2].tolist()
    numbered = Samples(
        batch.profile, (), batch.device, batch.ts_s, batch.alive_s, batch.metrics, batch.values, numbers=numbers
    )
    assert by_number.judge([numbered]) == by_id.judge([batch])
    assert saved(by_number) == saved(by_id)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scores_are_the_same(seed: int) -> None:
    rows = [Row(line.ts_s, line.metrics["heat"]) for line in backlog(seed, 400)]
    compiled, plain = Scorer(), Scorer(compiled=False)
    assert [compiled.score(row) for row in rows] == [plain.score(row) for row in rows]


@given(x=st.floats(-1000.0, 0.0), y=st.floats(1e-300, 1e300))
def test_exponentials_and_logarithms_are_right(x: float, y: float) -> None:
    assert float(exp2_of(np.array([x]))[0]) == pytest.approx(math.exp2(x), rel=1e-15)
    assert float(exp_of(np.array([x / 2]))[0]) == pytest.approx(math.exp(x / 2), rel=1e-13)
    assert float(log_of(np.array([y]))[0]) == pytest.approx(math.log(y), rel=1e-14, abs=1e-15)
    assert float(exp2_of(np.array([-1e300]))[0]) == 0.0
