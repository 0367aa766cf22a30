"""The state of an earlier version of a detector is taken up where the detector says what becomes of it."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from devices.ids import partition_of
from devices.profiles import AUTOMATIC
from devices.profiles.model import EVERY_EVENT, Profile
from gateway.detect.checkpoint import SavedArray, SavedState, SavedStation, SavedWatch
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange, Samples
from gateway.detect.settings import DetectSettings
from tests.detect.stories import HOUR_S, START_S, Floats, engine_for, judge, profile_of, samples_of

PARTITION = partition_of("a")
PROFILE = profile_of({"name": "watch", "detector": "record"}, unit="Cel")
SPIKE = 600


def temperatures() -> Floats:
    values = 20 + np.random.default_rng(1).normal(size=700)
    values[SPIKE] = 90
    return values


def old_record(saved: SavedStation) -> SavedStation:
    """A record detector's state as version 1 had it, with four ranges, a fast mean and no unrest."""
    arrays = {array.name: array for array in saved.arrays}
    for name, places in (("low", (1, 0, 1, 1)), ("high", (1, 0, 1, 1))):
        two = np.frombuffer(arrays[name].data, "f4").reshape(-1, 2)
        arrays[name] = SavedArray(name, "f4", 4, np.ascontiguousarray(two[:, places]).tobytes())
    arrays["fast"] = SavedArray("fast", "f8", 0, arrays["slow"].data)
    arrays["phase"] = SavedArray("phase", "f4", 0, np.asarray(_numbers(arrays["phase"]), "f4").tobytes())
    del arrays["before"], arrays["unrest"]
    return msgspec.structs.replace(saved, version=1, arrays=list(arrays.values()))


def _numbers(array: SavedArray) -> Floats:
    return np.frombuffer(array.data, array.dtype).astype(np.float64)


def handed_over(engine: Engine, profile: Profile, change: Callable[[SavedStation], SavedStation]) -> Engine:
    """An engine that takes up a checkpoint of another, whose record detector was another version."""
    state = msgspec.msgpack.decode(engine.checkpoint(PARTITION), type=SavedState)
    stations = [change(saved) if saved.detector == "record" else saved for saved in state.stations]
    after = engine_for(profile)
    after.restore(PARTITION, msgspec.msgpack.encode(msgspec.structs.replace(state, stations=stations)))
    return after


def at(values: Floats, start: int, end: int) -> tuple[Floats, Floats]:
    return START_S + HOUR_S * np.arange(start, end, dtype=np.float64), values[start:end]


def names(changes: list[AlarmChange]) -> list[tuple[str, float]]:
    return [(change.event, change.started_at_s) for change in changes]


@pytest.mark.parametrize("moment", [500, SPIKE + 1])
def test_ranges_means_and_alarms_go_on_from_version_one(moment: int) -> None:
    values = temperatures()
    before = engine_for(PROFILE)
    told = judge(before, PROFILE, *at(values, 0, moment))
    after = handed_over(before, PROFILE, old_record)
    told += judge(after, PROFILE, *at(values, moment, len(values)))
    start_s = START_S + SPIKE * HOUR_S
    assert names(told) == [("raised", start_s), ("cleared", start_s)]


def test_an_unknown_version_begins_anew_and_keeps_its_alarm() -> None:
    values = temperatures()
    before = engine_for(PROFILE)
    judge(before, PROFILE, *at(values, 0, 500))
    unknown = handed_over(before, PROFILE, lambda saved: msgspec.structs.replace(saved, version=99))
    assert judge(unknown, PROFILE, *at(values, 500, len(values))) == []  # it has seen too little to know a record
    judge(before, PROFILE, *at(values, 500, SPIKE + 1))
    up = handed_over(before, PROFILE, lambda saved: msgspec.structs.replace(saved, version=99))
    later = judge(up, PROFILE, *at(values, SPIKE + 1, len(values)))
    assert "raised" not in [event for event, _ in names(later)]
    assert {start_s for _, start_s in names(later)} == {START_S + SPIKE * HOUR_S}


