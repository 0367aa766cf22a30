"""One measurement: what a contestant is given, and what is read off."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.bench.packets import Stream
from gateway.bench.rows import Block

Metered = Mapping[str, Callable[[], float]]
"""Seconds of processor time used so far, by who used them."""


@dataclass(frozen=True, slots=True)
class Round:
    """The same rows for every contestant, each in the form that it takes."""

    number: int
    block: Block
    streams: list[Stream]
    copies: list[bytes]  # COPY buffers of a batch each
    wakes_after: int | None = None  # packets of a device that are acknowledged before it sends on; None: half a window

    def __len__(self) -> int:
        return len(self.block)


@dataclass(frozen=True, slots=True)
class Result:
    """What one contestant did with one round."""

    readings: int
    seconds: float
    cpu_s: Mapping[str, float]

    @property
    def per_s(self) -> float:
        """Readings a second."""
        return self.readings / self.seconds


class Contestant(Protocol):
    """Somebody who takes a round in."""

    @property
    def name(self) -> str:
        """What the figures call it."""
        ...

    def take(self, given: Round) -> Result:
        """Take the readings in, all of them. Raises Retryable when that fails."""
        ...


class Meter:
    """Measures the time of a run and the processor time that it cost; this process's own is the load generator's."""

    def __init__(self, metered: Metered) -> None:
        self._metered: Metered = {**metered, "generator": time.process_time}
        self._before = {name: read() for name, read in self._metered.items()}
        self._start_s = time.perf_counter()

    def result(self, readings: int, more: Mapping[str, float] | None = None) -> Result:
        """What it came to, from the making of the meter until now; `more` is metered by others."""
        seconds = time.perf_counter() - self._start_s
        cpu_s = {name: read() - self._before[name] for name, read in self._metered.items()}
        return Result(readings, seconds, {**cpu_s, **(more or {})})
