"""A detector's compiled loop over the state of its series, and over one lane of a roster at a time."""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from gateway.detect.arrays import Floats, Indices
from gateway.detect.detector import Detector, Parameters
from gateway.detect.groups import RareGroup
from gateway.detect.native import (
    GROUPS,
    OUT_OF_ROOM,
    UNOPENED,
    GroupMemory,
    JournalMemory,
    Kernel,
    LaneCall,
    Loop,
)
from gateway.detect.table import Table

FIRST_JOURNAL: Final = 1 << 16  # bytes
ORIGIN: Final = 8  # bytes beside those of a slot that the journal keeps


@dataclass(frozen=True)
class Arrived:
    """Readings of devices of one roster, in the order of their arrival; every array contiguous."""

    seats: Indices  # [n]
    ts_s: Floats  # [n]
    alive_s: Floats  # [n]
    values: Floats  # [n, m]

    @cached_property
    def addresses(self) -> tuple[int, int, int, int]:
        """Where they are, in the order that a call has them in."""
        return (self.ts_s.ctypes.data, self.alive_s.ctypes.data, self.values.ctypes.data, self.seats.ctypes.data)


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a loop has stopped for something that Python does."""

    why: int  # TOLD, DISMISSED or UNOPENED
    sample: int
    which: int
    slot: int
    step: int
    ts_s: float  # at which a silence ended
    score: float


class Compiled:
    """A station's loop, with its groups' memory and its journal as C sees them."""

    def __init__(self, kernel: Kernel, loop: Loop, names: tuple[Sequence[str], Sequence[str]], table: Table) -> None:
        self.kernel = kernel
        self.loop = loop
        self._table = table
        self._journal = table.journal
        groups, self._parameter_names = names
        self._groups = [table.groups[name] for name in groups]
        self._memory = (GroupMemory * len(self._groups))()
        self._places = list(zip(self._memory, self._groups, strict=True))
        self._rare = [(memory, group) for memory, group in self._places if isinstance(group, RareGroup)]
        for memory, group in self._places:
            memory.width = group.width
        # A row may be kept whole, and one number of it once more.
        self.most_undo = 2 * sum(group.width + ORIGIN for group in self._groups)
        self._kept: npt.NDArray[np.uint8] = np.empty(max(FIRST_JOURNAL, self.most_undo), np.uint8)
        self._kept_memory = JournalMemory(self._kept.ctypes.data, 0, len(self._kept))
        self._turn = -1
        self._parameters = np.empty((0, 0))
        self._parameters_at = 0
        self.queue = (np.empty(0, np.int64), np.empty(0))
        self._queue_at = (0, 0)

    @classmethod
    def of(cls, kernel: Kernel, detector: Detector, table: Table, parameters: Sequence[str]) -> Self | None:
        """The loop of one of our own detectors, if its table is as the loop was compiled for."""
        if type(detector).__module__ != f"gateway.detect.{detector.name}":
            return None
        loop = kernel.loop(detector.name, table)
        return None if loop is None else cls(kernel, loop, (GROUPS[detector.name], parameters), table)

    def prepare(self, call: LaneCall, parameters: Parameters) -> None:
        """Tell a call where everything is now."""
        if len(self._parameters) != len(parameters):
            self._parameters = parameters.matrix(self._parameter_names)
            self._parameters_at = self._parameters.ctypes.data
        call.parameters = self._parameters_at
        call.parameter_count = self._parameters.shape[1]
        self.locate()
        call.groups = self._memory
        call.journal = None
        if self._journal.open:
            if self._turn != self._journal.turn:
                self._turn, self._kept_memory.used = self._journal.turn, 0
            call.journal = ctypes.pointer(self._kept_memory)

    def locate(self) -> None:
        """Look where the groups' memory is: it moves when slots are opened."""
        for memory, group in self._rare:
            group.make_room()
            memory.rows, memory.used, memory.capacity = group.rows_address, group.used, len(group.slots)
        for memory, group in self._places:
            memory.slots = group.address

    def take_note_of_rows(self) -> None:
        """Let the table know which rows the loop has given to slots."""
        for memory, group in self._rare:
            group.used = memory.used

    def make_room(self) -> None:
        """Give the journal more memory, where that is what is short, and groups that few slots use more rows."""
        self.locate()
        if self._kept_memory.capacity - self._kept_memory.used >= self.most_undo:
            return
        kept = np.empty(2 * len(self._kept), np.uint8)
        kept[: len(self._kept)] = self._kept
        self._kept = kept
        self._kept_memory.bytes, self._kept_memory.capacity = kept.ctypes.data, len(kept)

    def note(self) -> None:
        """Let the turn's journal undo what the loop is about to do."""
        if self._journal.open:
            start = self._kept_memory.used
            self._journal.note(lambda: self._undo(start))

    def _undo(self, start: int) -> None:
        self.locate()
        self.kernel.undo(self._memory, ctypes.byref(self._kept_memory), start)

    def room_to_queue(self, count: int) -> tuple[int, int]:
        """Where a loop can put deadlines that came nearer."""
        if len(self.queue[0]) < count:
            self.queue = (np.empty(2 * count, np.int64), np.empty(2 * count))
            self._queue_at = (self.queue[0].ctypes.data, self.queue[1].ctypes.data)
        return self._queue_at


