"""With the order within a device kept, no way to deal readings out to batches changes a finding or a number kept."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.ids import partition_of
from devices.profiles import AUTOMATIC
from devices.profiles.model import Profile
from gateway.detect.engine import Engine
from gateway.detect.lines import Line
from gateway.detect.model import AlarmChange, Kind
from gateway.detect.settings import DetectSettings
from tests.property.test_detect_splits import PROFILE, readings, samples_of

DEVICES: tuple[str, ...] = ("device-0", "device-1", "device-2")
SETTINGS = DetectSettings()


def eventful(seed: int) -> list[Line]:
    """Two hundred readings and more of each device, late ones and repeated times among them, and a spike."""
    lines = readings(seed, devices=len(DEVICES), count=800)
    spikes = {max(number for number, line in enumerate(lines) if line.device == name) - 1 for name in DEVICES}
    return [
        replace(line, metrics={**line.metrics, "heat": 500.0}) if i in spikes else line for i, line in enumerate(lines)
    ]


def interleaved(lines: Sequence[Line], seed: int) -> list[Line]:
    """The same readings in another order, each device's own as they were; devices come in bunches and one by one."""
    rng = np.random.default_rng(seed)
    waiting = {name: [line for line in lines if line.device == name] for name in DEVICES}
    dealt: list[Line] = []
    while waiting:
        name = str(rng.choice(sorted(waiting)))
        bunch = int(rng.choice([1, 2, 40]))
        dealt += waiting[name][:bunch]
        waiting[name] = waiting[name][bunch:]
        if not waiting[name]:
            del waiting[name]
    return dealt


def lived(
    engine: Engine, profile: Profile, lines: Sequence[Line], cuts: Sequence[int], moved: int
) -> tuple[Engine, list[AlarmChange]]:
    """Judge batch after batch; before one of them another engine goes on from checkpoints. Signs of life: own time."""
    changes: list[AlarmChange] = []
    edges = [0, *sorted(set(cuts)), len(lines)]
    for number, (start, end) in enumerate(pairwise(edges)):
        if number == moved:
            fresh = Engine({profile.model: profile}, SETTINGS)
            for partition in sorted({partition_of(name) for name in DEVICES}):
                fresh.restore(partition, engine.checkpoint(partition))
            engine = fresh
        part = lines[start:end]
        if part:
            changes += engine.judge([samples_of(part, profile, [line.ts_s for line in part])])
    return engine, changes


def by_device(changes: Sequence[AlarmChange]) -> dict[str, list[AlarmChange]]:
    return {name: [change for change in changes if change.device_id == name] for name in DEVICES}


def test_the_readings_make_every_kind_of_series_detector_speak() -> None:
    _, changes = lived(Engine({}, SETTINGS), PROFILE, eventful(1), (), -1)
    assert {change.kind for change in changes} >= {Kind.THRESHOLD, Kind.RECORD, Kind.USAGE_DROP}
    lines = eventful(1)
    newest = dict.fromkeys(DEVICES, 0.0)
    late = 0
    for line in lines:
        late += line.ts_s < newest[line.device]
        newest[line.device] = max(newest[line.device], line.ts_s)
    assert late > 10


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    order=st.integers(0, 10_000),
    profile=st.sampled_from([PROFILE, AUTOMATIC]),
    cuts=st.lists(st.integers(0, 800), max_size=12),
    moved=st.integers(-1, 12),
)
def test_any_interleaving_and_any_split_leave_findings_and_state_as_they_were(
    seed: int, order: int, profile: Profile, cuts: list[int], moved: int
) -> None:
    lines = eventful(seed)
    first, at_once = lived(Engine({}, SETTINGS), profile, lines, (), -1)
    second, dealt = lived(Engine({}, SETTINGS), profile, interleaved(lines, order), cuts, moved)
    assert by_device(dealt) == by_device(at_once)
    if not 0 <= moved <= len(set(cuts)):  # after a move the numbers are the same, in another order
        for name in DEVICES:
            assert second.take_out(name) == first.take_out(name)
