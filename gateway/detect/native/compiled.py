"""A detector's compiled loop over the state of its series, and the loops of a roster's lanes, reading by reading."""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from gateway.detect.arrays import Floats, Indices, address_of
from gateway.detect.detector import Detector, Parameters
from gateway.detect.groups import COMPANY, Group, RareGroup
from gateway.detect.native import (
    GROUPS,
    OUT_OF_ROOM,
    UNOPENED,
    GroupMemory,
    HiddenMemory,
    LaneCall,
    Loop,
    RowsMemory,
    TogetherCall,
)
from gateway.detect.native.ledger import Ledger
from gateway.detect.table import Table

BOUND: Final = 6  # numbers that a loop keeps of each watch at hand
ORIGIN: Final = 8  # bytes beside those of a slot that the journal keeps…
MOST_KEPT: Final = 248  # …or beside so many of them, where there are more
BEGIN: Final = -1  # with the first reading, in place of one to go on with
MOST_HIDDEN: Final = 256  # series that loops hide by themselves before they stop for each

NoteHidden = Callable[[Indices, Indices], None]  # is told seats and columns


@dataclass(frozen=True)
class Arrived:
    """Readings of devices of one roster, in the order of their arrival; every array contiguous."""

    seats: Indices  # [n]
    ts_s: Floats  # [n]
    alive_s: Floats  # [n], or [1] for all of them
    values: Floats  # [n, m]

    def addresses(self) -> tuple[int, int, int, int]:
        """Where they are, in the order that a call has them in."""
        return (address_of(self.ts_s), address_of(self.alive_s), address_of(self.values), address_of(self.seats))


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
    """A station's loop, with its groups' memory as C sees it."""

    def __init__(self, ledger: Ledger, loop: Loop, names: tuple[Sequence[str], Sequence[str]], table: Table) -> None:
        self.ledger = ledger
        self.loop = loop
        self._table = table
        groups, self._parameter_names = names
        self._groups = [table.groups[name] for name in groups]
        self._memory = (GroupMemory * len(self._groups))()
        self._places = list(zip(self._memory, self._groups, strict=True))
        self.has_deadlines = "deadline_s" in table.fields
        self.changes_parts = COMPANY in table.groups
        self._rows = ctypes.cast(table.row_memory.ctypes.data, ctypes.POINTER(RowsMemory))
        for memory, group in self._places:
            memory.initial = group.initial_address
            if isinstance(group, RareGroup):
                memory.rows = group.index.address
        # A row may be kept whole, and one number of it once more.
        self.most_undo = 2 * sum(map(most_kept, self._groups))
        self._number = ledger.enter(self, self._memory)
        self._moves = -1
        self._parameters = np.empty((0, 0))
        self._parameters_at = 0
        self.queue = (np.empty(0, np.int64), np.empty(0))
        self._queue_at = (0, 0)

    @classmethod
    def of(cls, ledger: Ledger, detector: Detector, table: Table, parameters: Sequence[str]) -> Self | None:
        """The loop of one of our own detectors, if its table is as the loop was compiled for."""
        if type(detector).__module__ != f"gateway.detect.{detector.name}":
            return None
        loop = ledger.kernel.loop(detector.name, table)
        return None if loop is None else cls(ledger, loop, (GROUPS[detector.name], parameters), table)

    def bind(self, call: LaneCall) -> None:
        """Tell a call what never changes."""
        call.judge = self.loop.judge
        call.number, call.groups = self._number, self._memory
        call.rows, call.row_sets = self._rows, len(self._table.indexes)

    @property
    def moves(self) -> int:
        """How often the state has moved."""
        return self._table.moves.count

    def prepare(self, call: LaneCall, parameters: Parameters) -> None:
        """Tell a call where everything is now."""
        if len(self._parameters) != len(parameters):
            self._parameters = parameters.matrix(self._parameter_names)
            self._parameters_at = self._parameters.ctypes.data
        if call.parameters != self._parameters_at:
            call.parameters = self._parameters_at
            call.parameter_count = self._parameters.shape[1]
        self.locate()

    def locate(self) -> None:
        """Look where the groups' memory is: it moves when slots are opened."""
        if self._moves == self._table.moves.count:
            return
        self._moves = self._table.moves.count
        for memory, group in self._places:
            memory.slots, memory.width = group.address, group.stride

    def make_room(self, watches: int) -> None:
        """Have room for what a reading may need in groups that few slots use."""
        for index in self._table.indexes.values():
            index.make_room(watches)
        self.locate()

    def room_to_queue(self, count: int) -> tuple[int, int]:
        """Where a loop can put deadlines that came nearer."""
        if len(self.queue[0]) < count:
            self.queue = (np.empty(2 * count, np.int64), np.empty(2 * count))
            self._queue_at = (self.queue[0].ctypes.data, self.queue[1].ctypes.data)
        return self._queue_at


