"""How much somebody uses a thing in each hour: habits, and everything that breaks them without being a fault."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Calendar:
    """The hours of a benchmark, the same for all devices; hour 0 is the first hour of a UTC day."""

    start_s: float
    days: int

    @property
    def hours(self) -> int:
        """How many there are."""
        return 24 * self.days


@dataclass(frozen=True, slots=True)
class Life:
    """Somebody's hours, all arrays [hours] of a calendar."""

    wish: Floats  # use that the habit asks for, 1 an hour on average
    use: Floats  # use that came of it, before anything is worn, measured or sent
    local: Floats  # local hour of the day, 0 to 24
    asleep: Flags
    day: NDArray[np.int64]  # local day, from 0


def live(calendar: Calendar, rng: np.random.Generator) -> Life:
    """Draw a person of the wearing kind: sleep, two or three active times of the day, days that differ."""
    offset = _offset(calendar, rng)
    hours = np.arange(calendar.hours) + offset
    local, day = hours % 24.0, np.floor(hours / 24.0).astype(np.int64)
    day -= day[0]
    weekday = (day + int(rng.integers(7))) % 7
    weekend = weekday >= 5
    lie_in = rng.uniform(0, 2.5) * weekend
    wakes, sleeps = rng.normal(7.0, 1.0), rng.normal(23.0, 1.0)
    asleep = ((local - sleeps) % 24) < ((wakes + lie_in - sleeps) % 24)
    shape = np.full(calendar.hours, rng.uniform(0.15, 0.6))
    for centre, most, width in ((8.5, 1.5, 1.5), (13.0, 1.0, 1.5), (18.0, 2.0, 2.0)):
        at, high = centre + rng.normal(0, 1.0), most * rng.lognormal(0, 0.5)
        shape += (
            high
            * np.exp(-((((local - at - lie_in + 12) % 24 - 12) / width) ** 2))
            * np.where(weekend, rng.uniform(0.4, 1.3), 1.0)
        )
    shape[asleep] = (0.0, 0.01, 0.03)[int(rng.integers(3))]
    wish = shape * _days(day, weekend, rng)
    wish /= wish.mean()
    burst = rng.uniform(0.6, 2.5)
    use = wish * rng.gamma(burst, 1 / burst, calendar.hours)
    still = rng.random(calendar.hours) < rng.uniform(0.0, 0.25)  # an hour at the desk, or in a seat
    return Life(wish, np.where(still, 0.0, use), local, asleep, day)


def keep_house(calendar: Calendar, rng: np.random.Generator, per_day: float) -> Life:
    """Draw a household or an office that uses a machine `per_day` times: its hours, its days, its holidays."""
    offset = _offset(calendar, rng)
    hours = np.arange(calendar.hours) + offset
    local, day = hours % 24.0, np.floor(hours / 24.0).astype(np.int64)
    day -= day[0]
    weekend = (day + int(rng.integers(7))) % 7 >= 5
    asleep = (local < rng.uniform(5, 8)) | (local > rng.uniform(20, 24))
    shape = np.full(calendar.hours, rng.uniform(0.05, 0.4))
    for at in rng.uniform(7, 20, int(rng.integers(1, 4))):
        shape += rng.uniform(0.5, 2.5) * np.exp(-(((local - at) / rng.uniform(0.7, 2.0)) ** 2))
    office = rng.random() < 0.3
    shape *= np.where(weekend, 0.02 if office else rng.uniform(0.5, 1.8), 1.0)
    shape[asleep] = 0.0
    wish = shape * _days(day, weekend, rng)
    wish *= per_day / 24.0 / wish.mean()
    return Life(wish, np.asarray(rng.poisson(wish), np.float64), local, asleep, day)


def _offset(calendar: Calendar, rng: np.random.Generator) -> Floats:
    """Hours from UTC to local time, in each hour: the zone, and for some a journey to another."""
    home = float(rng.integers(-8, 11))
    offset = np.full(calendar.hours, home)
    if rng.random() < 0.2:
        start = int(rng.integers(calendar.hours))
        offset[start : start + 24 * int(rng.integers(4, 13))] += rng.choice([-9, -6, -5, 2, 3, 6, 8])
    return offset + 24.0


def _days(day: NDArray[np.int64], weekend: Flags, rng: np.random.Generator) -> Floats:
    """How much of a day each hour's day is: mood, laziness, season, holidays, illness."""
    count = int(day.max()) + 2
    mood = np.exp(rng.uniform(0.15, 0.5) * rng.normal(size=count))
    mood[rng.random(count) < rng.uniform(0.0, 0.12)] *= rng.uniform(0.15, 0.4)
    turn = rng.uniform(0, 2 * np.pi)
    mood *= 1 + rng.uniform(0, 0.25) * np.sin(np.arange(count) * 2 * np.pi / rng.uniform(60, 365) + turn)
    if rng.random() < 0.35:
        start = int(rng.integers(count))
        mood[start : start + int(rng.integers(4, 15))] *= rng.uniform(0.4, 1.7)
    for _ in range(rng.poisson(count / 70)):
        start = int(rng.integers(count))
        mood[start : start + int(rng.integers(1, 5))] *= rng.uniform(0.1, 0.4)
    return mood[day] * np.where(weekend, rng.uniform(0.7, 1.3), 1.0)
