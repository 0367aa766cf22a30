"""A fitness band: worn or not, walked with or not, charged in the evening when low, synced when its phone is near."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.fleet.faults import FaultKind, trace
from simulators.fleet.habits import HOUR_S, Day, Floats, bumps, days_of
from simulators.fleet.network import Sync
from simulators.fleet.packets import Life
from simulators.fleet.products.product import (
    Product,
    Scene,
    alive,
    battery,
    edges,
    fading,
    frozen,
    noise,
    rounded,
    storm,
    strength,
)

_QUARTERS: Final = 4  # measurements in an hour


def _worn(scene: Scene, day: Day, use: Floats) -> NDArray[np.bool_]:
    """When the band is on the wrist: off for hours now and then, for whole days seldom, at night by habit."""
    rng, count = scene.rng, len(scene.ts_s)
    hours = np.arange(count) // _QUARTERS
    off_hours = rng.random(int(hours[-1]) + 1) < rng.uniform(0.02, 0.14)
    off_days = rng.random(int(day.number[-1]) + 1) < rng.uniform(0.0, 0.06)
    sleeps_with_it = rng.random() < 0.6
    worn = ~off_hours[hours] & ~off_days[day.number]
    if not sleeps_with_it:
        worn &= ~day.asleep
    picked_up = rng.random(count) < 0.02
    return np.where(use > 0.0, worn, picked_up & ~day.asleep).astype(np.bool_)


def _walks(scene: Scene, day: Day, use: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Steps in each quarter of an hour, and whether they were run."""
    rng, person, count = scene.rng, scene.person, len(scene.ts_s)
    curve = bumps(day.hour, (8.2, 1.0, 0.5), (12.8, 1.2, 0.45), (18.2, 1.8, 0.6), (15.0, 4.0, 0.15))
    urge = curve * day.mood * person.level * np.where(day.weekend, person.weekend, 1.0) * np.where(day.away, 1.3, 1.0)
    walking = (rng.random(count) < np.clip(urge * use, 0.0, 0.85)) & ~day.asleep
    runs_on = rng.random(int(day.number[-1]) + 1) < (rng.uniform(0.1, 0.5) if rng.random() < 0.3 else 0.0)
    running = runs_on[day.number] & (np.abs(day.hour - rng.uniform(7.0, 19.0)) < 0.5) & (use > 0.3) & ~day.asleep
    idle = rng.integers(0, 31, count) * (rng.random(count) < 0.7) * ~day.asleep * (use > 0.0)
    pace = rng.uniform(300, 1300, count) * rng.uniform(0.85, 1.15)
    steps = np.where(running, rng.uniform(2200, 2800, count), np.where(walking, pace, idle))
    return rounded(steps).astype(np.float64), running


def _heart(scene: Scene, day: Day, steps: Floats, running: NDArray[np.bool_]) -> Floats:
    rest = scene.rng.normal(66.0, 7.0)
    effort = np.where(running, 85.0, np.clip(steps / 1300.0, 0.0, 1.0) * 38.0)
    return rest + effort - np.where(day.asleep, 9.0, 0.0) + noise(scene, 3.0)


def _trailing(values: Floats, width: int) -> Floats:
    sums = np.cumsum(np.concatenate([np.full(width, values[0]), values]))
    return (sums[width:] - sums[:-width]) / width


def live(scene: Scene) -> Life:
    """The band's life on the wrist and on the charger."""
    rng = scene.rng
    day, use = days_of(scene.person, scene.ts_s, rng), fading(scene)
    worn = _worn(scene, day, use)
    steps, running = _walks(scene, day, use)
    bad = strength(scene, FaultKind.BAD_FIRMWARE)
    per_hour = rng.uniform(0.5, 0.85) * (1.0 + 0.5 * running) * (1.0 + 0.35 * bad)
    per_hour = per_hour * (1.0 + 3.2 * strength(scene, FaultKind.BATTERY_DRAIN, 6 * HOUR_S)) * np.where(worn, 1.0, 0.4)
    evening = np.abs(day.hour - rng.uniform(20.0, 22.0)) < 1.0
    charger = np.where(evening & (rng.random(len(worn)) < 0.9) & (use > 0.0), 18.0, 0.0)
    level = battery(per_hour / _QUARTERS, charger, rng.uniform(40, 100), rng.uniform(15, 35), 99.0)
    charging = np.diff(level, prepend=level[0]) > 5.0
    empty = level <= 0.5
    worn &= ~charging & ~empty
    away = np.full(len(worn), np.nan)
    missed = rng.poisson(rng.uniform(0.8, 3.0), len(worn)) + np.where(running, rng.integers(0, 10, len(worn)), 0)
    warm = np.where(worn, 31.5, 21.5) + np.where(charging, 14.0, 0.0) + 3.0 * np.sin(day.hour / 24 * 2 * np.pi - 2.2)
    metrics: dict[str, Floats] = {
        "steps": np.where(worn, steps, 0.0),
        "distance": np.where(worn, rounded(steps * np.where(running, 1.1, rng.uniform(0.68, 0.8)) / 10) * 10, 0.0),
        "active_energy": np.where(worn, rounded(steps * rng.uniform(0.045, 0.06) + np.abs(noise(scene, 1.5))), 0.0),
        "wear_time": np.where(worn, np.where(rng.random(len(worn)) < 0.05, rng.integers(3, 15, len(worn)), 15), 0.0),
        "heart_rate": frozen(scene, np.where(worn, rounded(_heart(scene, day, steps, running)), away)),
        "missed_samples": np.where(worn, rounded(missed + bad * rng.uniform(15, 45, len(worn))), away),
        "battery": rounded(level),
        "discharge_rate": np.where(charging, away, rounded(_trailing(per_hour, 24) * (1 + noise(scene, 0.05)), 2)),
        "case_temperature": rounded(warm + noise(scene, 0.7) + 23.0 * strength(scene, FaultKind.OVER_TEMPERATURE), 1),
    }
    told = edges(scene.ts_s, charging, "charging_started", "charging_ended")
    return alive(scene, worn | charging, metrics, told + storm(scene, "restarted", {"cause": "watchdog"}))


FITNESS_BAND: Final = Product(
    model="fitness-band",
    spoken="a fitness band",
    share=0.3,
    interval_s=900.0,
    sync=Sync(every_s=HOUR_S, offline_h=(2.0, 7.0)),
    faults={
        FaultKind.ABANDONED: trace("steps", "distance", "active_energy", "wear_time", "battery", quiet=True),
        FaultKind.DECLINE: trace("steps", "distance", "active_energy", "heart_rate"),
        FaultKind.STUCK: trace("heart_rate"),
        FaultKind.BATTERY_DRAIN: trace("battery", "discharge_rate"),
        FaultKind.EVENT_STORM: trace(),
        FaultKind.OVER_TEMPERATURE: trace("case_temperature"),
        FaultKind.BAD_FIRMWARE: trace("missed_samples", "discharge_rate", "battery"),
    },
    firmwares=("4.1.0", "4.2.1", "4.3.0"),
    live=live,
    mends={  # a firmware that is bad stays bad
        "restart": frozenset({FaultKind.BATTERY_DRAIN}),
        "calibrate_sensor": frozenset({FaultKind.STUCK}),
    },
)