DROP = profile_of({"name": "watch", "detector": "usage_drop"}, unit="1")


def old_drop(saved: SavedStation) -> SavedStation:
    """A usage drop's state as version 2 had it, with the hour that is being added up in double precision."""
    arrays = {array.name: array for array in saved.arrays}
    for name in ("hour", "use"):
        arrays[name] = SavedArray(name, "f8", 0, _numbers(arrays[name]).tobytes())
    return msgspec.structs.replace(saved, version=2, arrays=list(arrays.values()))


def test_a_habit_goes_on_from_version_two() -> None:
    hours = np.arange(40 * 24)
    use = np.where((hours % 24 >= 7) & (hours < 35 * 24), np.random.default_rng(2).integers(1, 90, len(hours)), 0)
    values = use.astype(np.float64)
    whole = engine_for(DROP)
    told = judge(whole, DROP, *at(values, 0, 500))
    state = msgspec.msgpack.decode(whole.checkpoint(PARTITION), type=SavedState)
    stations = [old_drop(saved) if saved.detector == "usage_drop" else saved for saved in state.stations]
    after = engine_for(DROP)
    after.restore(PARTITION, msgspec.msgpack.encode(msgspec.structs.replace(state, stations=stations)))
    rest = judge(whole, DROP, *at(values, 500, len(values)))
    assert told == []
    assert [change.event for change in rest][:1] == ["raised"]
    assert judge(after, DROP, *at(values, 500, len(values))) == rest


ROWS = Profile.model_validate(
    {
        "model": "pump",
        "title": "Pump",
        "metrics": {name: {"kind": "gauge"} for name in ("flow", "pressure", "current")},
        "watches": [
            {"name": "row", "detector": "unlike", "parameters": {"warm_up": 0}},
            *({"name": name, "detector": "unlike", "metric": name} for name in ("flow", "pressure", "current")),
        ],
    }
)


def rows_told(engine: Engine, values: Floats, start: int, every_s: float = 10.0) -> list[AlarmChange]:
    ts_s = START_S + every_s * np.arange(start, start + len(values), dtype=np.float64)
    where = np.zeros(len(values), np.int32)
    return engine.judge([Samples(ROWS, ("a",), where, ts_s, ts_s, tuple(ROWS.metrics), values)])


def old_rows(saved: SavedStation) -> SavedStation:
    """The state of rows as version 1 had it, with one level."""
    arrays = {array.name: array for array in saved.arrays}
    for name in ("level", "bar", "top", "swing", "peak"):
        both = np.frombuffer(arrays[name].data, "f4").reshape(-1, 2)
        arrays[name] = SavedArray(name, "f4", 0, np.ascontiguousarray(both[:, 0]).tobytes())
    both = np.frombuffer(arrays["highs"].data, "f4").reshape(-1, 64)
    arrays["highs"] = SavedArray("highs", "f4", 32, np.ascontiguousarray(both[:, :32]).tobytes())
    del arrays["leap"], arrays["leaps"]
    return msgspec.structs.replace(saved, version=1, arrays=list(arrays.values()))


def test_what_rows_are_like_goes_on_from_version_one_and_how_high_levels_come_is_learnt_anew() -> None:
    values = np.random.default_rng(4).normal(size=(1500, 3)) + np.array([10.0, 200.0, 3.0])
    values[1400:, 1] += 8.0
    before = engine_for(ROWS)
    assert rows_told(before, values[:800], 0) == []
    state = msgspec.msgpack.decode(before.checkpoint(PARTITION), type=SavedState)
    after = upgraded(before)
    again = msgspec.msgpack.decode(after.checkpoint(PARTITION), type=SavedState)
    assert all(_of_rows(state, name) == _of_rows(again, name) for name in ("mean", "spread", "along", "rows"))
    assert max(map(max, _of_rows(state, "highs"))) > 0.0 == max(map(max, _of_rows(again, "highs")))
    assert [change.event for change in rows_told(after, values[800:1400], 800)] == []
    raised = rows_told(after, values[1400:], 1400)[0]
    assert (raised.watch, raised.event) == ("row", "raised")


