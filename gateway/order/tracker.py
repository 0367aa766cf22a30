"""What each device's messages say of order and time: their numbers, how late they come, and how its clock is off.

Most batches bring each device's next messages in their order, which a few operations on whole columns settle; only what
is out of the ordinary is looked at message by message.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.ids import PARTITIONS, partition_of
from gateway.order.clocks import Clocks, ClockView, Slots
from gateway.order.numbers import REORDERED, Count, Heard, Run
from gateway.store.rows import NO_SEQ, Ints, Longs

FIRST_CAPACITY: Final = 256
MOST_PUZZLES: Final = 8
MOST_SEQ: Final = 1 << 62
NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Messages of one batch in the order of their arrival, as columns of length n.

    `device` indexes `device_ids`; `ts_us` equals `received_us` exactly where the device gave no time; `seq` is NO_SEQ
    where absent.
    """

    device_ids: Sequence[str]
    device: Ints
    seq: Longs
    ts_us: Longs
    received_us: Longs


@dataclass(slots=True)
class Odd:
    """What is kept of a device beside the columns, once something about its numbers was out of the ordinary."""

    count: Count
    events: Count | None = None  # of a device that counts its events for themselves
    puzzles: list[tuple[int, int, Heard]] = field(default_factory=list[tuple[int, int, Heard]])
    """Events whose numbers fit nowhere yet: the next reading tells whether they are counted for themselves."""

    @property
    def missing(self) -> int:
        """Messages that never reached us."""
        return self.count.missing + (0 if self.events is None else self.events.missing)


@dataclass(slots=True)
class Late:
    """Readings of one device that came after newer ones, since the last time this was asked."""

    first_us: int  # the oldest of them, device time
    readings: int
    behind_us: int  # how long the latest was on its way

    def add(self, other: "Late") -> None:
        """Take more of them."""
        self.first_us = min(self.first_us, other.first_us)
        self.readings += other.readings
        self.behind_us = max(self.behind_us, other.behind_us)


@dataclass(frozen=True, slots=True)
class OrderView:
    """What is known of one device."""

    missing: int
    restarts: int
    is_numbered: bool
    clock: ClockView


