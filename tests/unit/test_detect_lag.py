"""One metric that counts less than it did while its companion goes on, and much that only looks like it."""

from dataclasses import replace

import numpy as np
import pytest

from devices.ids import PARTITIONS
from devices.profiles import AUTOMATIC
from gateway.detect.engine import Engine
from gateway.detect.lines import Line
from gateway.detect.model import AlarmChange, Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.stream import Stream
from gateway.detect.usage_surge import UsageSurge
from tests.detect.stories import DAY_S, START_S, Floats, habit, hours, samples_of

SEEDS = range(4)
DAYS = 45
FAULT_DAY = 25


def times(factor: float, end: int = 1000, days: int = DAYS) -> Floats:
    """A factor for each hour: 1, and another one from the fault's day on."""
    day = np.arange(24 * days) / 24
    return np.where((day >= FAULT_DAY) & (day < end), factor, 1.0)


def worn(seed: int, days: int = DAYS) -> dict[str, Floats]:
    """Steps, minutes and distance of one person, and events that mostly come with the steps."""
    rng = np.random.default_rng(seed)
    steps = habit(days, seed)
    events = rng.poisson(40 * steps / 8000).astype(np.float64)
    minutes = np.asarray(np.round(60 * (1 - np.exp(-steps / 1200))), np.float64)
    metres = np.asarray(np.round(0.7 * steps), np.float64)
    return {"steps": steps, "minutes": minutes, "distance": metres, "events": events}


def judged(metrics: dict[str, Floats], kept: Floats | None = None) -> list[AlarmChange]:
    """What is said of a device's use beside its companions, NaN where a metric is missing."""
    ts_s = hours(len(next(iter(metrics.values()))))
    lines = [
        Line("a", float(at_s), {name: float(of[i]) for name, of in metrics.items() if np.isfinite(of[i])})
        for i, at_s in enumerate(ts_s)
        if kept is None or kept[i]
    ]
    changes = Stream(AUTOMATIC, DetectSettings()).take(lines)
    return [change for change in changes if change.watch.startswith("usage-surge")]


def falls(changes: list[AlarmChange]) -> list[AlarmChange]:
    return [change for change in changes if change.kind is Kind.USAGE_DROP]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["distance", "minutes"])
def test_a_metric_that_counts_a_third_while_the_others_go_on_is_told_in_a_week_or_so(name: str, seed: int) -> None:
    metrics = worn(seed)
    kept = (np.random.default_rng(seed).random(24 * DAYS) > 0.25).astype(float)
    [told, *_] = falls(judged(metrics | {name: np.round(metrics[name] * times(0.3))}, kept))
    assert (told.event, told.metric) == ("raised", name)
    assert 0 < (told.ts_s - START_S) / DAY_S - FAULT_DAY <= 9
    assert "times this device's habit of" in told.explanation.text
    assert "it has been less since" in told.explanation.text
    assert "going by" in told.explanation.text


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lazy_fortnight_is_no_fall_of_any_metric(seed: int) -> None:
    lazy = times(0.35, end=FAULT_DAY + 14)
    assert falls(judged({name: np.round(use * lazy) for name, use in worn(seed).items()})) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_device_that_lies_at_home_says_nothing_of_one_metric(seed: int) -> None:
    away = times(0.0, end=FAULT_DAY + 3)
    assert falls(judged({name: use * away for name, use in worn(seed).items()})) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_companion_that_counts_too_much_makes_nothing_else_fall(seed: int) -> None:
    metrics = worn(seed)
    assert falls(judged(metrics | {"steps": metrics["steps"] * times(3.0)})) == []


def test_a_fall_that_is_over_is_told_as_such_and_as_what_it_was() -> None:
    metrics = worn(2)
    changes = judged(metrics | {"distance": np.round(metrics["distance"] * times(0.3, end=FAULT_DAY + 8))})
    about = [change for change in changes if change.metric == "distance"]
    assert [change.event for change in about if change.event != "updated"] == ["raised", "cleared"]
    assert {change.kind for change in about} == {Kind.USAGE_DROP}
    assert "is as usual again" in about[-1].explanation.text
    assert "it was less since" in about[-1].explanation.text
    assert about[0].started_at_s >= START_S + (FAULT_DAY - 1) * DAY_S
    assert about[-1].started_at_s == about[0].started_at_s


def test_a_fall_whose_companion_is_lost_can_be_over_all_the_same() -> None:
    metrics = {name: use for name, use in worn(2).items() if name in {"steps", "distance"}}
    metrics["distance"] = np.round(metrics["distance"] * times(0.3, end=FAULT_DAY + 8))
    metrics["steps"] = np.where(np.arange(24 * DAYS) < 24 * (FAULT_DAY + 5), metrics["steps"], np.nan)
    about = [change for change in judged(metrics) if change.metric == "distance"]
    assert [change.event for change in about if change.event != "updated"] == ["raised", "cleared"]


def test_scale_and_what_follows_change_nothing_of_what_was_said() -> None:
    metrics = worn(4)
    metrics["distance"] = np.round(metrics["distance"] * times(0.3))
    told = [(change.metric, change.event, change.ts_s) for change in judged(metrics)]
    assert told
    scaled = judged({name: use * 1024.0 for name, use in metrics.items()})
    assert [(change.metric, change.event, change.ts_s) for change in scaled] == told
    half = 24 * (FAULT_DAY + 6)
    early = judged({name: use[:half] for name, use in metrics.items()})
    assert early == judged(metrics)[: len(early)]


def test_hours_in_which_either_is_missing_say_nothing() -> None:
    metrics = worn(1)
    gaps = np.random.default_rng(1).random((2, 24 * DAYS)) < 0.3
    metrics["distance"] = np.where(gaps[0], np.nan, metrics["distance"])
    metrics["steps"] = np.where(gaps[1], np.nan, metrics["steps"])
    assert falls(judged(metrics)) == []


def test_compiled_or_not_a_fall_is_the_same_to_the_last_bit() -> None:
    metrics = {name: use[: 24 * 34] for name, use in worn(2).items() if name in {"steps", "distance"}}
    metrics["distance"] = np.round(metrics["distance"] * times(0.3, end=FAULT_DAY + 6)[: 24 * 34])
    ts_s = hours(24 * 34)
    batch = samples_of(AUTOMATIC, ["a"] * len(ts_s), ts_s, metrics["steps"])
    batch = replace(batch, metrics=("steps", "distance"), values=np.column_stack([*metrics.values()]))
    engines = Engine({}, DetectSettings()), Engine({}, DetectSettings(), compiled=False)
    compiled, plain = (engine.judge([batch]) for engine in engines)
    assert [change.event for change in falls(compiled) if change.event != "updated"] == ["raised", "cleared"]
    assert compiled == plain
    kept = [[engine.checkpoint(partition) for partition in range(PARTITIONS)] for engine in engines]
    assert kept[0] == kept[1]


def test_a_state_from_before_falls_were_told_goes_on() -> None:
    saved = {"surge": np.array([0.4], np.float32)}
    detector = UsageSurge()
    assert [detector.migrate(version, saved) for version in (1, 2)] == [saved, saved]
    assert detector.migrate(0, saved) is None