class LaneLoop:
    """The watches of one detector over the devices of one roster."""

    def __init__(
        self,
        compiled: Compiled,
        parameters: Parameters,
        lane: tuple[Indices, Indices, Indices, Indices, Indices],
        rules: tuple[int, float, float],
    ) -> None:
        """Bind a station's loop to a lane of a roster.

        `lane` has the watches' columns in the roster, their numbers, the columns of their metrics, and all parts with
        the codes of their metrics. `rules` are how many samples to remember, and how often and from which rise of the
        score on to tell again.
        """
        self._compiled = compiled
        self._parameters = parameters
        self._lane = tuple(np.ascontiguousarray(part, np.int64) for part in lane)
        self._call = LaneCall()
        columns, watches, metrics, parts, codes = self._lane
        self._call.watches = len(columns)
        self._call.column, self._call.watch = columns.ctypes.data, watches.ctypes.data
        self._call.metric = metrics.ctypes.data
        self._call.parts, self._call.part = len(parts), parts.ctypes.data
        self._call.code = codes.ctypes.data
        self._call.most_undo = compiled.most_undo
        self._call.hour_from_s, self._call.hour_until_s = 1.0, 0.0  # none was asked for yet
        self._call.evidence_points, self._call.update_every_s, self._call.update_score = rules

    def go(self, arrived: Arrived, slots: npt.NDArray[np.int32], scores: Floats | None = None) -> Iterator[Stop]:
        """Judge readings in their order; whoever is given a stop sees to it before asking for the next."""
        call, compiled = self._call, self._compiled
        call.samples, call.metrics = arrived.values.shape
        call.ts_s, call.alive_s, call.values, call.seats = arrived.addresses
        call.slots, call.columns = slots.ctypes.data, slots.shape[1]
        call.scores = None if scores is None else scores.ctypes.data
        call.sample = call.which = call.queued = call.skips_unopened = 0
        call.queued_slots, call.queued_ticks = compiled.room_to_queue(call.samples * call.watches)
        compiled.prepare(call, self._parameters)
        compiled.note()
        while True:
            why = compiled.loop(ctypes.byref(call))
            compiled.take_note_of_rows()
            if why == OUT_OF_ROOM:
                compiled.make_room()
            elif why:
                yield Stop(why, call.at_sample, call.at_which, call.slot, call.step, call.ts_told_s, call.score)
                if why == UNOPENED:
                    call.skips_unopened = 1
                compiled.locate()
                compiled.note()  # after what was done meanwhile
            else:
                return

    def nearer(self) -> tuple[Indices, Floats]:
        """The slots whose deadline came nearer in the last call, and the starts of their ticks."""
        slots, ticks = self._compiled.queue
        return slots[: self._call.queued].copy(), ticks[: self._call.queued].copy()

    def unopened(self) -> tuple[Indices, Indices]:
        """Readings and watches from the stop on that have no slot yet, each slot once, in the order of arrival."""
        most = (self._call.samples - self._call.sample) * self._call.watches
        samples, watches = np.empty(most, np.int64), np.empty(most, np.int64)
        found = self._compiled.kernel.find_unopened(ctypes.byref(self._call), samples.ctypes.data, watches.ctypes.data)
        return samples[:found], watches[:found]
