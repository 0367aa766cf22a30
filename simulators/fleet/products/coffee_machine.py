"""A coffee machine: shots in its household's coffee hours, a boiler that follows them, limescale that grows."""

from typing import Final

import numpy as np

from simulators.fleet.faults import FaultKind, trace
from simulators.fleet.habits import DAY_S, HOUR_S, Day, Floats, bumps, days_of
from simulators.fleet.network import Sync
from simulators.fleet.packets import Happening, Life
from simulators.fleet.products.product import (
    Product,
    Scene,
    alive,
    earlier,
    fading,
    frozen,
    noise,
    rounded,
    storm,
    strength,
)


def _shots(scene: Scene, day: Day) -> Floats:
    """Shots in each hour: an office drinks on working days only."""
    rng, person = scene.rng, scene.person
    office = rng.random() < 0.12
    if office:
        curve = bumps(day.hour, (9.3, 1.2, 4.0), (13.2, 1.0, 3.5), (15.8, 1.0, 2.0)) * np.where(day.weekend, 0.02, 1.0)
    else:
        curve = bumps(day.hour, (7.4, 0.9, 1.7), (10.5, 1.2, 0.5), (13.4, 0.8, 0.8), (16.5, 1.3, 0.5))
        curve = curve * np.where(day.weekend, person.weekend, 1.0)
    rate = curve * day.mood * person.level * fading(scene) * ~day.asleep * np.where(day.away, 0.0, 1.0)
    return rng.poisson(rate).astype(np.float64)


def live(scene: Scene) -> Life:
    """The machine's life, hour by hour."""
    rng, ts_s = scene.rng, scene.ts_s
    day = days_of(scene.person, ts_s, rng)
    shots = _shots(scene, day)
    count, absent = len(ts_s), np.full(len(ts_s), np.nan)
    brewed = shots > 0
    cold = brewed & ~earlier(brewed)
    steam = brewed & (rng.random(count) < 0.25 * rng.random())
    scale = rng.uniform(0.0, 0.25) + (ts_s - ts_s[0]) / DAY_S / rng.uniform(90, 300)
    room = 21.0 + 2.0 * np.sin(day.hour / 24 * 2 * np.pi - 2.0) + rng.normal(0, 1.5)
    boiler = np.where(brewed, np.where(steam, 104.0, 94.0), room + 2.0) + noise(scene, 1.1)
    boiler = boiler + strength(scene, FaultKind.OVER_TEMPERATURE, 2 * HOUR_S) * np.where(brewed, 44.0, 6.0)
    tank_litres = 1.8
    drunk = np.cumsum(shots * 90.0) / 1000.0 % tank_litres
    tank_empty = brewed & (drunk < 0.12)
    metrics: dict[str, Floats] = {
        "shots": shots,
        "water": np.where(brewed, rounded(shots * rng.uniform(45, 120) + rng.uniform(60, 100, count)), 0.0),
        "boiler_temperature": rounded(frozen(scene, boiler), 1),
        "heat_up_time": np.where(cold, rounded(38.0 + 35.0 * scale + noise(scene, 2.0)), absent),
        "flow": np.where(brewed, rounded(2.7 - 0.8 * scale + noise(scene, 0.12), 2), absent),
        "pump_pressure": np.where(brewed, rounded(rng.uniform(8.9, 9.4) + noise(scene, 0.12), 2), absent),
        "grinder_current": np.where(brewed, rounded(rng.uniform(1.2, 1.55) + noise(scene, 0.06), 2), absent),
        "energy": rounded(
            2.0 + 27.0 * cold + 11.0 * shots + 0.15 * np.clip(boiler - 110.0, 0, None) + noise(scene, 0.5), 1
        ),
        "tank_empty": tank_empty.astype(np.float64),
    }
    told = [Happening(float(ts_s[n]), "brew_aborted", {"cause": "no_water"}) for n in np.flatnonzero(tank_empty)]
    there = ~day.away if rng.random() < 0.35 else np.ones(count, dtype=np.bool_)  # some pull the plug for holidays
    told = [item for item in told if there[int(np.searchsorted(ts_s, item.ts_s))]]
    return alive(scene, there, metrics, told + storm(scene, "brew_aborted", {"cause": "no_flow"}, per_hour=4.0))


COFFEE_MACHINE: Final = Product(
    model="coffee-machine",
    spoken="a coffee machine",
    share=0.3,
    interval_s=HOUR_S,
    sync=Sync(every_s=HOUR_S, offline_h=(0.7, 2.5), words=True, mqtt=4),
    faults={
        FaultKind.ABANDONED: trace(
            "shots", "water", "energy", "boiler_temperature", "heat_up_time", "flow", "pump_pressure", "grinder_current"
        ),
        FaultKind.DECLINE: trace("shots", "water", "energy"),
        FaultKind.STUCK: trace("boiler_temperature"),
        FaultKind.EVENT_STORM: trace("event:brew_aborted"),
        FaultKind.SILENCE: trace(quiet=True),
        FaultKind.OVER_TEMPERATURE: trace("boiler_temperature", "energy"),
    },
    firmwares=("2.0.3", "2.1.0", "2.2.0"),
    live=live,
)
