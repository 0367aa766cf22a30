"""One device's state can be taken out and put in again, and what was judged in between has not happened."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from devices.ids import partition_of
from devices.profiles import AUTOMATIC
from devices.profiles.model import Profile
from devices.registry.model import Device
from gateway.detect.engine import Engine
from gateway.detect.lines import Line
from gateway.detect.model import AlarmChange
from gateway.detect.settings import DetectSettings
from gateway.pipeline.directory import DeviceDirectory
from tests.property.test_detect_splits import PROFILE, readings, samples_of

OTHER = PROFILE.model_copy(update={"model": "other", "watches": PROFILE.watches[:3]})
PROFILES = {PROFILE.model: PROFILE, OTHER.model: OTHER}


def judged(engine: Engine, profile: Profile, lines: list[Line], alive_s: list[float]) -> list[AlarmChange]:
    return engine.judge([samples_of(lines, profile, alive_s)]) if lines else []


def saved(engine: Engine) -> dict[int, bytes]:
    """What every partition holds that a device of the stories can be in."""
    return {partition: engine.checkpoint(partition) for partition in {partition_of(f"device-{n}") for n in range(4)}}


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    profile=st.sampled_from([PROFILE, AUTOMATIC]),
    cut=st.integers(20, 150),
    late=st.integers(1, 40),
)
def test_a_device_put_in_again_goes_on_as_if_nothing_had_come_since(
    seed: int, profile: Profile, cut: int, late: int
) -> None:
    lines = readings(seed, devices=4, count=200)
    alive_s = np.maximum.accumulate([line.ts_s for line in lines]).tolist()
    engine = Engine(PROFILES, DetectSettings())
    judged(engine, profile, lines[:cut], alive_s[:cut])
    kept = engine.take_out("device-0")
    assume(kept is not None)  # it may not have been heard of among so few
    assert kept is not None
    whole = saved(engine)
    others = [line for line in lines[cut:] if line.device != "device-0"]
    own = [line for line in lines[cut : cut + late] if line.device == "device-0"]
    judged(engine, profile, own, [alive_s[cut + late]] * len(own))
    engine.put_in("device-0", kept)
    assert engine.take_out("device-0") == kept
    assert saved(engine) == whole
    undisturbed = Engine(PROFILES, DetectSettings())
    judged(undisturbed, profile, lines[:cut], alive_s[:cut])
    rest = [line for line in lines[cut:] if line.device == "device-0"] + others
    at_s = [alive_s[-1]] * len(rest)
    assert judged(engine, profile, rest, at_s) == judged(undisturbed, profile, rest, at_s)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(20, 150))
def test_putting_in_is_undone_with_its_turn(seed: int, cut: int) -> None:
    lines = readings(seed, devices=4, count=200)
    alive_s = np.maximum.accumulate([line.ts_s for line in lines]).tolist()
    engine = Engine(PROFILES, DetectSettings())
    judged(engine, PROFILE, lines[:cut], alive_s[:cut])
    early = engine.take_out("device-1")
    judged(engine, PROFILE, lines[cut:], alive_s[cut:])
    elsewhere = Engine(PROFILES, DetectSettings())
    judged(elsewhere, OTHER, lines[:cut], alive_s[:cut])
    whole = saved(engine)
    for state in (early, elsewhere.take_out("device-1"), engine.take_out("device-2")):
        if state is None:
            continue
        engine.begin()
        engine.put_in("device-1", state)
        assert engine.take_out("device-1") is not None
        judged(engine, PROFILE, lines[cut:], alive_s[cut:])
        engine.rollback()
        assert saved(engine) == whole


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(20, 150), is_undone=st.booleans())
def test_a_device_of_another_model_leaves_no_alarm_behind(seed: int, cut: int, is_undone: bool) -> None:
    lines = readings(seed, devices=3, count=200)
    alive_s = np.maximum.accumulate([line.ts_s for line in lines]).tolist()
    engine = Engine(PROFILES, DetectSettings())
    told = judged(engine, PROFILE, lines[:cut], alive_s[:cut])
    told += engine.due(alive_s[cut - 1], alive_s[cut - 1])
    last = {(change.device_id, change.watch, change.started_at_s): change.event for change in told}
    up = {key for key, event in last.items() if event != "cleared" and key[0] != "device-2"}
    moved = [line for line in lines[cut:] if line.device != "device-2"]
    whole = saved(engine)
    engine.begin()
    changes = judged(engine, OTHER, moved, [alive_s[-1]] * len(moved))
    if is_undone:
        engine.rollback()
        assert saved(engine) == whole
        engine.begin()
        assert judged(engine, OTHER, moved, [alive_s[-1]] * len(moved)) == changes
    engine.commit()
    names = {line.device for line in moved}
    over = [change for change in changes if "known as other now" in change.explanation.text]
    assert {(c.device_id, c.watch, c.started_at_s) for c in over} == {key for key in up if key[0] in names}
    for change in over:
        assert change.event == "cleared"
        assert change.ts_s >= change.started_at_s
        assert "known as other now, no longer as thing" in change.explanation.text
    fresh = Engine(PROFILES, DetectSettings())
    anew = judged(fresh, OTHER, moved, [alive_s[-1]] * len(moved))
    assert [change for change in changes if change not in over] == anew


def test_what_was_forgotten_is_gone_from_the_next_checkpoint() -> None:
    engine = Engine(PROFILES, DetectSettings())
    lines = [Line("a", 1.7e9 + hour * 3600.0, {"heat": 9.0}) for hour in range(3)]
    judged(engine, PROFILE, lines, [line.ts_s for line in lines])
    partition = partition_of("a")
    known = engine.checkpoint(partition)
    assert engine.dirty() == set()
    engine.begin()
    engine.forget("a")
    assert engine.take_out("a") is None
    engine.rollback()
    assert engine.device_ids() == ["a"]
    assert engine.checkpoint(partition) == known, "a turn that is undone has forgotten nothing"
    engine.begin()
    engine.forget("a")
    engine.commit()
    assert engine.take_out("a") is None
    assert engine.device_ids() == []
    assert engine.dirty() == {partition}
    assert len(engine.checkpoint(partition)) < len(known)
    assert engine.due(1.8e9, 1.8e9) == []
    again = judged(engine, PROFILE, lines, [line.ts_s for line in lines])
    assert [change.event for change in again] == ["raised"]


def test_a_directory_tells_once_who_is_gone() -> None:
    directory = DeviceDirectory(
        Device(device_id, "t", None, None, partition_of(device_id)) for device_id in ("a", "b", "c")
    )
    for device_id in ("a", "b", "nobody"):
        directory.remove(device_id)
    directory.put(Device("b", "t", None, None, partition_of("b")))
    assert directory.take_gone() == {"a"}
    assert directory.take_gone() == set()


def test_what_is_no_state_of_a_device_is_refused() -> None:
    engine = Engine(PROFILES, DetectSettings())
    assert engine.take_out("nobody") is None
    judged(engine, PROFILE, [Line("a", 1.0, {"heat": 1.0}), Line("b", 1.0, {"heat": 1.0})], [1.0, 1.0])
    engine.forget("b")
    assert engine.take_out("b") is None
    with pytest.raises(ValueError, match="not the state of one device"):
        engine.put_in("a", engine.checkpoint(partition_of("no such device")))


def test_what_was_saved_in_a_turn_that_is_undone_is_to_be_saved_again() -> None:
    engine = Engine(PROFILES, DetectSettings())
    lines = [Line("a", 1.7e9 + hour * 3600.0, {"heat": 9.0}) for hour in range(3)]
    judged(engine, PROFILE, lines, [line.ts_s for line in lines])
    partition = partition_of("a")
    engine.begin()
    engine.forget("a")
    engine.checkpoint(partition)
    assert engine.dirty() == set()
    engine.rollback()
    assert engine.dirty() == {partition}
    engine.checkpoint(partition)
    engine.rollback()
    assert engine.dirty() == set(), "no turn was open"
