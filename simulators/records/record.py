"""Labelled records: machines at one cadence, as a table of times, sensors and devices."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np

from simulators.records.faults import Fault, inject, labels
from simulators.records.machine import Floats, Health, Mask, Timing, make_healthy

START_S: Final = 1_704_672_000  # Monday, 8 January 2024
BETWEEN_S: Final = 3600  # from the end of one record to the beginning of the next
FEWEST, MOST = 5, 40  # sensors


class Cadence(StrEnum):
    """How far rows are apart."""

    SECOND = "1 s"
    TEN_SECONDS = "10 s"
    MINUTE = "1 min"
    TEN_MINUTES = "10 min"


EVERY_S: Final = {Cadence.SECOND: 1, Cadence.TEN_SECONDS: 10, Cadence.MINUTE: 60, Cadence.TEN_MINUTES: 600}
ROWS: Final = {
    Cadence.SECOND: ((1000, 1400), (5000, 12_000)),  # a test bench's twenty minutes, and hours of a machine
    Cadence.TEN_SECONDS: ((1000, 3000), (5000, 9000)),
    Cadence.MINUTE: ((2500, 5000), (7000, 12_000)),  # days, and a week
    Cadence.TEN_MINUTES: ((2000, 4000), (4000, 6000)),  # weeks
}


@dataclass(frozen=True, slots=True)
class Record:
    """What a machine sent, and where it was faulty."""

    name: str
    health: Health
    start_s: int
    every_s: int
    values: Floats  # [rows, sensors]; NaN for a cell that is missing
    faults: list[Fault]

    @property
    def wrong(self) -> Mask:
        """Which rows are faulty."""
        return labels(self.faults, len(self.values))

    @property
    def days(self) -> float:
        """How long it is."""
        return len(self.values) * self.every_s / 86_400

    def row_at(self, ts_s: float) -> int:
        """The row of a time, or of what came last before it."""
        return int((ts_s - self.start_s) // self.every_s)


def make_records(cadence: Cadence, seeds: Sequence[int], count: int) -> list[Record]:
    """Draw so many records of each seed, one after the other in time; a seed's are the same, however many are drawn."""
    records: list[Record] = []
    start_s = START_S
    for seed, number in product(seeds, range(count)):
        rng = np.random.default_rng([seed, list(Cadence).index(cadence), number])
        health = list(Health)[number % len(Health)]
        timing = Timing(int(rng.integers(*ROWS[cadence][rng.integers(2)])), EVERY_S[cadence])
        sensors = int(math.exp(rng.uniform(math.log(FEWEST), math.log(MOST + 1))))
        values, faults = inject(make_healthy(health, timing, sensors, rng), rng)
        values = _measure(values, rng)
        records.append(Record(f"{seed}-{number:03d}", health, start_s, EVERY_S[cadence], values, faults))
        start_s += timing.rows * EVERY_S[cadence] + BETWEEN_S
    return records


def write_table(records: Sequence[Record], path: Path) -> None:
    """All of them as one CSV; a sensor that a machine has not is empty."""
    most = max(record.values.shape[1] for record in records)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["timestamp", "device", *(f"sensor_{number:02d}" for number in range(1, most + 1))])
        for record in records:
            lacks = [""] * (most - record.values.shape[1])
            for row, values in enumerate(record.values.tolist()):
                cells = ["" if value != value else repr(value) for value in values]  # noqa: PLR0124 - NaN
                table.writerow([record.start_s + row * record.every_s, record.name, *cells, *lacks])


def _measure(values: Floats, rng: np.random.Generator) -> Floats:
    """In units of each sensor's own, rounded as its display is: one in five coarsely."""
    sensors = int(values.shape[1])
    scale = rng.choice([0.01, 0.1, 1.0, 10.0, 100.0, 1000.0], sensors)
    offset = scale * rng.choice([0.0, 5.0, 50.0, 500.0], sensors)
    step = np.where(rng.random(sensors) < 0.2, 0.3, 0.001)
    return np.round(np.round(values / step) * step * scale + offset, 6)
