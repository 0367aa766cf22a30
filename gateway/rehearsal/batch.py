"""Lines as the detectors take them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from devices.profiles.model import Profile
from gateway.detect.arrays import Indices
from gateway.detect.model import Events, Samples
from gateway.rehearsal.lines import Line

ProfileOf = Callable[[str], Profile]


def batch_of(lines: Sequence[Line], profile_of: ProfileOf) -> tuple[list[Samples], Events | None]:
    """What devices sent, in the order in which it was received; an event counts before the readings of its line."""
    lines = sorted(lines, key=lambda line: line.received)
    counts = np.array([len(line.ts) for line in lines], np.int64)
    rows = 2 * (np.cumsum(counts) - counts)  # of each line: its events' row, before that of its first reading
    groups: dict[str, list[int]] = {}
    profiles: dict[str, Profile] = {}
    for at, line in enumerate(lines):
        if line.device is not None and line.ts:
            profile = profiles.setdefault(line.device, profile_of(line.device))
            groups.setdefault(profile.model, []).append(at)
    samples = [
        _samples(profiles[str(lines[chosen[0]].device)], [lines[at] for at in chosen], rows[chosen])
        for chosen in groups.values()
    ]
    return samples, _events(lines, rows, profile_of)


def _samples(profile: Profile, lines: Sequence[Line], rows: Indices) -> Samples:
    """The readings of one product model."""
    devices: dict[str, int] = {}
    numbers = [devices.setdefault(str(line.device), len(devices)) for line in lines]
    counts = [len(line.ts) for line in lines]
    names = tuple(sorted({name for line in lines for name in line.metrics}))
    values = np.full((sum(counts), len(names)), np.nan)
    column_of = {name: column for column, name in enumerate(names)}
    start = 0
    for line, count in zip(lines, counts, strict=True):
        for name, column in line.metrics.items():
            values[start : start + count, column_of[name]] = np.array(column, np.float64)
        start += count
    ends = np.cumsum(counts)
    within = np.arange(len(values)) - np.repeat(ends - counts, counts)
    return Samples(
        profile=profile,
        device_ids=tuple(devices),
        device=np.repeat(np.array(numbers, np.int32), counts),
        ts_s=np.array([ts for line in lines for ts in line.ts], np.float64) / 1e3,
        alive_s=np.repeat(np.array([line.received for line in lines]), counts),
        metrics=names,
        values=values,
        row=(np.repeat(rows, counts) + 2 * within + 1).astype(np.int64),
    )


def _events(lines: Sequence[Line], rows: Indices, profile_of: ProfileOf) -> Events | None:
    happened = [
        (str(line.device), event.ts / 1e3, event.code, int(rows[at]))
        for at, line in enumerate(lines)
        for event in line.events
    ]
    if not happened:
        return None
    devices: Mapping[str, int] = {name: at for at, name in enumerate(dict.fromkeys(each[0] for each in happened))}
    codes = {code: at for at, code in enumerate(sorted({each[2] for each in happened}))}
    return Events(
        device_ids=tuple(devices),
        profiles=tuple(map(profile_of, devices)),
        device=np.array([devices[each[0]] for each in happened], np.int32),
        ts_s=np.array([each[1] for each in happened]),
        codes=tuple(codes),
        code=np.array([codes[each[2]] for each in happened], np.int32),
        row=np.array([each[3] for each in happened], np.int64),
    )
