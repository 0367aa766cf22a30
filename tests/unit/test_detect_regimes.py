"""Levels that jump between a few values: what drifts is found behind the leaps, and leaps are no drift."""

import msgspec
import numpy as np
import pytest

from devices.ids import partition_of
from devices.profiles import AUTOMATIC
from gateway.detect.checkpoint import SavedState
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


@pytest.mark.parametrize("seed", range(3))
def test_a_machine_that_at_first_hardly_stays_in_a_setting_is_followed_as_well(seed: int) -> None:
    """So it is by chance with 4 to 7 % of the units that have six settings: no wear of theirs was ever told of."""
    rng = np.random.default_rng(seed)
    first = np.tile(np.arange(6), 8)
    first[[20, 30, 40]] = first[[19, 29, 39]]
    settings = [*first.tolist(), *rng.integers(6, size=352).tolist()]
    assert [change.metric for change in raised(jumping(seed, settings, count=400, drift=2.5))] == [None]
    assert raised(jumping(seed, settings, count=400)) == []


def near_settings(seed: int, count: int = 300, drift: float = 0.0) -> Floats:
    """Ten sensors in six settings, of which two lie no further apart than six noises in every sensor."""
    rng = np.random.default_rng(seed)
    points = rng.normal(0, LEAP, (6, len(NAMES)))
    points[1] = points[0] + 6.0 * rng.choice([-1.0, 1.0], len(NAMES))
    late = np.clip((np.arange(count) - count / 2) / (count / 4), 0, 1)[:, None]
    way = rng.choice([-1.0, 1.0], len(NAMES))
    return 500 + 2 * (points[rng.integers(6, size=count)] + rng.normal(size=(count, len(NAMES))) + drift * late * way)


@pytest.mark.parametrize("seed", range(3))
def test_settings_that_lie_close_together_are_told_apart_and_hide_no_drift(seed: int) -> None:
    assert [change.metric for change in raised(near_settings(seed, drift=1.8))] == [None]
    assert raised(near_settings(seed)) == []


@pytest.mark.parametrize("seed", range(3))
def test_what_a_setting_alone_decides_hides_no_drift(seed: int) -> None:
    """Four metrics of ten say the setting and nothing else, in values that are always the same."""
    rng = np.random.default_rng(seed)
    settings = rng.integers(6, size=300)
    exact = np.column_stack([rng.permutation(np.linspace(50, 150, 6)) for _ in range(4)])[settings]
    values = jumping(seed, settings.tolist(), drift=2.2)
    found = raised(np.hstack([values[:, :6], exact]))
    assert [change.metric for change in found] == [None]
    assert "of 6 metrics" in found[0].explanation.text


@pytest.mark.parametrize("moment", [5, 30, 120])
def test_a_level_goes_on_from_version_two(moment: int) -> None:
    """A level of then knew only how often it had leapt to where it stood."""
    values = jumping(7, drift=2.5)
    ts_s = (START_S + HOUR_S * np.arange(len(values))).astype(np.float64)
    zeros = np.zeros(len(values), np.int32)
    before, after = Engine({}, DetectSettings()), Engine({AUTOMATIC.model: AUTOMATIC}, DetectSettings())
    before.judge([Samples(AUTOMATIC, ("a",), zeros[:moment], ts_s[:moment], ts_s[:moment], NAMES, values[:moment])])
    state = msgspec.msgpack.decode(before.checkpoint(partition_of("a")), type=SavedState)
    after.restore(partition_of("a"), msgspec.msgpack.encode(as_version_two(state)))
    changes = after.judge(
        [Samples(AUTOMATIC, ("a",), zeros[moment:], ts_s[moment:], ts_s[moment:], NAMES, values[moment:])]
    )
    assert [change.metric for change in changes if change.kind is Kind.DECLINE and change.event == "raised"] == [None]


def as_version_two(state: SavedState) -> SavedState:
    """The same with a decline detector's state as it was."""
    stations = [
        msgspec.structs.replace(
            saved,
            version=2,
            arrays=[
                msgspec.structs.replace(array, data=bytes(len(array.data))) if array.name == "use" else array
                for array in saved.arrays
            ],
        )
        if saved.detector == "decline"
        else saved
        for saved in state.stations
    ]
    return msgspec.structs.replace(state, stations=stations)


def test_compiled_or_not_and_moved_or_not_the_findings_are_the_same() -> None:
    values = jumping(6, drift=2.5)
    found = raised(values)
    assert len(found) == 1
    assert raised(values, compiled=False) == found
    for cut in (20, 60, 150):
        assert raised(values, cut=cut) == found