class Tracker:
    """All devices, as columns by slot."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.clocks = Clocks()
        self.odd: dict[int, Odd] = {}
        self.late: dict[int, Late] = {}
        self.changed: set[int] = set()  # slots whose view may be another since this was last emptied
        self.partitions: NDArray[np.int16] = np.empty(0, np.int16)
        self.low: Longs = np.empty(0, np.int64)
        self.next: Longs = np.empty(0, np.int64)  # NEVER for a device that has not yet told a number
        self.base: Longs = np.empty(0, np.int64)
        self.since_us: Longs = np.empty(0, np.int64)
        self.newest_us: Longs = np.empty(0, np.int64)  # of its readings; NEVER
        self.missing: Longs = np.empty(0, np.int64)
        self.has_puzzles: NDArray[np.bool_] = np.empty(0, np.bool_)  # the next reading solves them
        self.touched: NDArray[np.bool_] = np.zeros(PARTITIONS, np.bool_)  # partitions that are not as last written down
        self._slots: dict[str, int] = {}

    def slot_of(self, device_id: str) -> int | None:
        """A device's slot, where it has one."""
        return self._slots.get(device_id)

    def enrol(self, device_ids: Sequence[str]) -> Slots:
        """Slots for devices, new ones where they are new."""
        try:
            return np.fromiter(map(self._slots.__getitem__, device_ids), np.intp, len(device_ids))
        except KeyError:
            pass
        known = len(self.ids)
        for device_id in device_ids:
            if self._slots.setdefault(device_id, len(self.ids)) == len(self.ids):
                self.ids.append(device_id)
        if len(self.ids) > len(self.next):
            self._grow(max(len(self.ids), 2 * len(self.next), FIRST_CAPACITY))
        self.partitions[known : len(self.ids)] = [partition_of(device_id) for device_id in self.ids[known:]]
        return np.fromiter(map(self._slots.__getitem__, device_ids), np.intp, len(device_ids))

    def _find(self, arrivals: Arrivals) -> Slots:
        slots = self.enrol(arrivals.device_ids)
        self.touched[self.partitions[slots]] = True
        return slots[arrivals.device]

    def _grow(self, capacity: int) -> None:
        more = capacity - len(self.next)
        self.partitions = np.concatenate([self.partitions, np.zeros(more, np.int16)])
        self.low = np.concatenate([self.low, np.full(more, NEVER, np.int64)])
        self.next = np.concatenate([self.next, np.full(more, NEVER, np.int64)])
        self.base = np.concatenate([self.base, np.zeros(more, np.int64)])
        self.since_us = np.concatenate([self.since_us, np.zeros(more, np.int64)])
        self.newest_us = np.concatenate([self.newest_us, np.full(more, NEVER, np.int64)])
        self.missing = np.concatenate([self.missing, np.zeros(more, np.int64)])
        self.has_puzzles = np.concatenate([self.has_puzzles, np.zeros(more, np.bool_)])
        self.clocks.grow(capacity)

    def take_readings(self, arrivals: Arrivals) -> None:
        """Take readings that were stored as rows of their own."""
        if not len(arrivals.seq):
            return
        order = _by_device(arrivals)
        slots = self._find(arrivals)[order]
        seq, ts_us, received_us = _counting(arrivals.seq[order]), arrivals.ts_us[order], arrivals.received_us[order]
        starts = np.flatnonzero(np.diff(slots, prepend=-1))
        ends = np.append(starts[1:], len(slots))
        here = slots[starts]
        number = seq + self.base[slots]
        is_first = np.zeros(len(slots), np.bool_)
        is_first[starts] = True
        # Each message's number and time are compared with those of the one before it, of the same device.
        expected = np.empty(len(slots), np.int64)
        expected[1:] = number[:-1] + 1
        expected[starts] = np.where(self.next[here] == NEVER, number[starts], self.next[here])
        before_us = np.empty(len(slots), np.int64)
        before_us[1:] = ts_us[:-1]
        before_us[starts] = self.newest_us[here]
        strange = ((seq != NO_SEQ) & (number != expected)) | (ts_us <= before_us)
        strange |= ~is_first & ((seq == NO_SEQ) != np.concatenate([[False], seq[:-1] == NO_SEQ]))
        odd = np.logical_or.reduceat(strange, starts)
        odd |= self.has_puzzles[here]
        plain = ~odd
        begins = plain & (self.next[here] == NEVER) & (seq[starts] != NO_SEQ)
        self.low[here[begins]], self.since_us[here[begins]] = number[starts[begins]], ts_us[starts[begins]]
        last = ends[plain] - 1
        self.next[here[plain]] = np.where(seq[last] == NO_SEQ, self.next[here[plain]], number[last] + 1)
        self.newest_us[here[plain]] = ts_us[last]
        for group in np.flatnonzero(odd).tolist():
            first, end = int(starts[group]), int(ends[group])
            self._take_one_by_one(int(here[group]), seq[first:end], ts_us[first:end], received_us[first:end])
        self.changed.update(here[begins].tolist())
        self._take_clocks(slots, ts_us, received_us)

    def _take_one_by_one(self, slot: int, seq: Longs, ts_us: Longs, received_us: Longs) -> None:
        """Readings of one device, in the order of their arrival."""
        newest_us = int(self.newest_us[slot])
        for number, at_us, came_us in zip(seq.tolist(), ts_us.tolist(), received_us.tolist(), strict=True):
            if number != NO_SEQ:
                heard = Heard.UNTIMED if at_us == came_us else Heard.STORED
                self._count_reading(slot, number, at_us, newest_us, heard)
            if at_us < newest_us:
                self._note_late(slot, Late(at_us, 1, came_us - at_us))
            newest_us = max(newest_us, at_us)
        self.newest_us[slot] = newest_us

    def _note_late(self, slot: int, late: Late) -> None:
        known = self.late.get(slot)
        if known is None:
            self.late[slot] = late
        else:
            known.add(late)

    def take_aside(self, arrivals: Arrivals, completes: NDArray[np.bool_]) -> None:
        """Take messages that reached us but were not stored for themselves: known already, completing, or refused.

        `completes`, bool[n], are those that completed a stored reading: late where newer ones had come before them.
        """
        if not len(arrivals.seq):
            return
        slots = self._find(arrivals)
        columns = (slots, _counting(arrivals.seq), arrivals.ts_us, arrivals.received_us, completes)
        for slot, seq, ts_us, received_us, is_fill in zip(*(column.tolist() for column in columns), strict=True):
            newest_us = int(self.newest_us[slot])
            if seq != NO_SEQ and self.next[slot] != NEVER:
                self._count_reading(slot, seq, ts_us, newest_us, Heard.AGAIN)
            if is_fill and ts_us < newest_us:
                self._note_late(slot, Late(ts_us, 1, received_us - ts_us))
        order = _by_device(arrivals)
        self._take_clocks(slots[order], arrivals.ts_us[order], arrivals.received_us[order])

    def take_events(self, arrivals: Arrivals) -> None:
        """Take events that were stored."""
        if not len(arrivals.seq):
            return
        slots = self._find(arrivals)
        columns = (slots, _counting(arrivals.seq), arrivals.ts_us, arrivals.received_us)
        for slot, seq, ts_us, received_us in zip(*(column.tolist() for column in columns), strict=True):
            if seq != NO_SEQ:
                self._count_event(slot, seq, ts_us, Heard.UNTIMED if ts_us == received_us else Heard.STORED)
        order = _by_device(arrivals)
        self._take_clocks(slots[order], arrivals.ts_us[order], arrivals.received_us[order])

    def _take_clocks(self, slots: Slots, ts_us: Longs, received_us: Longs) -> None:
        timed = ts_us != received_us
        if not timed.all():
            untimed = ~timed
            self.changed.update(self.clocks.note_untimed(slots[untimed], received_us[untimed]).tolist())
            slots, ts_us, received_us = slots[timed], ts_us[timed], received_us[timed]
        if len(slots):
            stagger = self.partitions[slots].astype(np.float64) / PARTITIONS
            self.changed.update(self.clocks.take(slots, ts_us, received_us, stagger).tolist())

    def _count_reading(self, slot: int, seq: int, ts_us: int, newest_us: int, heard: Heard) -> None:
        odd = self._odd_of(slot, seq, ts_us)
        if odd.puzzles:
            self._solve(odd, seq)
        odd.count.take(seq, ts_us, newest_us, heard)
        self._keep(slot, odd)

    def _count_event(self, slot: int, seq: int, ts_us: int, heard: Heard) -> None:
        if self.next[slot] == NEVER:
            odd = self.odd.get(slot) or Odd(Count(Run(NEVER, NEVER, ts_us)))
        else:
            odd = self._odd_of(slot, seq, ts_us)
        newest_us = int(self.newest_us[slot])
        if odd.events is not None:
            odd.events.take(seq, ts_us, ts_us - 1, heard)
        elif self.next[slot] != NEVER and self._fits(odd.count, seq):
            odd.count.take(seq, ts_us, newest_us, heard)
        else:
            odd.puzzles.append((seq, ts_us, heard))
            if len(odd.puzzles) > MOST_PUZZLES:
                self._count_apart(odd)
        self._keep(slot, odd)

    @staticmethod
    def _fits(count: Count, seq: int) -> bool:
        """Whether an event goes on in the count of the readings."""
        number, run = seq + count.base, count.run
        if number >= run.next:
            return number - run.next <= REORDERED
        return any(first <= number < end for first, end in run.holes)

    def _solve(self, odd: Odd, seq: int) -> None:
        """Take puzzling events: where the reading after them goes on with the count before, they are counted apart."""
        run, (first, ts_us, _) = odd.count.run, odd.puzzles[0]
        if run.next == NEVER:
            if abs(seq - first) > REORDERED:
                self._count_apart(odd)
                odd.count = Count(Run(seq, seq, ts_us))
            else:
                odd.count = Count(Run(min(seq, first), min(seq, first), ts_us))
        elif abs(seq + odd.count.base - run.next) <= REORDERED:
            self._count_apart(odd)
        for number, at_us, heard in odd.puzzles:
            odd.count.take(number, at_us, at_us - 1, heard)
        odd.puzzles.clear()

    @staticmethod
    def _count_apart(odd: Odd) -> None:
        for number, at_us, heard in odd.puzzles:
            if odd.events is None:
                odd.events = Count(Run(number, number, at_us))
            odd.events.take(number, at_us, at_us - 1, heard)
        odd.puzzles.clear()

    def _odd_of(self, slot: int, seq: int, ts_us: int) -> Odd:
        """What is known of a device's numbers, with what the columns know of the run."""
        odd = self.odd.get(slot)
        if odd is None:
            odd = Odd(Count(Run(seq, seq, ts_us)))
        run = odd.count.run
        if self.next[slot] != NEVER:
            run.low, run.next, run.since_us = int(self.low[slot]), int(self.next[slot]), int(self.since_us[slot])
            odd.count.base = int(self.base[slot])
        elif not odd.puzzles:
            run.low = run.next = seq
            run.since_us = ts_us
        return odd

    def _keep(self, slot: int, odd: Odd) -> None:
        """Write the run back to the columns; what is plain is kept there alone."""
        count = odd.count
        if count.run.next != NEVER:
            self.low[slot], self.next[slot] = count.run.low, count.run.next
            self.base[slot], self.since_us[slot] = count.base, count.run.since_us
        is_plain = not (count.run.holes or count.before or count.lost or count.restarts or count.period)
        if is_plain and odd.events is None and not odd.puzzles:
            self.odd.pop(slot, None)
        else:
            self.odd[slot] = odd
        self.missing[slot], self.has_puzzles[slot] = odd.missing, bool(odd.puzzles)
        self.changed.add(slot)

    def view(self, slot: int) -> OrderView:
        """What is known of a device."""
        odd = self.odd.get(slot)
        return OrderView(
            missing=int(self.missing[slot]),
            restarts=0 if odd is None else odd.count.restarts + (0 if odd.events is None else odd.events.restarts),
            is_numbered=bool(self.next[slot] != NEVER) or (odd is not None and odd.events is not None),
            clock=self.clocks.view(slot),
        )


def _counting(seq: Longs) -> Longs:
    """The numbers, without those so great that nobody can have counted to them."""
    return np.where(seq > MOST_SEQ, NO_SEQ, seq)


def _by_device(arrivals: Arrivals) -> NDArray[np.intp]:
    """The order of their devices, and within a device of their arrival."""
    small = len(arrivals.device_ids) <= np.iinfo(np.int16).max  # whose sort counts instead of comparing
    return np.argsort(arrivals.device.astype(np.int16) if small else arrivals.device, kind="stable")