def upgraded(before: Engine, *, compiled: bool = True) -> Engine:
    """An engine that takes up the rows that another knew, as version 1 had them."""
    state = msgspec.msgpack.decode(before.checkpoint(PARTITION), type=SavedState)
    stations = [old_rows(saved) if saved.detector == "unlike" else saved for saved in state.stations]
    after = Engine({ROWS.model: ROWS}, DetectSettings(), compiled=compiled)
    after.restore(PARTITION, msgspec.msgpack.encode(msgspec.structs.replace(state, stations=stations)))
    return after


@pytest.mark.parametrize("compiled", [True, False])
def test_rows_that_were_unlike_before_an_upgrade_and_still_are_are_not_said_to_be_over(compiled: bool) -> None:
    values = np.random.default_rng(4).normal(size=(1500, 3)) + np.array([10.0, 200.0, 3.0])
    values[1000:1400, 1] += 8.0
    before = engine_for(ROWS)
    raised = rows_told(before, values[:1010], 0)[0]
    assert raised.event == "raised"
    after = upgraded(before, compiled=compiled)
    assert [change.event for change in rows_told(after, values[1010:1400], 1010)] == []
    over = rows_told(after, values[1400:], 1400)[0]
    assert (over.event, over.started_at_s) == ("cleared", raised.started_at_s)
    assert np.isfinite(over.explanation.evidence).all()


def test_what_is_not_known_after_an_upgrade_is_not_said_of_rows_that_are_still_unlike() -> None:
    values = np.random.default_rng(4).normal(size=(1500, 3)) + np.array([10.0, 200.0, 3.0])
    values[1000:, 1] += 8.0
    before = engine_for(ROWS)
    assert [change.event for change in rows_told(before, values[:1010], 0, 600.0)] == ["raised", "updated"]
    updated = rows_told(upgraded(before), values[1010:], 1010, 600.0)[0]
    told = updated.explanation
    assert updated.event == "updated"
    assert "inf" not in f"{told.text} {told.expected} {told.observed} {told.evidence}"


def _of_rows(state: SavedState, name: str) -> list[list[float]]:
    """A field of the series of rows, in no order of theirs."""
    saved = next(saved for saved in state.stations if saved.detector == "unlike")
    array = next(array for array in saved.arrays if array.name == name)
    return sorted(_numbers(array).reshape(-1, max(array.lanes, 1)).tolist())


def test_when_a_device_was_first_heard_is_found_in_states_that_kept_it_with_a_series_of_events() -> None:
    before = engine_for(AUTOMATIC)
    before.judge([samples_of(AUTOMATIC, ["a"], np.full(1, START_S), np.ones(1))])
    state = msgspec.msgpack.decode(before.checkpoint(PARTITION), type=SavedState)
    fields = {"newest_s": START_S, "first_s": START_S, "seen": 0.0}
    waiting = SavedStation(
        detector="event_burst",
        version=1,
        watches=[SavedWatch(AUTOMATIC.model, "bursts", EVERY_EVENT)],
        device=np.zeros(1, np.int32).tobytes(),
        watch=np.zeros(1, np.int32).tobytes(),
        arrays=[SavedArray(name, "f8", 0, np.array([value]).tobytes()) for name, value in fields.items()],
    )
    others = [saved for saved in state.stations if saved.detector != "event_burst"]
    old = msgspec.structs.replace(state, stations=[*others, waiting], first_s=b"")
    after = engine_for(AUTOMATIC)
    after.restore(PARTITION, msgspec.msgpack.encode(old))
    again = msgspec.msgpack.decode(after.checkpoint(PARTITION), type=SavedState)
    assert again.first_s == state.first_s == np.array([START_S]).tobytes()
    assert after.bytes_held["event_burst"] == before.bytes_held["event_burst"]
