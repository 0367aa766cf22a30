"""The memory of a detector's state: fields that are used together lie side by side per slot."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from gateway.detect.arrays import Indices
from gateway.detect.memory import CACHE_LINE, memory_of

FIRST_CAPACITY: Final = 256
HOT: Final = "hot"  # the group of what every sample touches
OWNER: Final = "owner"  # the group of what says whose a slot is
COMPANY: Final = "company"  # the group of what is looked at once an hour, for all series of a device at a time
NO_ROW: Final = -1
ROW_NUMBERS: Final = 3  # that loops know of the rows of rare groups
WORTH_TIDYING: Final = 8  # one row of so many that nobody uses
LOOKED_AT: Final = 256  # rows, before all of them are
MORE: Final = 32  # slots in use are more by one part of so many whenever there are too few of them…
FEWEST_MORE: Final = 64  # …but at least by so many

Array = npt.NDArray[Any]  # of whichever type the field has
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Field:
    """One named number, or vector of `lanes` numbers, per slot."""

    name: str
    dtype: str = "f8"  # "f4", "f8", "i4", "u1" or "u8"
    initial: float = 0.0
    lanes: int = 0  # 0 is a scalar
    group: str = HOT  # fields that are used together are stored together
    apart: bool = False  # a vector of which one lane is used at a time: stored alone
    rare: bool = False  # of a group that few slots ever use (all of its fields are): rows only for those that do
    rows: str = ""  # rare groups that are used by the same slots give them rows together, by this name


def rarely(name: str, fields: Sequence[Field]) -> Sequence[Field]:
    """Whole groups of fields that only some slots use, the same ones: they get their rows together, by this name."""
    return tuple(replace(field, rare=True, rows=name) for field in fields)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field is: its group, and its lanes there when the slot is seen as numbers of its dtype."""

    group: str
    dtype: str
    first: int
    end: int


class Moves:
    """How often memory of a table has moved: whoever has noted where it is looks again when this has changed."""

    def __init__(self) -> None:
        self.count = 0


