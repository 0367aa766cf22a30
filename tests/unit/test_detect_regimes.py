"""Levels that jump between a few values: what drifts is found behind the leaps, and leaps are no drift."""

import numpy as np
import pytest

from devices.profiles import AUTOMATIC
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange, Kind, Samples
from gateway.detect.settings import DetectSettings
from tests.detect.stories import HOUR_S, START_S, Floats

NAMES = tuple(f"sensor_{number}" for number in range(10))
LEAP = 60.0  # noises between one setting and another, or thereabouts


def jumping(seed: int, settings: list[int] | None = None, *, count: int = 300, drift: float = 0.0) -> Floats:
    """Ten sensors that jump between settings in every reading, and from the middle on drift by so many noises."""
    rng = np.random.default_rng(seed)
    points = rng.normal(0, LEAP, (6, len(NAMES)))
    chosen = np.array(settings) if settings is not None else rng.integers(6, size=count)
    late = np.clip((np.arange(count) - count / 2) / (count / 4), 0, 1)[:, None]
    way = rng.choice([-1.0, 1.0], len(NAMES))
    return 500 + 2 * (points[chosen] + rng.normal(size=(count, len(NAMES))) + drift * late * way)


def raised(values: Floats, *, compiled: bool = True, cut: int | None = None) -> list[AlarmChange]:
    """Declines that the generic watches tell of; with a cut, the device moves to another engine there."""
    ts_s = (START_S + HOUR_S * np.arange(len(values))).astype(np.float64)
    engine = Engine({}, DetectSettings(), compiled=compiled)
    changes: list[AlarmChange] = []
    for part in np.split(np.arange(len(values)), [] if cut is None else [cut]):
        at = ts_s[part]
        changes += engine.judge([Samples(AUTOMATIC, ("a",), np.zeros(len(at), np.int32), at, at, NAMES, values[part])])
        taken = engine.take_out("a")
        assert taken is not None
        engine = Engine({}, DetectSettings(), compiled=compiled)
        engine.put_in("a", taken)
    return [change for change in changes if change.kind is Kind.DECLINE and change.event == "raised"]


@pytest.mark.parametrize("seed", range(3))
def test_a_drift_by_less_than_the_leaps_is_found(seed: int) -> None:
    found = raised(jumping(seed, drift=2.5))
    assert [change.metric for change in found] == [None]
    assert START_S + 150 * HOUR_S < found[0].ts_s < START_S + 240 * HOUR_S


@pytest.mark.parametrize("seed", range(3))
def test_leaps_alone_are_no_drift(seed: int) -> None:
    assert raised(jumping(seed, count=400)) == []


def test_a_setting_that_is_used_for_the_first_time_later_is_no_drift() -> None:
    rng = np.random.default_rng(4)
    settings = [*rng.integers(5, size=200).tolist(), *rng.integers(6, size=200).tolist()]
    assert raised(jumping(4, settings, count=400)) == []


def test_settings_that_are_kept_for_a_while_hide_no_drift() -> None:
    rng = np.random.default_rng(5)
    settings = np.repeat(rng.integers(6, size=150), 2).tolist()
    found = raised(jumping(5, settings, drift=3.0))
    assert [change.metric for change in found] == [None]


def test_compiled_or_not_and_moved_or_not_the_findings_are_the_same() -> None:
    values = jumping(6, drift=2.5)
    found = raised(values)
    assert len(found) == 1
    assert raised(values, compiled=False) == found
    for cut in (20, 60, 150):
        assert raised(values, cut=cut) == found