def most_kept(group: Group) -> int:
    """Bytes of the journal that all of a slot's fields of a group can take."""
    return group.width + ORIGIN * -(-group.width // MOST_KEPT)


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
        self._known = (-1, 0)  # where the state was when the loop was told, and how many watches there were
        self._call = LaneCall()
        columns, watches, metrics, parts, codes = self._lane
        self._call.watches = len(columns)
        self._call.column, self._call.watch = columns.ctypes.data, watches.ctypes.data
        self._call.metric = metrics.ctypes.data
        self._call.parts, self._call.part = len(parts), parts.ctypes.data
        self._call.code = codes.ctypes.data
        compiled.bind(self._call)
        # A watch over a device may change all of its series.
        self._steps = len(columns) + (len(parts) if compiled.changes_parts else 0)
        self.most_undo = compiled.most_undo * self._steps
        self._call.evidence_points, self._call.update_every_s, self._call.update_score = rules

    @property
    def ledger(self) -> Ledger:
        """What undoes what the loop does."""
        return self._compiled.ledger

    @property
    def address(self) -> Any:
        """What the loop is given."""
        return ctypes.pointer(self._call)

    def prepare(self, samples: int) -> None:
        """Have everything ready for so many readings."""
        call, compiled = self._call, self._compiled
        if compiled.has_deadlines:
            call.queued_slots, call.queued_ticks = compiled.room_to_queue(samples * call.watches)
        known = (compiled.moves, len(self._parameters))
        if self._known != known:
            compiled.prepare(call, self._parameters)
            self._known = known

    @property
    def watches(self) -> int:
        """How many it has."""
        return int(self._call.watches)

    def bind(self, memory: Indices) -> None:
        """Let the loop use memory for what it is asked of every watch."""
        self._call.bound = memory.ctypes.data

    def make_room(self) -> None:
        """Give the loop the memory that it was short of."""
        self._compiled.make_room(self._steps)

    def stop(self, why: int) -> Stop:
        """Where the loop has stopped."""
        call = self._call
        return Stop(why, call.at_sample, call.at_which, call.slot, call.step, call.ts_told_s, call.score)

    def go_on(self, why: int) -> None:
        """Be ready again, after a stop was seen to."""
        if why == UNOPENED:
            self._call.skips_unopened = 1

    def locate(self) -> None:
        """Look where the state is now."""
        self._compiled.locate()

    @property
    def has_nearer(self) -> bool:
        """Whether any deadline came nearer in the last call."""
        return bool(self._call.queued)

    def nearer(self) -> tuple[Indices, Floats]:
        """The slots whose deadline came nearer in the last call, and the starts of their ticks."""
        slots, ticks = self._compiled.queue
        return slots[: self._call.queued].copy(), ticks[: self._call.queued].copy()

    def unopened(self) -> tuple[Indices, Indices]:
        """Readings and watches from the stop on that have no slot yet, each slot once, in the order of arrival."""
        most = (self._call.samples - self._call.sample) * self._call.watches
        samples, watches = np.empty(most, np.int64), np.empty(most, np.int64)
        found = self._compiled.ledger.kernel.find_unopened(
            ctypes.byref(self._call), samples.ctypes.data, watches.ctypes.data
        )
        return samples[:found], watches[:found]


class LoopsTogether:
    """The compiled loops of some lanes of a roster, one reading after the other through all of them."""

    def __init__(self, loops: Sequence[LaneLoop]) -> None:
        self._loops = loops
        self._ledger = loops[0].ledger
        self._kernel = self._ledger.kernel
        self._call = TogetherCall()
        self._lanes = (ctypes.POINTER(LaneCall) * len(loops))(*(loop.address for loop in loops))
        self._call.lanes, self._call.lane = len(loops), self._lanes
        self._call.watches = sum(loop.watches for loop in loops)
        self._bound = np.empty((self._call.watches, BOUND), np.int64)
        self._call.bound = self._bound.ctypes.data
        self._call.most_undo = sum(loop.most_undo for loop in loops)
        self._places = np.empty((MOST_HIDDEN, 2), np.int64)
        self._hidden = HiddenMemory(self._places.ctypes.data, 0, self._places.size)
        first = 0
        for loop in loops:
            loop.bind(self._bound[first:])
            first += loop.watches
        self._call.hidden = ctypes.pointer(self._hidden)
        self._at = ctypes.byref(self._call)

    def go(
        self,
        arrived: Arrived,
        slots: npt.NDArray[np.int32],
        scores: Floats | None = None,
        note_hidden: NoteHidden | None = None,
    ) -> Iterator[tuple[int, Stop]]:
        """Judge readings in their order; whoever is given a loop's stop sees to it before asking for the next.

        Loops are told by their place; `scores` are those of the only one. Without `note_hidden` they stop for every
        series that is dismissed; else they hide it, and that is noted before anything else is done.
        """
        call = self._call
        call.samples, call.metrics = arrived.values.shape
        call.ts_s, call.alive_s, call.values, call.seats = arrived.addresses()
        call.alive_step = int(len(arrived.alive_s) > 1)
        call.slots, call.columns = address_of(slots), slots.shape[1]
        call.scores = None if scores is None else scores.ctypes.data
        for loop in self._loops:
            loop.prepare(call.samples)
        call.journal = self._ledger.open()
        call.sample = BEGIN
        self._hidden.capacity = 0 if note_hidden is None else self._places.size
        while why := self._go_on(note_hidden):
            if why == OUT_OF_ROOM:
                self._make_room(call.short_of)
                continue
            number = call.at
            loop = self._loops[number]
            yield number, loop.stop(why)
            for each in self._loops:  # a table that grows moves those that stand beside it
                each.locate()
            loop.go_on(why)
            self._ledger.note()  # after what was done meanwhile

    def _go_on(self, note_hidden: NoteHidden | None) -> int:
        why: int = self._kernel.judge_together(self._at)
        if self._hidden.used and note_hidden is not None:
            note_hidden(*self._places[: self._hidden.used // 2].T.copy())
            self._hidden.used = 0
        return why

    def _make_room(self, short_of: int) -> None:
        if short_of == len(self._loops):
            self._ledger.make_room(self._call.most_undo)
        else:
            self._loops[short_of].make_room()
