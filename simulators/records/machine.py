"""Healthy machines, seen by many sensors: what is usual differs from kind to kind, and no fault is in it.

Everything is in spreads of a sensor's own noise. Noise that resembles itself does so for so many seconds, whatever the
cadence: a sensor that is sluggish at a reading a second is quick at one in ten minutes.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

DAY_S: Final = 86_400.0
LAGS_S: Final = (0.0, 5.0, 30.0, 300.0, 3600.0)  # that noise resembles itself for
LOAD_LAGS_S: Final = (60.0, 900.0, 7200.0)
PROGRAMMES: Final = 3

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Health(StrEnum):
    """How a machine lives while nothing is wrong."""

    STEADY = "steady"
    DAILY = "daily"  # follows the hours of the day
    PROGRAMMES = "programmes"  # three that alternate, and take many sensors with them
    HEAVY = "heavy tails"  # single values far off, and unrest that comes and goes
    DRIFTING = "drifting"  # warms up, ages, wanders
    SERVER = "server"  # idle, saturated and counting columns, hourly jobs, cells that are missing


@dataclass(frozen=True, slots=True)
class Timing:
    """When a machine is read."""

    rows: int
    every_s: float

    @property
    def elapsed_s(self) -> Floats:
        """Of each row, since the first."""
        return np.arange(self.rows, dtype=np.float64) * self.every_s


@dataclass(frozen=True, slots=True)
class Healthy:
    """A machine without a fault."""

    values: Floats  # [rows, sensors]; NaN for a cell that is missing
    can_fail: Mask  # [sensors]; what is idle or counts cannot


def make_healthy(health: Health, timing: Timing, sensors: int, rng: np.random.Generator) -> Healthy:
    """Draw a machine."""
    own = _noise(health, timing, sensors, rng) * rng.uniform(0.5, 1.0, sensors)
    lag_s = np.array([rng.choice(LOAD_LAGS_S)])
    load = wander(timing, lag_s, rng.normal(size=(timing.rows, 1)))
    values = own + load * rng.choice([0.0, 0.5, 1.0, 2.0], sensors) * rng.choice([-1.0, 1.0], sensors)
    if health in {Health.DAILY, Health.SERVER, Health.DRIFTING}:
        day = np.sin(2 * np.pi * (timing.elapsed_s / DAY_S + rng.uniform()))
        values += np.outer(day, rng.choice([0.0, 0.5, 1.5, 3.0], sensors))
    if health is Health.PROGRAMMES:
        values += _programmes(timing, sensors, rng)
    if health is Health.DRIFTING:
        values += _drift(timing, sensors, rng)
    can_fail = np.ones(sensors, np.bool_)
    if health is Health.SERVER:
        values, can_fail = _as_server(values, timing, rng)
    return Healthy(values, can_fail)


def wander(timing: Timing, lags_s: Floats, steps: Floats) -> Floats:
    """Noise of the spread of `steps`, [rows, sensors], in which neighbours resemble each other."""
    likeness = np.where(lags_s > 0, np.exp(-timing.every_s / np.maximum(lags_s, 1e-9)), 0.0)
    found, fresh = np.empty_like(steps), np.sqrt(1 - likeness * likeness)
    now = steps[0]
    for row, step in enumerate(steps):
        now = likeness * now + fresh * step
        found[row] = now
    return found


def _noise(health: Health, timing: Timing, sensors: int, rng: np.random.Generator) -> Floats:
    shape = (timing.rows, sensors)
    steps = rng.normal(size=shape)
    if health is Health.HEAVY:
        steps = np.where(rng.random(sensors) < 0.6, rng.standard_t(3, shape) / np.sqrt(3), steps)
    own = wander(timing, rng.choice(LAGS_S, sensors), steps)
    if health is Health.HEAVY:
        own *= np.exp(0.4 * wander(timing, np.full(sensors, 1800.0), rng.normal(size=shape)))
    return own


def _programmes(timing: Timing, sensors: int, rng: np.random.Generator) -> Floats:
    """Which of three programmes runs, for 40 to 400 rows each, and what each makes of the sensors."""
    runs = rng.integers(40, 400, timing.rows // 40 + 1)
    which = np.repeat(rng.integers(0, PROGRAMMES, len(runs)), runs)[: timing.rows]
    away = rng.choice([0.0, 0.0, 1.0, 3.0], (PROGRAMMES, sensors)) * rng.choice([-1.0, 1.0], (PROGRAMMES, sensors))
    levels, sluggish = away[which], np.exp(-timing.every_s / rng.choice([1e-3, 60.0], sensors))
    now = levels[0]
    for row, level in enumerate(levels):
        now = sluggish * now + (1 - sluggish) * level
        levels[row] = now
    return levels


def _drift(timing: Timing, sensors: int, rng: np.random.Generator) -> Floats:
    share = np.linspace(0.0, 1.0, timing.rows)
    warm = (1 - np.exp(-share / 0.05))[:, None] * np.where(rng.random(sensors) < 0.3, rng.uniform(1, 6, sensors), 0.0)
    slow = wander(timing, np.full(sensors, 10 * DAY_S), rng.normal(size=(timing.rows, sensors)))
    return np.outer(share, rng.uniform(-2, 2, sensors)) + warm + 0.5 * slow


def _as_server(values: Floats, timing: Timing, rng: np.random.Generator) -> tuple[Floats, Mask]:
    """Every third column is one as servers have them: always the same, hardly ever used, counting, or at its end."""
    rows, sensors = timing.rows, int(values.shape[1])
    jobs = (timing.elapsed_s % 3600 < 300) & (rng.random(rows) < 0.9)
    values += np.outer(jobs, rng.choice([0.0, 0.0, 2.0], sensors))
    can_fail = np.ones(sensors, np.bool_)
    for column in np.flatnonzero(rng.random(sensors) < 0.35).tolist():
        sort = rng.choice(["same", "seldom", "counts", "full", "empty"])
        can_fail[column] = sort in {"full", "empty"}
        if sort == "same":
            values[:, column] = 0.0
        elif sort == "seldom":
            values[:, column] = np.where(rng.random(rows) < 0.02, rng.exponential(2.0, rows), 0.0)
        elif sort == "counts":
            grown = np.cumsum(np.round(rng.gamma(2.0, 2.0, rows)))
            values[:, column] = grown % grown[-1] * rng.choice([0.4, 2.0])  # some start anew on the way
        else:
            middle = np.median(values[:, column])
            values[:, column] = (
                np.minimum(values[:, column], middle) if sort == "full" else np.maximum(values[:, column], middle)
            )
    values[rng.random(values.shape) < 0.01] = np.nan
    return values, can_fail
