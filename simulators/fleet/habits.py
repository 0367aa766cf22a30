"""Persons and their habits: when, how much and on which days somebody uses a product."""

from dataclasses import dataclass
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from devices.clock import to_datetime

Floats: TypeAlias = NDArray[np.float64]
DAY_S: Final = 86400.0
HOUR_S: Final = 3600.0

ZONES: Final = (
    ("Europe/Rome", "it"),
    ("Europe/Berlin", "de"),
    ("Europe/London", "en"),
    ("Europe/Lisbon", "pt"),
    ("Europe/Helsinki", "fi"),
    ("Africa/Nairobi", "en"),
    ("Asia/Kolkata", "en"),
    ("Asia/Tokyo", "ja"),
    ("Australia/Sydney", "en"),
    ("America/Sao_Paulo", "pt"),
    ("America/New_York", "en"),
    ("America/Denver", "en"),
    ("America/Los_Angeles", "en"),
    ("Pacific/Auckland", "en"),
)
"""Where owners live, with the language that they read."""


@dataclass(frozen=True, slots=True)
class Person:
    """An owner's way of life; `level` is how much of a user this one is, 1 being everyone's average."""

    owner_ref: str
    account_ref: str
    time_zone: str
    language: str
    level: float
    chronotype_h: float  # later than others by so many hours
    weekend: float  # use at weekends relative to working days
    weekend_lie_in_h: float
    lazy: float  # chance that a day is a lazy one
    holiday: tuple[float, float] | None  # from and until, epoch seconds


@dataclass(frozen=True, slots=True)
class Span:
    """The simulated time: whole days from `start_s` on."""

    start_s: float
    days: float

    @property
    def end_s(self) -> float:
        """The end, epoch seconds."""
        return self.start_s + self.days * DAY_S


def make_person(number: int, span: Span, rng: np.random.Generator) -> Person:
    """Draw one person; every draw happens for everyone, so that one person's luck does not change the next one's."""
    zone, language = ZONES[int(rng.integers(len(ZONES)))]
    holiday_s = rng.uniform(3, 9) * DAY_S
    holiday_at = rng.uniform(span.start_s, span.end_s)
    return Person(
        owner_ref=f"owner-{number:05d}",
        account_ref=f"account-{number // 2:05d}",  # a household shares an account
        time_zone=zone,
        language=language,
        level=float(np.clip(rng.lognormal(0.0, 0.35), 0.35, 2.5)),
        chronotype_h=float(np.clip(rng.normal(0.0, 1.1), -2.5, 3.0)),
        weekend=float(rng.uniform(0.6, 1.5)),
        weekend_lie_in_h=float(rng.uniform(0.0, 2.0)),
        lazy=float(rng.uniform(0.0, 0.15)),
        holiday=(holiday_at, holiday_at + holiday_s) if rng.random() < 0.15 * min(1.0, span.days / 21) else None,
    )


def local_s(person: Person, ts_s: Floats) -> Floats:
    """Epoch seconds shifted to the person's wall clock, with daylight saving as it was at noon of each day."""
    zone = ZoneInfo(person.time_zone)
    days = np.floor(ts_s / DAY_S).astype(np.int64)
    distinct, where = np.unique(days, return_inverse=True)
    offsets = [zone.utcoffset(to_datetime(float(day) * DAY_S + DAY_S / 2)) for day in distinct]
    return ts_s + np.array([offset.total_seconds() if offset else 0.0 for offset in offsets])[where]


@dataclass(frozen=True, slots=True)
class Day:
    """Where each instant lies in its person's days: arrays of the same shape as the instants."""

    hour: Floats  # on the person's own inner clock, 0 to 24
    number: NDArray[np.int64]  # local day, counted from the first one
    weekend: NDArray[np.bool_]
    mood: Floats  # how much of a usual day this one is: lazy days and daily chance
    away: NDArray[np.bool_]  # on holiday

    @property
    def asleep(self) -> NDArray[np.bool_]:
        """Whether the person sleeps."""
        return (self.hour < 6.8) | (self.hour >= 22.8)


def days_of(person: Person, ts_s: Floats, rng: np.random.Generator) -> Day:
    """The person's days at the given instants."""
    local = local_s(person, ts_s)
    index = np.floor(local / DAY_S).astype(np.int64)
    weekend = np.isin((index + 3) % 7, (5, 6))  # 1 January 1970 was a Thursday
    number = index - index[0]
    count = int(number[-1]) + 1
    mood = np.clip(rng.normal(1.0, 0.18, count), 0.4, 1.7) * np.where(rng.random(count) < person.lazy, 0.4, 1.0)
    shift_h = person.chronotype_h + np.where(weekend, person.weekend_lie_in_h, 0.0)
    hour = ((local / HOUR_S) - shift_h) % 24.0
    away = np.zeros(ts_s.shape, dtype=np.bool_)
    if person.holiday is not None:
        away = (ts_s >= person.holiday[0]) & (ts_s < person.holiday[1])
    return Day(hour=hour, number=number, weekend=weekend, mood=mood[number], away=away)


def bumps(hour: Floats, *peaks: tuple[float, float, float]) -> Floats:
    """A day's curve as a sum of bumps `(hour, width in hours, height)`, wrapping round midnight."""
    total = np.zeros_like(hour)
    for centre, width, height in peaks:
        distance = np.abs((hour - centre + 12.0) % 24.0 - 12.0)
        total += height * np.exp(-0.5 * (distance / width) ** 2)
    return total
