"""How many of a device's messages never reached us, from the numbers that it gives them.

A device counts its messages. What lies between two numbers that came in and has not come in itself is *missing*, until
it does. A counter that starts over opens a new run, which is no gap; the run before is kept for what still comes late.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import IntEnum
from operator import itemgetter
from typing import Final

MOST_HOLES: Final = 256
"""Gaps of one run that may still be filled; beyond that the oldest are counted as lost for good."""

MOST_MISSING: Final = 65_536
"""A jump ahead by more than this is no loss but a counter that was set anew."""

REORDERED: Final = 64
"""How far back a message may be overtaken by others before a number that was there already means a new count."""

PERIODS: Final = (1 << 8, 1 << 16, 1 << 24, 1 << 31, 1 << 32)
"""Where counters of so many bits wrap around."""


class Heard(IntEnum):
    """What became of the message that a number came with."""

    STORED = 0  # a reading or event of its own
    UNTIMED = 1  # the same, with the time of its receipt: a second delivery cannot be told from a second message
    AGAIN = 2  # known already, completing another, contradicting it, or refused


@dataclass(slots=True)
class Run:
    """One count from its start: numbers from `low` up to `next` have come in, but for those in `holes`."""

    low: int
    next: int
    since_us: int  # device time of its first message
    holes: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # [first, end), ascending

    @property
    def missing(self) -> int:
        """How many numbers of this run have not come in."""
        return sum(end - first for first, end in self.holes)

    def fill(self, number: int) -> bool:
        """Take a number out of the hole that it lies in; False if there is none."""
        place = bisect_right(self.holes, number, key=itemgetter(0)) - 1
        if place < 0 or number >= self.holes[place][1]:
            return False
        first, end = self.holes[place]
        self.holes[place : place + 1] = [part for part in ((first, number), (number + 1, end)) if part[0] < part[1]]
        return True

    def reach(self, number: int) -> None:
        """Go on to a number at or beyond the end; what is skipped is missing."""
        if number > self.next:
            self.holes.append((self.next, number))
        self.next = number + 1

    def begin_at(self, number: int) -> None:
        """Go back to a number before the first."""
        if number + 1 < self.low:
            self.holes.insert(0, (number + 1, self.low))
        self.low = number


@dataclass(slots=True)
class Count:
    """All that is known of one device's numbers."""

    run: Run
    before: Run | None = None  # the run before this one
    lost: int = 0  # missing for good
    restarts: int = 0
    period: int = 0  # where the counter wraps around; 0 while it has not
    base: int = 0  # what wrapping around has added so far

    @property
    def missing(self) -> int:
        """Messages that never reached us."""
        return self.lost + self.run.missing + (0 if self.before is None else self.before.missing)

    def take(self, seq: int, ts_us: int, newest_us: int, heard: Heard) -> bool:
        """Take a message's number; `newest_us` is the device's newest time before it. False if it came in before."""
        number = self._unwrapped(seq)
        if ts_us < self.run.since_us and self.before is not None:
            return self._take_late(number, ts_us, heard)
        run = self.run
        if number >= run.next:
            self._reach(number, seq, ts_us, heard)
            return True
        if run.fill(number):
            return True
        is_newer = heard is not Heard.AGAIN and ts_us > newest_us
        distance = run.next - number
        if is_newer and self._wraps(seq):
            return True
        # Readings of one message may share its number; a number from further back that is told anew is of a new count.
        if is_newer and distance > (1 if heard is Heard.STORED else REORDERED):
            self._start_over(seq, ts_us)
            return True
        if number < run.low and distance <= MOST_MISSING:
            run.begin_at(number)
            run.since_us = min(run.since_us, ts_us)
            self._settle()
            return True
        return False

    def _reach(self, number: int, seq: int, ts_us: int, heard: Heard) -> None:
        if number - self.run.next > MOST_MISSING:
            if heard is not Heard.AGAIN:
                self._start_over(seq, ts_us)
            return
        self.run.reach(number)
        self._settle()

    def _take_late(self, number: int, ts_us: int, heard: Heard) -> bool:
        """A message from before the present run."""
        before, run = self.before, self.run
        assert before is not None
        if ts_us < before.since_us:
            return False  # of a count that is forgotten
        if before.fill(number):
            return True
        if heard is Heard.AGAIN:
            return False
        if before.next <= number <= before.next + MOST_MISSING and self.base == 0:
            before.reach(number)
            self._settle()
            return True
        if run.low - REORDERED <= number < run.low:
            run.begin_at(number)
            self._settle()
            return True
        return run.fill(number)

    def _unwrapped(self, seq: int) -> int:
        """The number without wrapping around: of those it may stand for, the nearest to the next."""
        number = seq + self.base
        if self.period:
            if number >= self.run.next + self.period // 2:
                number -= self.period
            elif number < self.run.next - self.period // 2:
                number += self.period
                self.base += self.period
        return number

    def _wraps(self, seq: int) -> bool:
        """Whether the counter has come to where counters wrap around, and goes on behind it; then it is taken so."""
        if self.period:
            return False
        for period in PERIODS:
            slack = min(1024, period // 16)
            if period - slack <= self.run.next <= period and seq < slack:
                self.period = self.base = period
                self.run.reach(seq + period)
                self._settle()
                return True
        return False

    def _start_over(self, seq: int, ts_us: int) -> None:
        if self.before is not None:
            self.lost += self.before.missing
        self.before, self.run = self.run, Run(seq, seq + 1, ts_us)
        self.period = self.base = 0
        self.restarts += 1

    def _settle(self) -> None:
        """Keep to the bound: the oldest gaps are lost for good."""
        for run in (self.run, self.before):
            while run is not None and len(run.holes) > MOST_HOLES:
                first, end = run.holes.pop(0)
                self.lost += end - first
