"""A fitness tracker as its maker exports it by the hour: many numbers of one body, most of them zero most of the time.

Unlike the plain band, what is counted is not all alike: minutes of exercise come in a few sessions a week, floors in
ones and twos, sleep by night only, and minutes of sitting fill the hours that nothing else does. Some people export a
single column.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulators.usage.faults import Fault, FaultKind
from simulators.usage.lives import Calendar, Flags, Floats, Life
from simulators.usage.products import Columns, battery_of, events_of, is_gone, one_of, rounded, some, what_is_left
from simulators.usage.wearing import Presence

MINUTES: Final = 60.0
SINGLE: Final = 0.15  # share of people that export one column only
HEARTS: Final = 0.2  # of them the heart's
HIDDEN: Final = (FaultKind.DRAIN, FaultKind.EVENTS)  # from who sees the steps alone
ACTIVE_STEPS: Final = 5500.0  # in an hour, of which half are walked fast


@dataclass(frozen=True, slots=True)
class _Body:
    """Arrays [hours] of one person, as far as the tracker could measure them."""

    steps: Floats
    use: Floats
    exercise: Floats  # minutes
    on: Flags  # worn, and the tracker works
    asleep: Flags


def tracker(
    life: Life, presence: Presence, calendar: Calendar, fault: Fault | None, rng: np.random.Generator
) -> Columns:
    """Steps and heart, minutes by how much was done in them, calories, floors, sleep, a battery, events."""
    body = _move(life, presence, calendar, fault, rng)
    columns: dict[str, Floats] = {
        one_of(("steps", "StepTotal", "step_count"), rng): body.steps,
        one_of(("heart_rate", "bpm", "hr"), rng): _heart(body, calendar, rng),
    }
    if rng.random() < SINGLE and (fault is None or fault.kind not in HIDDEN):
        steps, heart = columns
        return {heart: columns[heart]} if fault is None and rng.random() < HEARTS else {steps: columns[steps]}
    very = np.clip(MINUTES * (body.steps / ACTIVE_STEPS - 0.5), 0, MINUTES) + body.exercise
    very = np.minimum(rounded(very), MINUTES)
    lightly = np.minimum(rounded(body.steps / rng.uniform(35, 60)), MINUTES - very)
    slept = np.where(body.asleep & body.on, rounded(np.minimum(rng.normal(54, 8, calendar.hours), MINUTES)), 0.0)
    resting = rng.uniform(55, 85)
    optional: Sequence[tuple[float, str, Floats]] = (
        (0.7, one_of(("very_active_minutes", "VeryActiveMinutes", "zone_minutes"), rng), very),
        (0.6, "lightly_active_minutes", lightly),
        (0.5, "sedentary_minutes", np.maximum(MINUTES - very - lightly - slept, 0.0)),
        (0.7, one_of(("calories", "Calories"), rng), _calories(body, resting, rng)),
        (0.6, one_of(("distance_km", "distance"), rng), rounded(body.steps * rng.uniform(6e-4, 8e-4), 2)),
        (0.3, "floors", _climb(body, rng)),
        (0.4, "sleep_minutes", slept),
        (0.2, "resting_heart_rate", np.repeat(rounded(rng.normal(60, 1.2, calendar.days)), 24)),
    )
    columns |= {name: values for odds, name, values in optional if rng.random() < odds}
    columns[one_of(("events", "notifications", "gestures"), rng)] = events_of(body.use, body.on, calendar, fault, rng)
    columns[one_of(("battery", "battery_percent", "soc"), rng)] = battery_of(life.use, presence, calendar, fault, rng)
    return some(columns, rng)


def _move(life: Life, presence: Presence, calendar: Calendar, fault: Fault | None, rng: np.random.Generator) -> _Body:
    """Everyday steps, and sessions of exercise at habitual hours of habitual days."""
    on = presence.worn & ~is_gone(fault, calendar)
    left = what_is_left(fault, calendar) * on
    exercise = np.zeros(calendar.hours)
    for _ in range(int(rng.integers(0, 5))):  # sessions a week
        weekday, at, done = int(rng.integers(7)), float(rng.uniform(6, 20)), rng.uniform(0.4, 0.95)
        due = (life.day % 7 == weekday) & (np.floor(life.local) == np.floor(at))
        kept = (rng.random(int(life.day.max()) + 2) < done)[life.day]
        exercise = np.where(due & kept & ~life.asleep, rng.normal(42, 12, calendar.hours).clip(5, 60), exercise)
    exercise = exercise * (rng.random(calendar.hours) < left)
    runs = rng.uniform(0, 130)  # steps in a minute of exercise: some cycle or swim
    use = life.use * left
    steps = rounded(use * 330 * rng.lognormal(0, 0.4) + exercise * runs)
    return _Body(steps, use, rounded(exercise), on, life.asleep)


def _heart(body: _Body, calendar: Calendar, rng: np.random.Generator) -> Floats:
    rests = rng.normal(66, 8) - 8.0 * body.asleep + 3 * np.sin(np.cumsum(rng.normal(0, 0.03, calendar.hours)))
    beats = rests + 8 * np.sqrt(np.minimum(body.steps / 330, 6)) + 0.9 * body.exercise
    beats += rng.normal(0, 3, calendar.hours)
    return np.where(body.on, rounded(beats, int(rng.integers(0, 2))), np.nan)


def _calories(body: _Body, resting: float, rng: np.random.Generator) -> Floats:
    """What a body needs at rest, and what it did; whole numbers with some makers, and just the rest when not worn."""
    return rounded(resting + body.steps * 0.045 + body.exercise * 4.0, int(rng.integers(0, 2)))


def _climb(body: _Body, rng: np.random.Generator) -> Floats:
    return rng.poisson(body.steps / rng.uniform(600, 3000)).astype(np.float64)
