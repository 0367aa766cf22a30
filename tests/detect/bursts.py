"""Lives of devices that send events: readings and events in the order of their time, as lines."""

from collections.abc import Sequence

import numpy as np

from devices.profiles import AUTOMATIC
from devices.profiles.model import Profile
from gateway.detect.lines import Line
from gateway.detect.model import AlarmChange, Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.stream import Stream
from tests.detect.stories import DAY_S, HOUR_S, START_S


def readings(days: float, every_s: float = HOUR_S, device: str = "a") -> list[Line]:
    """Readings that say nothing of note."""
    count = int(days * DAY_S / every_s)
    return [Line(device, START_S + number * every_s, {"x": 20.0 + number % 3}) for number in range(count)]


def events(days: Sequence[float], code: str = "E17", device: str = "a") -> list[Line]:
    """Events at these days since the start."""
    return [Line(device, START_S + day * DAY_S, {}, code) for day in days]


def now_and_then(days: float, per_day: float, seed: int = 1) -> list[float]:
    """Moments without any pattern."""
    rng = np.random.default_rng(seed)
    return sorted(rng.uniform(0, days, rng.poisson(days * per_day)).tolist())


def lived(lines: Sequence[Line], profile: Profile = AUTOMATIC) -> list[AlarmChange]:
    """The bursts that are found in lines, put in the order of their time."""
    stream = Stream(profile, DetectSettings(silence_grace=0.0))
    return bursts(stream.take(sorted(lines, key=lambda line: line.ts_s)))


def bursts(changes: Sequence[AlarmChange]) -> list[AlarmChange]:
    """What was told of bursts."""
    return [change for change in changes if change.kind is Kind.EVENT_BURST]


def told(changes: Sequence[AlarmChange]) -> list[str]:
    """What happened, without updates."""
    return [change.event for change in changes if change.event != "updated"]


def day_of(change: AlarmChange) -> float:
    """When a change was decided, in days since the start."""
    return (change.ts_s - START_S) / DAY_S


def watched(**watch: object) -> Profile:
    """A product with one watch over its event E17."""
    full = {"name": "bursts", "detector": "event_burst", "event": "E17", **watch}
    return Profile.model_validate(
        {
            "model": "thing",
            "title": "A thing",
            "metrics": {"x": {"kind": "gauge"}},
            "events": {"E17": {}, "E18": {}},
            "watches": [full],
        }
    )
