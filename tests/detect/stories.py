"""A story is a series in which something goes wrong and right again, for one detector."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from devices.profiles.model import Profile
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange, Samples
from gateway.detect.settings import DetectSettings

START_S = 1_709_510_400.0  # Monday, 4 March 2024, 00:00 UTC
HOUR_S = 3600.0
DAY_S = 86_400.0

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.floating]  # what arithmetic on Floats may be called by the type checker


@dataclass(frozen=True, slots=True)
class Story:
    """One device's metric over time, with one trouble in it."""

    detector: str
    kind: str  # of the metric
    parameters: dict[str, float | str]
    ts_s: Floats
    values: Floats
    trouble_s: float  # when it begins
    over_s: float

    def profile(self) -> Profile:
        """The product whose one watch has this story's detector."""
        return profile_of({"name": "watch", "detector": self.detector, "parameters": self.parameters}, kind=self.kind)


def profile_of(*watches: dict[str, object], kind: str = "gauge", unit: str = "1") -> Profile:
    """A product with one metric, `metric`, and these watches over it (silence: over the device)."""
    full = [watch if watch["detector"] == "silence" else {"metric": "metric", **watch} for watch in watches]
    return Profile.model_validate(
        {"model": "thing", "title": "A thing", "metrics": {"metric": {"kind": kind, "unit": unit}}, "watches": full}
    )


def hours(count: int, start_s: float = START_S) -> Floats:
    return (start_s + HOUR_S * np.arange(count)).astype(np.float64)


def habit(days: int, seed: int = 1, level: float = 8000.0) -> Floats:
    """Steps of somebody, per hour: nothing at night, two peaks, days that differ."""
    rng = np.random.default_rng(seed)
    hour = np.arange(24)
    shape = np.exp(-(((hour - 9) / 3.0) ** 2)) + np.exp(-(((hour - 18) / 3.0) ** 2)) + 0.02
    shape[:6] = 0
    per_day = np.exp(0.3 * rng.normal(size=days) - 0.045)
    noise = rng.gamma(1.5, 1 / 1.5, (days, 24))
    shares: Floats = (shape / shape.sum()).astype(np.float64)
    each_day: list[Floats] = [np.round(per_day[day] * noise[day] * shares * level) for day in range(days)]
    return np.concatenate(each_day)


def stories() -> dict[str, Story]:
    """One for each of our own detectors."""
    rng = np.random.default_rng(7)
    ts_s = hours(24 * 30)
    hot = 90 + rng.normal(size=len(ts_s))
    hot[400:410] = 120
    jump = 20 + 3 * np.sin(ts_s / DAY_S * 2 * np.pi) + rng.normal(size=len(ts_s))
    jump[600:603] = 60
    use = habit(30)
    use[24 * 18 : 24 * 22] = 0
    worn = 70 + rng.normal(size=len(ts_s))
    worn[420:] += np.minimum(np.arange(300) / 8, 10.0) * (ts_s[420:] < ts_s[600])
    more = habit(30)
    more[24 * 18 : 24 * 22] *= 3
    still = np.round(40 + 5 * rng.normal(size=len(ts_s)), 1)
    still[430:470] = 41.3
    errors = rng.poisson(0.02, len(ts_s)).astype(np.float64)
    errors[24 * 18 : 24 * 20] = rng.poisson(1.0, 48) + 1.0
    quiet = np.concatenate([ts_s[:300], ts_s[400:]])
    level: dict[str, float | str] = {"above": 110, "clear_below": 100}
    return {
        "threshold": Story("threshold", "gauge", level, ts_s, hot, float(ts_s[400]), float(ts_s[410])),
        "record": Story("record", "gauge", {}, ts_s, jump, float(ts_s[600]), float(ts_s[603])),
        "usage_drop": Story("usage_drop", "delta", {}, ts_s, use, float(ts_s[24 * 18]), float(ts_s[24 * 22])),
        "decline": Story("decline", "gauge", {}, ts_s, worn, float(ts_s[420]), float(ts_s[600])),
        "usage_surge": Story("usage_surge", "delta", {}, ts_s, more, float(ts_s[24 * 18]), float(ts_s[24 * 22])),
        "stuck": Story("stuck", "gauge", {}, ts_s, still, float(ts_s[431]), float(ts_s[470])),
        "event_burst": Story("event_burst", "delta", {}, ts_s, errors, float(ts_s[24 * 18]), float(ts_s[24 * 20])),
        "silence": Story("silence", "gauge", {}, quiet, np.ones(len(quiet)), float(ts_s[299]), float(ts_s[400])),
    }


def samples_of(
    profile: Profile, device_ids: Sequence[str], ts_s: Numbers, values: Numbers, metric: str = "metric"
) -> Samples:
    """Readings of one metric: one per entry of `device_ids`, in arrival order; received when they were taken."""
    names = list(dict.fromkeys(device_ids))
    device = np.array([names.index(device_id) for device_id in device_ids], np.int32)
    return Samples(
        profile=profile,
        device_ids=tuple(names),
        device=device,
        ts_s=np.asarray(ts_s, np.float64),
        alive_s=np.asarray(ts_s, np.float64),
        metrics=(metric,),
        values=np.asarray(values, np.float64)[:, None],
    )


def engine_for(*profiles: Profile, settings: DetectSettings | None = None) -> Engine:
    return Engine({profile.model: profile for profile in profiles}, settings or DetectSettings())


def judge(engine: Engine, profile: Profile, ts_s: Numbers, values: Numbers, device_id: str = "a") -> list[AlarmChange]:
    """Judge a series of one device; an hour at a time if silences are watched for, so that they come when due."""
    changes: list[AlarmChange] = []
    silences = any(watch.detector == "silence" for watch in profile.watches)
    hour = np.floor(np.asarray(ts_s) / (HOUR_S if silences else 10 * DAY_S))
    edges = [0, *(np.flatnonzero(np.diff(hour)) + 1).tolist(), len(ts_s)]
    for start, end in pairwise(edges):
        if start == end:
            continue
        first_s = float(ts_s[start])
        changes += engine.due(first_s, first_s)
        changes += engine.judge([samples_of(profile, [device_id] * (end - start), ts_s[start:end], values[start:end])])
    return changes


def events(changes: Sequence[AlarmChange], watch: str = "watch") -> list[tuple[str, float]]:
    """What happened, and when, in hours since the start."""
    return [(change.event, (change.ts_s - START_S) / HOUR_S) for change in changes if change.watch == watch]