class Group:
    """Fields of all slots, side by side: [capacity, bytes of one slot]."""

    def __init__(self, fields: Sequence[Field], name: str, moves: Moves) -> None:
        self._moves = moves
        self.places: dict[str, Place] = {}
        at = 0
        for field in sorted(fields, key=lambda field: -np.dtype(field.dtype).itemsize):
            size = np.dtype(field.dtype).itemsize
            lanes = max(field.lanes, 1)
            self.places[field.name] = Place(name, field.dtype, at // size, at // size + lanes)
            at += size * lanes
        self.width = _padded(at, is_hot=name == HOT)
        self._whole = np.dtype((np.void, self.width))  # a slot as one opaque element
        self._initial = np.zeros(self.width, np.uint8)
        self.initial_address = self._initial.ctypes.data
        for field in fields:
            place = self.places[field.name]
            self._initial.view(field.dtype)[place.first : place.end] = field.initial
        self.shelf: Shelf | None = None
        self.slots: Bytes = np.empty((0, self.width), np.uint8)
        self.place_in(self._fresh(FIRST_CAPACITY), FIRST_CAPACITY)

    def _fresh(self, capacity: int) -> Bytes:
        # Where a slot starts on a cache line, it takes no more lines than it must.
        return rows_of(memory_of(capacity * self.width), self.width)

    @property
    def stride(self) -> int:
        """How far the next slot is, in bytes: more than the width where other groups stand between."""
        return int(self.slots.strides[0])

    def grow(self, capacity: int) -> None:
        """Make room for so many slots."""
        if capacity <= len(self.slots):
            return
        if self.shelf is not None:
            self.shelf.grow(capacity)
        elif capacity <= len(self._room):
            self.stretch(with_more(capacity, len(self.slots), len(self._room)))
        else:
            room = self._fresh(max(capacity, 2 * len(self.slots)))
            self.place_in(room, with_more(capacity, len(self.slots), len(room)))

    def place_in(self, room: Bytes, capacity: int) -> None:
        """Keep so many slots in this memory from now on, [slots there is room for, width]; new ones are as initially.

        Whoever knows where the old memory was looks again.
        """
        kept = self.slots[:capacity]
        self._moves.count += 1
        self._room, self.slots, self.address = room, room[: len(kept)], room.ctypes.data
        self.slots[:] = kept
        self.stretch(capacity)

    def stretch(self, capacity: int) -> None:
        """Have so many slots in the memory that there is; nothing moves."""
        self._room[len(self.slots) : capacity] = self._initial
        self.slots = self._room[:capacity]

    def leave_shelf(self) -> None:
        """Have memory of its own again."""
        self.shelf = None
        self.place_in(self._fresh(len(self.slots)), len(self.slots))

    def reset(self, index: Indices) -> None:
        """Put slots into their initial state."""
        self.slots[index] = self._initial

    def initial(self, count: int) -> Bytes:
        """The initial state of some slots, [count, width]."""
        return np.repeat(self._initial[None, :], count, axis=0)

    def take(self, index: Indices) -> Bytes:
        """A copy of some slots, [n, width]."""
        whole = self.slots.view(self._whole)[:, 0]
        # `take` is faster, but copies all that does not lie side by side.
        taken = whole.take(index) if self.shelf is None else whole[index]
        return taken.view(np.uint8).reshape(len(index), self.width)

    def put(self, index: Indices, slots: Bytes) -> None:
        """Write some slots, as one opaque element each: four times as fast as rows of numbers."""
        self.slots.view(self._whole)[:, 0][index] = slots.view(self._whole)[:, 0]

    def take_cells(self, place: Place, index: Indices, lane: Indices) -> Array:
        """One lane of a vector that is stored alone, [n]."""
        if self.shelf is not None:
            beside: Array = self.slots.view(place.dtype)[index, lane]
            return beside
        taken: Array = self._numbers(place).take(index * (self.width // np.dtype(place.dtype).itemsize) + lane)
        return taken

    def put_cells(self, place: Place, index: Indices, lane: Indices, values: Array | float) -> None:
        """Write one lane of a vector that is stored alone."""
        if self.shelf is not None:
            self.slots.view(place.dtype)[index, lane] = values
        else:
            self._numbers(place)[index * (self.width // np.dtype(place.dtype).itemsize) + lane] = values

    def _numbers(self, place: Place) -> Array:
        return self.slots.view(place.dtype).reshape(-1)

    def bytes_for(self, slots: int) -> int:
        """What so many slots take in memory."""
        return slots * self.width if self.shelf is None else self.shelf.bytes_for(self, slots)


class Shelf(Protocol):
    """Memory that groups of several tables share, slot by slot."""

    def grow(self, capacity: int) -> None:
        """Make room for so many slots, for all groups in it."""
        ...

    def bytes_for(self, group: Group, slots: int) -> int:
        """What a group of so many slots takes of it."""
        ...


class RowIndex:
    """Which slots have a row in groups that few of them use, [capacity]; those groups give rows together."""

    def __init__(self, moves: Moves, memory: npt.NDArray[np.int64]) -> None:
        """`memory` is for what compiled loops are to know of it, and change: where it is, rows used, rows there are."""
        self._moves = moves
        self._memory = memory
        self.groups: list[RareGroup] = []
        self._set(np.full(FIRST_CAPACITY, NO_ROW, np.int32))

    def _set(self, rows: npt.NDArray[np.int32]) -> None:
        self._moves.count += 1
        self.rows, self._memory[0] = rows, rows.ctypes.data

    @property
    def address(self) -> int:
        """Where loops find it."""
        return self._memory.ctypes.data

    @property
    def used(self) -> int:
        """How many rows slots have got."""
        return int(self._memory[1])

    @used.setter
    def used(self, rows: int) -> None:
        self._memory[1] = rows

    def grow(self, slots: int) -> None:
        """Have a place for so many slots; rows come when they are used."""
        if slots > len(self.rows):
            extra = max(slots, 2 * len(self.rows)) - len(self.rows)
            self._set(np.concatenate([self.rows, np.full(extra, NO_ROW, np.int32)]))

    def make_room(self, rows: int) -> None:
        """Have at least so many rows that no slot uses."""
        for group in self.groups:
            group.have(self.used + rows)
        self.count()

    def count(self) -> None:
        """Note how many rows there are as things stand."""
        self._memory[2] = min(len(group.slots) for group in self.groups)

    def of(self, index: Indices) -> Indices:
        """The rows of slots, NO_ROW for none."""
        return self.rows[index].astype(np.int64)

    def claim(self, index: Indices) -> Indices:
        """The rows of slots; those that had none get one, in its initial state."""
        new = index[self.rows[index] == NO_ROW]
        self.make_room(len(new))
        self.rows[new] = np.arange(self.used, self.used + len(new))
        self.used += len(new)
        return self.of(index)

    def _is_idle(self, rows: Indices) -> npt.NDArray[np.bool_]:
        idle: npt.NDArray[np.bool_] = np.logical_and.reduce([group.is_initial(rows) for group in self.groups])
        return idle

    def tidy(self) -> None:
        """Take back the rows that are in their initial state, and their memory, where that is worth it."""
        some = np.arange(0, self.used, max(self.used // LOOKED_AT, 1))
        if 2 * np.count_nonzero(self._is_idle(some)) * WORTH_TIDYING < len(some):
            return  # most often nothing is to be gained
        there = np.flatnonzero(self.rows != NO_ROW)
        rows = self.of(there)
        idle = self._is_idle(rows)
        if np.count_nonzero(idle) * WORTH_TIDYING < self._memory[2]:
            return
        kept = there[~idle]
        for group in self.groups:
            group.compact(rows[~idle])
        self.count()
        self.rows[there[idle]] = NO_ROW
        self.rows[kept] = np.arange(len(kept))
        self.used = len(kept)


class RareGroup(Group):
    """Fields that few slots ever use: rows for those that do, [rows, width].

    A slot without a row is in its initial state. One that has got a row keeps it until `RowIndex.tidy`, whoever the
    slot is of.
    """

    def __init__(self, fields: Sequence[Field], name: str, index: RowIndex, moves: Moves) -> None:
        super().__init__(fields, name, moves)
        self.index = index
        index.groups.append(self)
        index.count()

    def grow(self, capacity: int) -> None:
        """Have a place for so many slots."""
        self.index.grow(capacity)

    def have(self, rows: int) -> None:
        """Make room for so many rows."""
        super().grow(rows)

    def is_initial(self, rows: Indices) -> npt.NDArray[np.bool_]:
        """Which rows are in their initial state."""
        same: npt.NDArray[np.bool_] = (self.slots[rows] == self._initial).all(axis=1)
        return same

    def compact(self, rows: Indices) -> None:
        """Keep these rows only, in this order."""
        capacity = max(FIRST_CAPACITY, len(rows) + len(rows) // 4)
        self.slots = self.slots[rows]
        self.place_in(self._fresh(capacity), capacity)

    def reset(self, index: Indices) -> None:
        """Put slots into their initial state."""
        rows = self.index.of(index)
        super().reset(rows[rows != NO_ROW])

    def take(self, index: Indices) -> Bytes:
        """A copy of some slots, [n, width]."""
        rows, taken = self.index.of(index), self.initial(len(index))
        there = np.flatnonzero(rows != NO_ROW)
        if len(there):
            taken[there] = super().take(rows[there])
        return taken

    def put(self, index: Indices, slots: Bytes) -> None:
        """Write some slots; one that has no row gets one, if there is anything to write."""
        self.index.claim(index[(slots != self.initial(1)).any(axis=1)])
        rows = self.index.of(index)
        there = np.flatnonzero(rows != NO_ROW)
        super().put(rows[there], slots[there])

    def take_cells(self, place: Place, index: Indices, lane: Indices) -> Array:
        """One lane of a vector that is stored alone, [n]."""
        rows = self.index.of(index)
        there = rows != NO_ROW
        taken = super().take_cells(place, np.where(there, rows, 0), lane)
        return np.where(there, taken, self._initial.view(place.dtype)[lane])

    def put_cells(self, place: Place, index: Indices, lane: Indices, values: Array | float) -> None:
        """Write one lane of a vector that is stored alone."""
        super().put_cells(place, self.index.claim(index), lane, values)

    def bytes_for(self, slots: int) -> int:
        """What so many slots take in memory, with the rows that are used."""
        index = slots * self.index.rows.itemsize if self.index.groups[0] is self else 0
        return index + self.index.used * self.width


def rows_of(memory: Bytes, width: int) -> Bytes:
    """Memory as rows, as many as there is room for."""
    return memory[: len(memory) // width * width].reshape(-1, width)


def with_more(capacity: int, slots: int, room: int) -> int:
    """For how many slots to have memory that is written to: a few more than are needed, as far as there is room."""
    return min(max(capacity, slots + max(slots // MORE, FEWEST_MORE)), room)


def _padded(width: int, *, is_hot: bool) -> int:
    """Whole numbers of eight bytes; whole cache lines, where little is lost by it.

    What every sample touches does not lie across two lines if one can hold it.
    """
    width = -(-width // 8) * 8
    if is_hot and width <= CACHE_LINE:
        return 1 << (width - 1).bit_length()
    lines = -(-width // CACHE_LINE) * CACHE_LINE
    return lines if width > CACHE_LINE and lines - width <= width // 8 else width
