"""A metric that has gone while the others of its device go on, and what only looks like it."""

from itertools import pairwise

import numpy as np
import pytest

from devices.profiles import AUTOMATIC
from gateway.detect.engine import Engine
from gateway.detect.lines import Line
from gateway.detect.model import AlarmChange, Samples
from gateway.detect.settings import DetectSettings
from gateway.detect.stream import Stream
from tests.detect.stories import HOUR_S, START_S, Floats, habit

DAYS = 30
BROKEN = 20 * 24 + 9  # an hour of the morning


def body(days: int = DAYS, seed: int = 1) -> dict[str, Floats]:
    """A wearable that counts steps, measures a heart and loses charge."""
    rng = np.random.default_rng(seed)
    steps = habit(days, seed)
    heart = 60 + np.sqrt(steps) / 2 + rng.normal(size=len(steps))
    battery = 100.0 - np.arange(len(steps)) % 97
    metrics = {"steps": steps, "walked": np.round(steps * 0.7), "heart": np.round(heart, 1), "battery": battery}
    return {name: values.astype(np.float64) for name, values in metrics.items()}


def told(metrics: dict[str, Floats], hours: int | None = None) -> list[AlarmChange]:
    """What is said of missing metrics, of a device without a profile; NaN is a metric that a line does not have."""
    changes = Stream(AUTOMATIC, DetectSettings()).take(lines_of(metrics)[:hours])
    return [change for change in changes if change.watch == "sensors"]


def lines_of(metrics: dict[str, Floats]) -> list[Line]:
    return [
        Line("a", START_S + HOUR_S * at, {name: float(of[at]) for name, of in metrics.items() if np.isfinite(of[at])})
        for at in range(len(metrics["steps"]))
        if any(np.isfinite(of[at]) for of in metrics.values())
    ]


@pytest.mark.parametrize(("name", "gone"), [("heart", np.nan), ("heart", 0.0), ("steps", 0.0), ("walked", np.nan)])
def test_a_metric_that_has_gone_while_the_others_go_on_is_told_within_a_day(name: str, gone: float) -> None:
    metrics = body()
    metrics[name][BROKEN : 24 * 25] = gone
    changes = told(metrics)
    assert [change.event for change in changes if change.event != "updated"] == ["raised", "cleared"]
    raised = changes[0]
    assert raised.ts_s <= START_S + (BROKEN + 24) * HOUR_S
    assert START_S + (BROKEN - 1) * HOUR_S <= raised.started_at_s <= START_S + (BROKEN + 10) * HOUR_S
    said = raised.explanation
    assert said.text.startswith(f"{name.capitalize()}: {'zeros only' if gone == 0 else 'nothing'} since")
    assert "other metrics of the device go on: " in said.text
    assert said.evidence


def test_what_stands_still_is_not_called_zero_and_what_has_long_gone_does_not_go_on() -> None:
    metrics = body()
    way = np.cumsum(np.where(metrics["steps"] > 0, metrics["walked"] + 1, 0.0))
    way[BROKEN:] = way[BROKEN]
    metrics["way"], metrics["walked"][48:] = way, np.nan  # the firmware of the third day has no such metric any more
    said = told(metrics)[0].explanation.text
    assert said.startswith("Way: nothing new since")
    assert "while 3 other metrics of the device go on: Battery, Heart, Steps; otherwise" in said


def test_a_device_in_a_drawer_misses_nothing() -> None:
    metrics = body()
    for start in (11, 20):
        away = slice(24 * start + 7, 24 * (start + 3))
        metrics["heart"][away] = np.nan
        metrics["steps"][away] = metrics["walked"][away] = 0.0
    assert told(metrics) == []


def test_a_device_that_is_silent_misses_nothing() -> None:
    metrics = body()
    for values in metrics.values():
        values[24 * 14 : 24 * 17] = np.nan
    assert told(metrics) == []


def test_what_comes_once_a_day_or_by_chance_is_not_missed() -> None:
    metrics, rng = body(), np.random.default_rng(3)
    hours = np.arange(len(metrics["steps"]))
    metrics["weight"] = np.where(hours % 24 == 8, 80.0 + rng.normal(size=len(hours)), np.nan)
    metrics["floors"] = rng.poisson(metrics["steps"] / 3000).astype(np.float64)
    metrics["heart"][rng.random(len(hours)) < 0.4] = np.nan
    assert told(metrics) == []


def test_days_without_a_metric_are_learnt_from() -> None:
    metrics = body(60)
    for start in range(5, 55, 5):  # its owner takes it along in a pocket
        metrics["heart"][24 * start : 24 * start + 36] = np.nan
    raised = [change.ts_s for change in told(metrics) if change.event == "raised"]
    assert all(at <= START_S + 21 * 24 * HOUR_S for at in raised)


def test_nothing_is_missed_before_it_is_known() -> None:
    metrics = body(6)
    metrics["heart"][24 * 3 :] = np.nan
    assert told(metrics) == []


def test_what_is_told_does_not_depend_on_what_comes_later_nor_on_units() -> None:
    metrics = body()
    metrics["heart"][BROKEN:] = np.nan
    whole = told(metrics)
    until = START_S + (BROKEN + 30) * HOUR_S
    assert told(metrics, BROKEN + 31) == [change for change in whole if change.ts_s <= until]
    scaled = told({name: values * 64.0 for name, values in metrics.items()})
    assert [(change.event, change.ts_s, change.score) for change in scaled] == [
        (change.event, change.ts_s, change.score) for change in whole
    ]


def test_compiled_or_not_and_however_cut_the_same_is_told() -> None:
    metrics, rng = body(), np.random.default_rng(5)
    metrics["heart"][BROKEN:] = np.nan
    metrics["walked"][24 * 15 : 24 * 17] = 0.0
    metrics["steps"][rng.random(len(metrics["steps"])) < 0.05] = np.nan
    lines = [line for line in lines_of(metrics) if rng.random() < 0.97]
    names = tuple(sorted(metrics))
    found: list[list[AlarmChange]] = []
    for compiled, size in ((True, len(lines)), (True, 1), (False, 37)):
        engine = Engine({}, DetectSettings(), compiled=compiled)
        changes: list[AlarmChange] = []
        for start, end in pairwise([*range(0, len(lines), size), len(lines)]):
            changes += engine.judge([_samples(lines[start:end], names)])
        found.append(changes)
    assert any(change.watch == "sensors" for change in found[0])
    assert found[0] == found[1] == found[2]


def _samples(lines: list[Line], names: tuple[str, ...]) -> Samples:
    ts_s = np.array([line.ts_s for line in lines])
    values = np.array([[line.metrics.get(name, np.nan) for name in names] for line in lines])
    return Samples(AUTOMATIC, ("a",), np.zeros(len(lines), np.int32), ts_s, ts_s, metrics=names, values=values)
