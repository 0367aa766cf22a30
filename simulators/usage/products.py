"""What devices measure and send of a life: several makers' ideas of it, under several names."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from simulators.usage.faults import Fault, FaultKind
from simulators.usage.lives import Calendar, Flags, Floats, Life
from simulators.usage.wearing import Presence

Columns = Mapping[str, Floats]
"""Metric by name, [hours]; NaN where an hour's line has no such metric."""

BATTERIES: Final = frozenset({"battery", "battery_percent", "soc", "backup_battery", "charge"})
FEWEST_COLUMNS: Final = 3  # of which one can be seen to be wrong
SOME_ZEROS: Final = 0.05  # of its hours, that an amount has


def band(life: Life, presence: Presence, calendar: Calendar, fault: Fault | None, rng: np.random.Generator) -> Columns:
    """A wearable: steps and what follows from them, the heart, a battery, events."""
    gone, worn = _weight(fault, FaultKind.ABANDONED, calendar), presence.worn.astype(np.float64)
    use = life.use * worn * what_is_left(fault, calendar)
    level = 330 * rng.lognormal(0, 0.4)  # steps in an hour
    steps = rounded(use * level)
    on = worn * (1 - gone) > 0
    asleep = np.where(life.asleep, -8.0, 0.0)
    heart = rng.normal(66, 7) + asleep + 9 * np.sqrt(np.minimum(use, 6)) + rng.normal(0, 3, calendar.hours)
    heart = heart + 4 * np.sin(np.cumsum(rng.normal(0, 0.03, calendar.hours)))
    columns: dict[str, Floats] = {
        one_of(("steps", "step_count", "movement"), rng): steps,
        one_of(("heart_rate", "bpm", "hr_avg"), rng): np.where(on, rounded(heart, 1), np.nan),
        one_of(("active_minutes", "very_active_min", "moving_minutes"), rng): rounded(
            np.clip(60 * (1 - np.exp(-use / rng.uniform(2, 5))), 0, 60)
        ),
    }
    if rng.random() < 0.6:
        # It never falls below what a body needs at rest, and is just that while nothing is worn.
        base = np.where(on, np.maximum(1 + (heart - heart.mean()) / 400, 1.0), 1.0) * rng.uniform(55, 85)
        columns[one_of(("calories", "kcal", "energy_kcal"), rng)] = rounded(base + steps * 0.045, 1)
    if rng.random() < 0.4:
        columns[one_of(("distance_m", "distance", "walked"), rng)] = rounded(steps * rng.uniform(0.6, 0.8))
    if rng.random() < 0.3:
        columns["steps_total"] = np.cumsum(steps) + float(rng.integers(100_000))
    columns[one_of(("events", "notifications", "gestures"), rng)] = events_of(use, on, calendar, fault, rng)
    columns[one_of(("battery", "battery_percent", "soc"), rng)] = battery_of(use, presence, calendar, fault, rng)
    return some(columns, rng)


def machine(
    life: Life, presence: Presence, calendar: Calendar, fault: Fault | None, rng: np.random.Generator
) -> Columns:
    """A machine in a kitchen, a workshop or a cellar: cycles, energy, a temperature, errors, a backup battery."""
    use = np.where(rng.random(calendar.hours) < what_is_left(fault, calendar), life.use, 0.0)
    counts = rng.random() < 0.4
    cycles = np.cumsum(use) + float(rng.integers(5000)) if counts else use
    name = one_of(("cycles", "brews", "washes", "openings"), rng) + ("_total" if counts else "")
    columns: dict[str, Floats] = {name: cycles}
    each = rng.uniform(0.05, 0.8)
    columns[one_of(("energy_kwh", "power_used", "consumption"), rng)] = rounded(
        use * each * rng.lognormal(0, 0.2, calendar.hours) + rng.choice([0.0, 0.02]), 3
    )
    warm = rng.uniform(18, 24) + 3 * np.sin((life.local - 9) / 24 * 2 * np.pi)
    columns[one_of(("temperature", "temp_c", "boiler_temp"), rng)] = rounded(
        warm + rng.uniform(5, 60) * np.minimum(use, 1) + rng.normal(0, 0.5, calendar.hours), 1
    )
    columns[one_of(("errors", "events", "warnings"), rng)] = events_of(
        use / max(float(life.wish.mean()), 1e-9), presence.worn, calendar, fault, rng
    )
    columns[one_of(("battery", "backup_battery", "charge"), rng)] = battery_of(use, presence, calendar, fault, rng)
    return some(columns, rng)


def freeze(columns: Columns, fault: Fault | None, lines: Flags, rng: np.random.Generator) -> Columns:
    """Where the device is stuck, every line (or that of one sensor) says what the last one before it said."""
    if fault is None or fault.kind is not FaultKind.STUCK:
        return columns
    names = list(columns)
    stuck = names if rng.random() < 0.6 else [names[int(rng.integers(min(2, len(names))))]]
    before = np.flatnonzero(lines[: fault.start])
    at = int(before[-1]) if len(before) else 0
    changed = {name: values.copy() for name, values in columns.items()}
    for name in stuck:
        known = changed[name][: at + 1]
        known = known[np.isfinite(known)]
        changed[name][fault.start : fault.end] = known[-1] if len(known) else 0.0
    return changed


