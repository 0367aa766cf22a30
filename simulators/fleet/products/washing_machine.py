"""A washing machine: a few programmes a week on its household's days, and every hour a report, idle or not."""

from typing import Final

import numpy as np

from simulators.fleet.faults import FaultKind, trace
from simulators.fleet.habits import HOUR_S, Day, Floats, bumps, days_of
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

_PROGRAMMES: Final = (("cotton", 60.0), ("easy-care", 40.0), ("quick", 30.0), ("delicates", 20.0))


def _ended(scene: Scene, day: Day) -> Floats:
    """Programmes that ended in each hour: households wash on certain days, and often two loads in a row."""
    rng, person = scene.rng, scene.person
    favours = rng.gamma(0.8, 1.0, 7)
    favours = favours / favours.sum() * rng.uniform(2.5, 7.0) * person.level  # programmes a week, spread over its days
    weekday = (np.floor(scene.ts_s / (24 * HOUR_S)).astype(np.int64) + 3) % 7
    curve = bumps(day.hour, (10.0, 2.0, 1.0), (19.0, 1.5, 0.8)) * ~day.asleep
    daily = curve / 8.0  # the curve's sum over a day, about
    rate = favours[weekday] * daily * day.mood * fading(scene) * np.where(day.away, 0.0, 1.0)
    cycles = (rng.random(len(rate)) < rate).astype(np.float64)
    again = rng.random(len(cycles)) < 0.25
    follows = earlier(earlier(cycles > 0)) & again & (cycles == 0) & (fading(scene) > 0)
    return cycles + follows


def live(scene: Scene) -> Life:
    """The machine's life: a programme fills, heats, drains and spins within two hours."""
    rng, ts_s = scene.rng, scene.ts_s
    day = days_of(scene.person, ts_s, rng)
    ended = _ended(scene, day)
    count, absent = len(ts_s), np.full(len(ts_s), np.nan)
    ends = ended > 0
    begins = earlier(ends[::-1])[::-1]  # in the hour before
    busy = ends | begins
    programme = rng.choice(len(_PROGRAMMES), count, p=(0.35, 0.35, 0.2, 0.1))
    warmth = np.array([celsius for _, celsius in _PROGRAMMES])[programme]
    heats = begins & (warmth > 25)
    room = 19.5 + 2.0 * np.sin(day.hour / 24 * 2 * np.pi - 2.0) + rng.normal(0, 2.0)
    motor = np.where(busy, rng.uniform(48, 64), room) + noise(scene, 2.5) * np.where(busy, 1.5, 0.4)
    motor = motor + strength(scene, FaultKind.OVER_TEMPERATURE, 2 * HOUR_S) * np.where(busy, 68.0, 5.0)
    fill, drain, shake = rng.uniform(70, 130), rng.uniform(40, 60), rng.uniform(5.5, 8.5)
    metrics: dict[str, Floats] = {
        "cycles": ended,
        "water": np.where(
            begins, rounded(rng.uniform(35, 55, count)), np.where(ends, rounded(rng.uniform(5, 15, count)), 0)
        ),
        "fill_time": np.where(begins, rounded(fill + noise(scene, 6.0)), absent),
        "drain_time": np.where(ends, rounded(drain + noise(scene, 3.0)), absent),
        "vibration": np.where(ends, rounded(shake + noise(scene, 0.9), 1), absent),
        "motor_temperature": rounded(frozen(scene, motor), 1),
        "heating_rate": np.where(heats, rounded(rng.uniform(1.8, 2.2) + noise(scene, 0.07), 2), absent),
        "energy": rounded(
            1.5 + np.where(heats, warmth * 13.0, 0.0) + np.where(ends, 120.0, 0.0) + noise(scene, 0.2), 1
        ),
        "leak": np.zeros(count),
    }
    told = [
        Happening(
            float(ts_s[n]),
            "programme_started",
            {"programme": _PROGRAMMES[programme[n]][0], "temperature_celsius": warmth[n].item()},
        )
        for n in np.flatnonzero(begins).tolist()
    ]
    told += storm(scene, "programme_aborted", {"cause": "unbalanced"}, per_hour=3.0)
    return alive(scene, np.ones(count, dtype=np.bool_), metrics, told)


WASHING_MACHINE: Final = Product(
    model="washing-machine",
    spoken="a washing machine",
    share=0.25,
    interval_s=HOUR_S,
    sync=Sync(every_s=HOUR_S, offline_h=(0.7, 2.5)),
    faults={
        FaultKind.ABANDONED: trace(
            "cycles", "water", "energy", "motor_temperature", "fill_time", "drain_time", "vibration", "heating_rate"
        ),
        FaultKind.DECLINE: trace("cycles", "water", "energy"),
        FaultKind.STUCK: trace("motor_temperature"),
        FaultKind.EVENT_STORM: trace("event:programme_aborted"),
        FaultKind.SILENCE: trace(quiet=True),
        FaultKind.OVER_TEMPERATURE: trace("motor_temperature"),
    },
    firmwares=("7.4", "7.5", "7.6"),
    live=live,
    mends={"recalibrate_motor": frozenset({FaultKind.OVER_TEMPERATURE})},
)
