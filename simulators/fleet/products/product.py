"""What a simulated product model is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from devices.profiles.model import Profile
from simulators.fleet.faults import FaultKind, Label, Trace
from simulators.fleet.habits import DAY_S, HOUR_S, Floats, Person
from simulators.fleet.network import Sync
from simulators.fleet.packets import Happening, Life


@dataclass(frozen=True, slots=True)
class Scene:
    """What a device's life depends on."""

    person: Person
    ts_s: Floats  # the instants at which it measures
    labels: Sequence[Label]
    profile: Profile
    rng: np.random.Generator


@dataclass(frozen=True, slots=True)
class Product:
    """A product model: how it reports, what can go wrong with it, and how it lives."""

    model: str
    spoken: str  # with its article
    share: float  # of a fleet
    interval_s: float  # between measurements, where the profile names none
    sync: Sync
    faults: Mapping[FaultKind, Trace]
    firmwares: tuple[str, ...]  # the last one is what is being rolled out
    live: Callable[[Scene], Life]
    mends: Mapping[str, frozenset[FaultKind]] = field(default_factory=dict[str, frozenset[FaultKind]])
    """By command: which faults it really ends."""


def noise(scene: Scene, sigma: float) -> Floats:
    """Independent normal noise for every instant."""
    return scene.rng.normal(0.0, sigma, len(scene.ts_s))


def rounded(values: NDArray[np.floating | np.integer], digits: int = 0) -> Floats:
    """What a sensor of so many decimal digits says."""
    return np.round(values.astype(np.float64), digits)


def lagged(drive: Floats, share: float, start: float) -> Floats:
    """A first-order response: each value goes `share` of the way from the last one to `drive`."""
    out = np.empty_like(drive)
    level = start
    for n, target in enumerate(drive.tolist()):
        level += share * (target - level)
        out[n] = level
    return out


def battery(drain: Floats, charger: Floats, start: float, low: float, high: float = 100.0) -> Floats:
    """Percent left: `drain` and `charger` are percent per interval; charging begins at `low` and stops at `high`.

    `charger` is what the charger gives at that instant if the owner plugs it in then, 0 when nobody does.
    """
    out = np.empty_like(drain)
    level, charging = start, False
    for n, (used, given) in enumerate(zip(drain.tolist(), charger.tolist(), strict=True)):
        charging = given > 0.0 and (charging or level < low) and level < high
        level = min(100.0, max(0.0, level - used + (given if charging else 0.0)))
        out[n] = level
    return out


def earlier(states: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Each instant's state one instant earlier; the first had none."""
    shifted = np.zeros_like(states)
    shifted[1:] = states[:-1]
    return shifted


def clipped(scene: Scene, metrics: dict[str, Floats]) -> dict[str, Floats]:
    """Metrics held within the physical ranges of the profile, as a real sensor holds them."""
    held: dict[str, Floats] = {}
    for name, values in metrics.items():
        metric = scene.profile.metrics.get(name)
        low = -np.inf if metric is None or metric.minimum is None else metric.minimum
        high = np.inf if metric is None or metric.maximum is None else metric.maximum
        held[name] = np.clip(values, low, high)
    return held


def frozen(scene: Scene, values: Floats) -> Floats:
    """The values, stuck at what they were when a `stuck` fault began."""
    held = values.copy()
    for label in scene.labels:
        if label.kind is FaultKind.STUCK:
            rows = np.flatnonzero(label.during(scene.ts_s))
            if len(rows):
                held[rows] = values[max(int(rows[0]) - 1, 0)]
    return held


def fading(scene: Scene, ramp_days: float = 8.0) -> Floats:
    """How much of the usual use is left: 1 in health, nearly none when abandoned, ever less in a decline."""
    left = np.ones_like(scene.ts_s)
    for label in scene.labels:
        if label.kind is FaultKind.ABANDONED:
            left[label.during(scene.ts_s)] = 0.0
        elif label.kind is FaultKind.DECLINE:
            left *= 1.0 - 0.75 * label.progress(scene.ts_s, ramp_days * DAY_S)
    return left


def strength(scene: Scene, kind: FaultKind, ramp_s: float = HOUR_S) -> Floats:
    """How far faults of one kind have come, 0 to 1."""
    total = np.zeros_like(scene.ts_s)
    for label in scene.labels:
        if label.kind is kind:
            total = np.maximum(total, label.progress(scene.ts_s, ramp_s))
    return total


def storm(scene: Scene, code: str, data: dict[str, float | str], per_hour: float = 6.0) -> list[Happening]:
    """Events of one code, many an hour, while an event storm lasts."""
    happenings: list[Happening] = []
    end_s = float(scene.ts_s[-1])
    for label in scene.labels:
        if label.kind is FaultKind.EVENT_STORM:
            until_s = end_s if label.ends_at_s is None else label.ends_at_s
            count = int(scene.rng.poisson(max(0.0, until_s - label.starts_at_s) / HOUR_S * per_hour))
            moments = np.sort(scene.rng.uniform(label.starts_at_s, max(until_s, label.starts_at_s + 1), count))
            happenings += [Happening(round(moment, 3), code, data) for moment in moments.tolist()]
    return happenings


def edges(ts_s: Floats, on: NDArray[np.bool_], begins: str, ends: str) -> list[Happening]:
    """An event where a state begins, another where it ends."""
    changes = np.flatnonzero(np.diff(on.astype(np.int8)))
    return [Happening(float(ts_s[n + 1]), begins if on[n + 1] else ends, {}) for n in changes.tolist()]


def alive(scene: Scene, rows: NDArray[np.bool_], metrics: dict[str, Floats], happenings: list[Happening]) -> Life:
    """A life of the rows in which the device reports, within its sensors' ranges."""
    held = {name: values[rows] for name, values in clipped(scene, metrics).items()}
    return Life(scene.ts_s[rows], held, tuple(sorted(happenings, key=lambda item: item.ts_s)))