def change_one(
    columns: Columns, fault: Fault | None, calendar: Calendar, rng: np.random.Generator
) -> tuple[Columns, Fault | None]:
    """What one metric says is gone, none, less or more, while the others go on; no fault where there is no such metric.

    A battery has faults of its own. Only what is counted can be counted less.
    """
    if fault is None:
        return columns, None
    counted = fault.kind in {FaultKind.ONE_LESS, FaultKind.ONE_FADES, FaultKind.ONE_MORE}
    known = {name: values[np.isfinite(values)] for name, values in columns.items() if name not in BATTERIES}
    able = [name for name, values in known.items() if len(values) and (not counted or _is_amount(values))]
    if len(columns) < FEWEST_COLUMNS or not able:
        return columns, None
    name = able[int(rng.integers(len(able)))]
    weight, values = fault.weight(calendar), columns[name]
    gone = np.nan if fault.kind is FaultKind.ONE_MISSING else 0.0
    left = {
        FaultKind.ONE_LESS: 1 - 0.7 * weight,
        FaultKind.ONE_FADES: 1 - 0.85 * weight,
        FaultKind.ONE_MORE: 1 + weight,
    }
    digits = 0 if (known[name] == np.round(known[name])).all() else 2
    changed = rounded(values * left[fault.kind], digits) if counted else np.where(weight > 0, gone, values)
    return {**columns, name: np.where(weight > 0, changed, values)}, fault


def _is_amount(values: Floats) -> bool:
    zeros, falls = np.count_nonzero(values == 0), np.count_nonzero(np.diff(values) < 0)
    return bool(zeros >= SOME_ZEROS * len(values) and falls > 0)


def _weight(fault: Fault | None, kind: FaultKind, calendar: Calendar) -> Floats:
    return fault.weight(calendar) if fault is not None and fault.kind is kind else np.zeros(calendar.hours)


def is_gone(fault: Fault | None, calendar: Calendar) -> Flags:
    """Hours in which nobody uses the device any more."""
    return _weight(fault, FaultKind.ABANDONED, calendar) > 0


def what_is_left(fault: Fault | None, calendar: Calendar) -> Floats:
    """What is left of use."""
    return (1 - _weight(fault, FaultKind.ABANDONED, calendar)) * (
        1 - 0.85 * _weight(fault, FaultKind.DECLINE, calendar)
    )


def events_of(use: Floats, on: Flags, calendar: Calendar, fault: Fault | None, rng: np.random.Generator) -> Floats:
    """Counts, a part of them with use, in days that differ."""
    per_day, share = rng.uniform(1.5, 30), rng.uniform(0.2, 0.9)
    rate = per_day / 24 * (share * use + (1 - share)) * on
    rate *= np.repeat(rng.lognormal(0, 0.25, calendar.days), 24)
    return rng.poisson(rate * (1 + _weight(fault, FaultKind.EVENTS, calendar))).astype(np.float64)


def battery_of(
    use: Floats, presence: Presence, calendar: Calendar, fault: Fault | None, rng: np.random.Generator
) -> Floats:
    """Per cent; charged while it is on the charger, and put there when it is nearly empty."""
    drain = (
        (100 / (24 * rng.uniform(3.5, 9))) * (0.7 + 0.3 * np.minimum(use, 5)) * rng.lognormal(0, 0.15, calendar.hours)
    )
    drain *= 1 + 2 * _weight(fault, FaultKind.DRAIN, calendar)
    alarm, charge = rng.uniform(5, 30), rng.uniform(60, 100, calendar.hours)
    levels = np.empty(calendar.hours)
    level = float(rng.uniform(40, 100))
    for hour, fall in enumerate(drain.tolist()):
        charges = presence.charging[hour] or (level < alarm and rng.random() < 0.3)
        level = min(100.0, level + float(charge[hour])) if charges else max(level - fall, 1.0)
        levels[hour] = level
    return rounded(levels, int(rng.integers(0, 2)))


def rounded(values: Floats, digits: int = 0) -> Floats:
    """As it is sent."""
    return np.round(values, digits).astype(np.float64)


def one_of(names: Sequence[str], rng: np.random.Generator) -> str:
    """What this maker calls it."""
    return names[int(rng.integers(len(names)))]


def some(columns: Columns, rng: np.random.Generator) -> Columns:
    """Now and then one metric is missing from a line."""
    hours = len(next(iter(columns.values())))
    rate = rng.choice([0.0, 0.0, 0.03])
    return {name: np.where(rng.random(hours) < rate, np.nan, values) for name, values in columns.items()}
