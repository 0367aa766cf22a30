"""The faults of the benchmark, and what each does to a device from its beginning on."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from simulators.usage.lives import Calendar, Floats

DECLINE_DAYS: Final = 14


class FaultKind(StrEnum):
    """What goes wrong."""

    ABANDONED = "abandoned"
    STUCK = "stuck"
    DECLINE = "decline"
    DRAIN = "battery drain x3"
    EVENTS = "events x2"
    SILENCE = "silence"
    ONE_MISSING = "one metric missing"
    ONE_ZERO = "one metric at zero"
    ONE_LESS = "one metric x0.3"
    ONE_FADES = "one metric fades"
    ONE_MORE = "one metric x2"


WHOLE: Final = tuple(FaultKind)[:6]  # of the device, or of its owner's use
OF_ONE_METRIC: Final = tuple(FaultKind)[6:]  # a sensor, or what is made of it; all others go on
SLOW: Final = (FaultKind.DECLINE, FaultKind.ONE_FADES)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one device, in hours of the calendar."""

    kind: FaultKind
    start: int
    end: int
    reports: float  # share of the hours that are still reported

    def weight(self, calendar: Calendar) -> Floats:
        """How much of the fault is there in each hour, 0 to 1."""
        hours = np.arange(calendar.hours, dtype=np.float64)
        there = (hours >= self.start) & (hours < self.end)
        if self.kind not in SLOW:
            return there.astype(np.float64)
        return np.where(there, np.clip((hours - self.start) / (24 * DECLINE_DAYS), 0, 1), 0.0)


def draw_fault(calendar: Calendar, rng: np.random.Generator, kinds: tuple[FaultKind, ...]) -> Fault | None:
    """Three devices of four have a fault, in the middle of their time; half of the faults last to its end."""
    kind, lucky = kinds[int(rng.integers(len(kinds)))], rng.random() < 0.25
    start = int(calendar.hours * rng.uniform(0.35, 0.75))
    shortest = 24 * (20 if kind in SLOW else 8)
    lasts = calendar.hours if rng.random() < 0.5 else shortest + int(rng.integers(24 * 6))
    reports = float(rng.choice([1.0, 0.9, 0.3])) if kind is FaultKind.ABANDONED else 1.0
    return None if lucky else Fault(kind, start, min(start + lasts, calendar.hours), reports)
