"""An e-bike: commutes and weekend tours, a battery that they drain and a charger fills, a word a day when parked."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.fleet.faults import FaultKind, trace
from simulators.fleet.habits import DAY_S, HOUR_S, Day, Floats, days_of
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
    lagged,
    noise,
    rounded,
    storm,
    strength,
)

_PER_HOUR: Final = 12
_CAPACITY_WH: Final = 500.0


def _rides(scene: Scene, day: Day) -> NDArray[np.bool_]:
    """When it is ridden: to work and back, or at weekends when the weather is fair."""
    rng, person, use = scene.rng, scene.person, fading(scene)
    days = int(day.number[-1]) + 1
    fair = rng.random(days) < rng.uniform(0.55, 0.9)  # the weather, for this rider
    commuter = rng.random() < 0.6
    weekend = np.zeros(days, dtype=np.bool_)
    weekend[day.number] = day.weekend
    commutes = ~weekend & fair & (rng.random(days) < 0.92) & commuter
    tours = fair & (rng.random(days) < np.where(weekend, 0.6, 0.1) * person.level * person.weekend)
    lasts_h = rng.uniform(0.3, 0.75)
    out = commutes[day.number] & (day.hour >= 7.6) & (day.hour < 7.6 + lasts_h)
    back = commutes[day.number] & (day.hour >= 17.4) & (day.hour < 17.4 + lasts_h)
    starts, tour_h = rng.uniform(9.5, 15.0, days), rng.uniform(1.0, 2.8, days)
    tour = tours[day.number] & (day.hour >= starts[day.number]) & (day.hour < (starts + tour_h)[day.number])
    chosen = rng.random(days)[day.number] < use  # on days that are left
    return (out | back | tour) & chosen & ~day.away


def live(scene: Scene) -> Life:
    """The bike's life: a reading every five minutes of riding and charging, one a day when parked."""
    rng, ts_s, person = scene.rng, scene.ts_s, scene.person
    count, absent = len(ts_s), np.full(len(ts_s), np.nan)
    day = days_of(person, ts_s, rng)
    riding = _rides(scene, day)
    drained = strength(scene, FaultKind.BATTERY_DRAIN, DAY_S)
    distance = np.where(riding, np.clip(rng.normal(rng.uniform(1.5, 2.0), 0.2, count), 1.0, 2.5), 0.0)
    thirst = rng.uniform(6.5, 11.0) * (1.0 + noise(scene, 0.12))
    energy = distance * thirst
    capacity = _CAPACITY_WH * rng.uniform(0.92, 1.0) * (1.0 - 0.5 * drained)
    evening = (day.hour > 18.6) & (rng.random(int(day.number[-1]) + 1) < 0.8)[day.number]
    charger = np.where(evening & ~riding, 100.0 * 160.0 / _PER_HOUR / capacity, 0.0)
    level = battery(
        100.0 * energy / capacity + 0.2 / 24 / _PER_HOUR, charger, rng.uniform(50, 100), rng.uniform(35, 60)
    )
    charging = np.diff(level, prepend=level[0]) > 0.5
    outside = (
        rng.uniform(8, 20)
        + 5.0 * np.sin(day.hour / 24 * 2 * np.pi - 2.2)
        + rng.normal(0, 2.5, int(day.number[-1]) + 1)[day.number]
    )
    hot = strength(scene, FaultKind.OVER_TEMPERATURE)
    motor = outside + lagged(np.where(riding, rng.uniform(28, 42), 0.0), 0.3, 0.0) + noise(scene, 0.8)
    cells = outside + lagged(
        np.where(riding, 9.0, np.where(charging, 13.0 + 42.0 * hot, 0.0)) + 20.0 * hot * riding, 0.2, 0.0
    )
    imbalance = rng.uniform(7, 18) + noise(scene, 1.5) + drained * np.where(riding, 105.0, 80.0)
    metrics: dict[str, Floats] = {
        "distance": rounded(distance, 2),
        "assist_energy": rounded(energy, 1),
        "consumption": np.where(riding, rounded(lagged(thirst, 0.2, thirst[0]), 2), absent),
        "motor_temperature": rounded(motor, 1),
        "battery": frozen(scene, rounded(level)),
        "battery_temperature": rounded(cells + noise(scene, 0.5), 1),
        "cell_imbalance": rounded(np.abs(imbalance)),
        "full_capacity": rounded(capacity),
        "charge_cycles": rounded(rng.integers(0, 300) + np.cumsum(np.where(charging, charger, 0.0)) / 100.0),
    }
    told = edges(ts_s, charging, "charging_started", "charging_ended")
    return alive(
        scene, riding | charging | _daily(scene, ts_s), metrics, told + storm(scene, "drive_fault", {"code": 42})
    )


def _daily(scene: Scene, ts_s: Floats) -> NDArray[np.bool_]:
    """One instant a day, for the sign of life."""
    moment_s = scene.rng.uniform(0, DAY_S)
    crossed = np.floor((ts_s - moment_s) / DAY_S)
    return np.diff(crossed, prepend=crossed[0]) > 0


E_BIKE: Final = Product(
    model="e-bike",
    spoken="an e-bike",
    share=0.15,
    interval_s=300.0,
    sync=Sync(every_s=HOUR_S / 2, offline_h=(1.0, 5.0), mqtt=4),
    faults={
        FaultKind.ABANDONED: trace("distance", "assist_energy", "consumption", "motor_temperature", "battery"),
        FaultKind.DECLINE: trace("distance", "assist_energy", "battery"),
        FaultKind.STUCK: trace("battery"),
        FaultKind.BATTERY_DRAIN: trace("cell_imbalance", "full_capacity", "battery"),
        FaultKind.EVENT_STORM: trace(),
        FaultKind.OVER_TEMPERATURE: trace("battery_temperature"),
    },
    firmwares=("12.0", "12.1", "13.0"),
    live=live,
    mends={"balance_cells": frozenset({FaultKind.BATTERY_DRAIN})},
)
