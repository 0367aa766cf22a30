"""One metric that counts less than it did while its companion goes on, and much that only looks like it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from devices.ids import PARTITIONS
from devices.profiles import AUTOMATIC
from devices.profiles.model import Watch
from gateway.detect.engine import Engine
from gateway.detect.generic import metric_watches
from gateway.detect.lines import Line
from gateway.detect.model import AlarmChange, Kind, Samples
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
def test_a_metric_whose_companion_has_nearly_stopped_too_does_not_fall_alone(seed: int) -> None:
    """Nine tenths less use, and minutes that are not counted at all then: the device is hardly used."""
    hardly = times(0.1, end=FAULT_DAY + 6)
    metrics = {name: np.round(use * hardly) for name, use in worn(seed).items()}
    metrics["minutes"] *= times(0.0, end=FAULT_DAY + 6)
    assert falls(judged(metrics)) == []


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


def test_a_fall_that_came_to_nothing_does_not_hide_a_surge_once_the_companion_is_lost() -> None:
    metrics = {name: use for name, use in worn(2).items() if name in {"steps", "distance"}}
    day = np.arange(24 * DAYS) / 24 - FAULT_DAY
    metrics["steps"] = np.where(day < 1.5, metrics["steps"], np.nan)
    for before in (1.0, 0.3):
        distance = metrics["distance"] * np.select([day < 0, day < 1.5, day < 7], [1.0, before, 1.0], 4.0)
        about = [change for change in judged(metrics | {"distance": np.round(distance)}) if change.metric == "distance"]
        assert [(change.event, change.kind) for change in about[:1]] == [("raised", Kind.USAGE_SURGE)], before


def test_a_fall_ends_though_its_watch_no_longer_asks_for_any(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = {name: use for name, use in worn(2).items() if name in {"steps", "distance"}}
    metrics["distance"] = np.round(metrics["distance"] * times(0.3, end=FAULT_DAY + 8))
    before, after = (
        [part[rows] for part in (hours(24 * DAYS), np.column_stack([*metrics.values()]))]
        for rows in (slice(24 * (FAULT_DAY + 7)), slice(24 * (FAULT_DAY + 7), None))
    )
    engine = Engine({}, DetectSettings())
    assert [change.event for change in falls(engine.judge([two_of(*before)]))][:1] == ["raised"]
    monkeypatch.setattr("gateway.detect.lanes.metric_watches", without_falls)
    for compiled in (True, False):  # whose states are the same to the last bit, as the test below says
        other = Engine({}, DetectSettings(), compiled=compiled)
        for partition in range(PARTITIONS):
            other.restore(partition, engine.checkpoint(partition))
        assert [change.event for change in falls(other.judge([two_of(*after)]))][-1:] == ["cleared"]


def two_of(ts_s: Floats, values: Floats) -> Samples:
    """Steps and distance of one device."""
    batch = samples_of(AUTOMATIC, ["a"] * len(ts_s), ts_s, values[:, 0])
    return replace(batch, metrics=("steps", "distance"), values=values)


def without_falls(metric: str) -> Sequence[Watch]:
    """The generic watches, none of which asks for falls."""
    return [
        watch.model_copy(update={"parameters": {k: v for k, v in watch.parameters.items() if k != "falls"}})
        for watch in metric_watches(metric)
    ]


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
    batch = two_of(ts_s, np.column_stack([*metrics.values()]))
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
