"""How readings are batched, and how devices are interleaved, makes no difference to any alarm."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.profiles import AUTOMATIC
from devices.profiles.model import Profile
from gateway.detect.engine import Engine
from gateway.detect.lines import Line
from gateway.detect.model import AlarmChange, Samples
from gateway.detect.settings import DetectSettings
from gateway.detect.stream import Stream
from tests.detect.stories import DAY_S, HOUR_S, START_S

PROFILE = Profile.model_validate(
    {
        "model": "thing",
        "title": "A thing",
        "metrics": {"heat": {"kind": "gauge"}, "turns": {"kind": "counter"}, "steps": {"kind": "delta"}},
        "watches": [
            {"name": "hot", "detector": "threshold", "metric": "heat", "parameters": {"above": 3, "clear_below": 2}},
            {
                "name": "long",
                "detector": "threshold",
                "metric": "heat",
                "for": "2h",
                "keep_firing_for": "3h",
                "parameters": {"below": -1},
            },
            {"name": "new", "detector": "record", "metric": "heat", "parameters": {"score": 0.5}},
            {"name": "spun", "detector": "record", "metric": "turns", "parameters": {"score": 0.5}},
            {
                "name": "less",
                "detector": "usage_drop",
                "metric": "steps",
                "parameters": {"habit": 2, "days": 0.3, "uses": 1},
            },
            {
                "name": "fewer",
                "detector": "usage_drop",
                "metric": "turns",
                "parameters": {"habit": 2, "days": 0.3, "uses": 1},
            },
            {"name": "drift", "detector": "decline", "metric": "heat", "parameters": {"shift": 1}},
            {"name": "drifts", "detector": "decline", "metric": "steps", "parameters": {"kind": 2, "shift": 1}},
            {
                "name": "still",
                "detector": "stuck",
                "metric": "steps",
                "parameters": {"unlikely": 1, "times": 2, "lasting": 0},
            },
            {"name": "wear", "detector": "decline", "problem": "wear", "parameters": {"evidence": 0.5}},
            {
                "name": "more",
                "detector": "usage_surge",
                "metric": "steps",
                "parameters": {"habit": 2, "evidence": 0.1, "swings": 0, "rise": 0.1},
            },
            {
                "name": "spins",
                "detector": "usage_surge",
                "metric": "turns",
                "per": "steps",
                "parameters": {"habit": 2, "evidence": 0.1, "swings": 0, "rise": 0.1},
            },
            {
                "name": "drained",
                "detector": "usage_surge",
                "metric": "heat",
                "per": "turns",
                "parameters": {"habit": 2, "evidence": 0.1, "swings": 0, "rise": 0.1},
            },
            {"name": "quiet", "detector": "silence", "parameters": {"after": "5h"}},
        ],
    }
)


def readings(seed: int, devices: int, count: int) -> list[Line]:
    """Readings of a small fleet: mostly hourly, some late, some twice, some with metrics missing, days without use."""
    rng = np.random.default_rng(seed)
    clock_s = np.full(devices, START_S) + rng.integers(0, 3600, devices)
    turns = np.zeros(devices)
    lines: list[Line] = []
    for _ in range(count):
        who = int(rng.integers(devices))
        clock_s[who] += rng.choice([0.0, 60.0, HOUR_S, HOUR_S, HOUR_S, 9 * HOUR_S])
        ts_s = clock_s[who] - (rng.choice([HOUR_S, 30 * HOUR_S]) if rng.random() < 0.05 else 0.0)
        idle = ts_s // DAY_S % 5 == 3
        turns[who] = 0.0 if rng.random() < 0.01 else turns[who] + (0.0 if idle else rng.gamma(1.0))
        metrics = {
            "heat": float(rng.normal() * 2),
            "turns": float(turns[who]),
            "steps": 0.0 if idle else float(rng.gamma(1.0)),
        }
        kept = {name: value for name, value in metrics.items() if rng.random() < 0.9}
        lines.append(Line(f"device-{who}", float(ts_s), kept))
    return lines


def samples_of(lines: Sequence[Line], profile: Profile, alive_s: Sequence[float]) -> Samples:
    names = list(dict.fromkeys(line.device for line in lines))
    metrics = ("heat", "turns", "steps")
    return Samples(
        profile=profile,
        device_ids=tuple(names),
        device=np.array([names.index(line.device) for line in lines], np.int32),
        ts_s=np.array([line.ts_s for line in lines]),
        alive_s=np.array(alive_s),
        metrics=metrics,
        values=np.array([[line.metrics.get(name, np.nan) for name in metrics] for line in lines]),
    )


def judged(engine: Engine, profile: Profile, lines: Sequence[Line], cuts: Sequence[int]) -> list[AlarmChange]:
    """Judge in batches; time passes by each reading, and nobody looks for silences."""
    changes: list[AlarmChange] = []
    edges = [0, *sorted(cuts), len(lines)]
    alive_s = np.maximum.accumulate([line.ts_s for line in lines])
    for start, end in pairwise(edges):
        if start < end:
            changes += engine.judge([samples_of(lines[start:end], profile, alive_s[start:end].tolist())])
    return changes


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), profile=st.sampled_from([PROFILE, AUTOMATIC]), data=st.data())
def test_any_split_into_batches_gives_the_same_changes(seed: int, profile: Profile, data: st.DataObject) -> None:
    lines = readings(seed, devices=4, count=200)
    cuts = data.draw(st.lists(st.integers(0, len(lines)), max_size=12))
    one_by_one = judged(Engine({}, DetectSettings()), profile, lines, range(1, len(lines)))
    assert judged(Engine({}, DetectSettings()), profile, lines, cuts) == one_by_one
    if profile is PROFILE:
        assert {change.event for change in one_by_one} >= {"raised", "cleared"}


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_a_device_is_judged_as_if_it_were_alone(seed: int, data: st.DataObject) -> None:
    lines = readings(seed, devices=4, count=200)
    cuts = data.draw(st.lists(st.integers(0, len(lines)), max_size=8))
    # A device's own time passes by its own readings, so that its signs of life are the same in both runs.
    engine = Engine({}, DetectSettings())
    together: list[AlarmChange] = []
    edges = [0, *sorted(cuts), len(lines)]
    for start, end in pairwise(edges):
        if start < end:
            part = lines[start:end]
            together += engine.judge([samples_of(part, PROFILE, [line.ts_s for line in part])])
    for name in {line.device for line in lines}:
        own = [line for line in lines if line.device == name]
        alone = Engine({}, DetectSettings()).judge([samples_of(own, PROFILE, [line.ts_s for line in own])])
        assert [change for change in together if change.device_id == name] == alone


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    profile=st.sampled_from([PROFILE, AUTOMATIC]),
    cut=st.integers(1, 199),
    data=st.data(),
)
def test_what_a_stream_says_depends_only_on_the_lines_so_far(
    seed: int, profile: Profile, cut: int, data: st.DataObject
) -> None:
    lines = sorted(readings(seed, devices=4, count=200), key=lambda line: round(line.ts_s / HOUR_S))
    shortest = DetectSettings(silence_grace=0.0, silence_shortest=2 * HOUR_S, silence_warm_up=0.0)
    whole = Stream(profile, shortest).take(lines)
    prefix = Stream(profile, shortest).take(lines[:cut])
    assert whole[: len(prefix)] == prefix
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lines)), max_size=8)))
    stream = Stream(profile, shortest)
    in_parts = [
        change
        for start, end in zip([0, *cuts], [*cuts, len(lines)], strict=True)
        for change in stream.take(lines[start:end])
    ]
    assert in_parts == whole
    one_by_one = Stream(profile, shortest)
    assert [change for line in lines for change in one_by_one.take([line])] == whole


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), at=st.integers(1, 199))
def test_a_turn_that_is_rolled_back_and_repeated_counts_once(seed: int, at: int) -> None:
    lines = readings(seed, devices=4, count=200)
    alive_s = np.maximum.accumulate([line.ts_s for line in lines]).tolist()
    engine, undisturbed = Engine({}, DetectSettings()), Engine({}, DetectSettings())
    first, rest = (samples_of(lines[part], PROFILE, alive_s[part]) for part in (slice(at), slice(at, None)))
    expected = (
        undisturbed.judge([first]) + undisturbed.due(alive_s[at - 1], alive_s[at - 1]) + undisturbed.judge([rest])
    )
    told = engine.judge([first]) + engine.due(alive_s[at - 1], alive_s[at - 1])
    kept = {partition: engine.checkpoint(partition) for partition in sorted(engine.dirty())}
    engine.begin()
    engine.judge([rest])
    engine.due(alive_s[-1] + 1e6, alive_s[-1] + 1e6)
    engine.rollback()
    assert {partition: engine.checkpoint(partition) for partition in kept} == kept
    engine.begin()
    told += engine.judge([rest])
    engine.commit()
    assert told == expected
