"""How readings and events are batched makes no difference to any burst, nor does a restart or a failed transaction."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.ids import partition_of
from devices.profiles import AUTOMATIC
from devices.profiles.model import Profile
from gateway.detect.engine import Engine
from gateway.detect.lines import Line
from gateway.detect.model import AlarmChange, Events, Samples
from gateway.detect.settings import DetectSettings
from gateway.order.rejudge import joined, live_detectors
from tests.detect.bursts import bursts, watched
from tests.detect.stories import HOUR_S, START_S

DEVICES = ("device-0", "device-1", "device-2")
LIMITED = watched(parameters={"count": 3, "within": "2h", "least": 3, "unlikely": 4, "warm_up": "1d"})
SETTINGS = DetectSettings(events_per_device=2)


def lives(seed: int) -> list[Line]:
    """Readings and events of a few devices, some late, in storms and in between; the first may be an event."""
    rng = np.random.default_rng(seed)
    clock_s = np.full(len(DEVICES), START_S)
    lines: list[Line] = []
    for _ in range(300):
        who = int(rng.integers(len(DEVICES)))
        is_storm = len(lines) // 60 % 4 == 3
        clock_s[who] += rng.choice([0.0, 60.0, HOUR_S, 5 * HOUR_S, 40 * HOUR_S], p=[0.1, 0.3, 0.4, 0.15, 0.05])
        ts_s = float(clock_s[who] - (rng.choice([HOUR_S, 30 * HOUR_S]) if rng.random() < 0.05 else 0.0))
        code = str(rng.choice(["E17", "E18", "E19"]))
        is_event = rng.random() < (0.8 if is_storm else 0.15)
        lines.append(Line(DEVICES[who], ts_s, {} if is_event else {"x": 1.0}, code if is_event else None))
    return lines


def judge(engine: Engine, profile: Profile, lines: Sequence[Line]) -> list[AlarmChange]:
    """Judge a batch as the pipeline does."""
    read = [(row, line) for row, line in enumerate(lines) if line.event is None]
    told = [(row, line) for row, line in enumerate(lines) if line.event is not None]
    samples: list[Samples] = []
    happened: Events | None = None
    if read:
        names = tuple(dict.fromkeys(line.device for _, line in read))
        samples.append(
            Samples(
                profile=profile,
                device_ids=names,
                device=np.array([names.index(line.device) for _, line in read], np.int32),
                ts_s=np.array([line.ts_s for _, line in read]),
                alive_s=0.0,
                metrics=("x",),
                values=np.ones((len(read), 1)),
                row=np.array([row for row, _ in read]),
            )
        )
    if told:
        names = tuple(dict.fromkeys(line.device for _, line in told))
        codes = tuple(sorted({str(line.event) for _, line in told}))
        happened = Events(
            device_ids=names,
            profiles=(profile,) * len(names),
            device=np.array([names.index(line.device) for _, line in told], np.int32),
            ts_s=np.array([line.ts_s for _, line in told]),
            codes=codes,
            code=np.array([codes.index(str(line.event)) for _, line in told], np.int32),
            row=np.array([row for row, _ in told]),
        )
    return bursts(engine.judge(samples, happened))


def engine_for(profile: Profile) -> Engine:
    return Engine({profile.model: profile}, SETTINGS)


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(1, 299), max_size=8),
    moved=st.integers(0, 8),
    profile=st.sampled_from([LIMITED, AUTOMATIC]),
)
def test_no_split_no_restart_and_no_rollback_changes_a_burst(
    seed: int, cuts: list[int], moved: int, profile: Profile
) -> None:
    lines = lives(seed)
    whole = engine_for(profile)
    expected = judge(whole, profile, lines)
    engine, changes = engine_for(profile), list[AlarmChange]()
    for number, (start, end) in enumerate(pairwise([0, *sorted(set(cuts)), len(lines)])):
        engine.begin()
        judge(engine, profile, lines[start:end])
        engine.rollback()
        engine.begin()
        changes += judge(engine, profile, lines[start:end])
        engine.commit()
        if number == moved:
            fresh = engine_for(profile)
            for partition in sorted({partition_of(name) for name in DEVICES}):
                fresh.restore(partition, engine.checkpoint(partition))
            engine = fresh
    assert by_device(changes) == by_device(expected)


def by_device(changes: Sequence[AlarmChange]) -> dict[str, list[AlarmChange]]:
    return {name: [change for change in changes if change.device_id == name] for name in DEVICES}


def test_there_are_bursts_to_find() -> None:
    found = [change.event for seed in range(3) for change in judge(engine_for(LIMITED), LIMITED, lives(seed))]
    assert found.count("raised") >= 3
    assert "cleared" in found


def test_a_device_taken_out_and_put_in_again_goes_on_as_before() -> None:
    lines = lives(3)
    whole, moved = engine_for(LIMITED), engine_for(LIMITED)
    expected = judge(whole, LIMITED, lines[:150]) + judge(whole, LIMITED, lines[150:])
    changes = judge(moved, LIMITED, lines[:150])
    other = engine_for(LIMITED)
    for name in DEVICES:
        state = moved.take_out(name)
        assert state is not None
        other.put_in(name, state)
    assert changes + judge(other, LIMITED, lines[150:]) == expected


def test_a_device_that_is_judged_anew_keeps_what_is_known_of_its_events() -> None:
    """Its readings are judged again in their order; its events were counted in their place when they came."""
    lines = lives(3)
    whole, live = engine_for(LIMITED), engine_for(LIMITED)
    expected = judge(whole, LIMITED, lines[:150]) + judge(whole, LIMITED, lines[150:])
    changes = judge(live, LIMITED, lines[:150])
    anew = engine_for(LIMITED)
    judge(anew, LIMITED, [line for line in lines[:150] if line.event is None])
    for name in DEVICES:
        judged = anew.take_out(name)
        assert judged is not None
        live.put_in(name, joined(judged, live.take_out(name), live_detectors(), is_silent=False))
    assert changes + judge(live, LIMITED, lines[150:]) == expected
