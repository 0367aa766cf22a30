"""The memory of a detector's state: fields that are used together lie side by side per slot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gateway.detect.arrays import Indices

FIRST_CAPACITY: Final = 256
CACHE_LINE: Final = 64  # bytes
HOT: Final = "hot"  # the group of what every sample touches
NO_ROW: Final = -1

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
    rare: bool = False  # of a group that few slots ever use (all of its fields are): stored only for those that did


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field is: its group, and its lanes there when the slot is seen as numbers of its dtype."""

    group: str
    dtype: str
    first: int
    end: int


class Group:
    """Fields of all slots, side by side: [capacity, bytes of one slot]."""

    def __init__(self, fields: Sequence[Field], name: str) -> None:
        self.places: dict[str, Place] = {}
        at = 0
        for field in sorted(fields, key=lambda field: -np.dtype(field.dtype).itemsize):
            size = np.dtype(field.dtype).itemsize
            lanes = max(field.lanes, 1)
            self.places[field.name] = Place(name, field.dtype, at // size, at // size + lanes)
            at += size * lanes
        self.width = _padded(at, is_hot=name == HOT)
        self._initial = np.zeros(self.width, np.uint8)
        for field in fields:
            place = self.places[field.name]
            self._initial.view(field.dtype)[place.first : place.end] = field.initial
        self.slots = self._fresh(FIRST_CAPACITY)

    def _fresh(self, capacity: int) -> Bytes:
        # Where a slot starts on a cache line, it takes no more lines than it must.
        memory = np.empty(capacity * self.width + CACHE_LINE, np.uint8)
        start = -memory.ctypes.data % CACHE_LINE
        self.address = memory.ctypes.data + start
        slots = memory[start : start + capacity * self.width].reshape(capacity, self.width)
        slots[:] = self._initial
        return slots

    def grow(self, capacity: int) -> None:
        """Make room for so many slots."""
        if capacity > len(self.slots):
            slots = self._fresh(max(capacity, 2 * len(self.slots)))
            slots[: len(self.slots)] = self.slots
            self.slots = slots

    def reset(self, index: Indices) -> None:
        """Put slots into their initial state."""
        self.slots[index] = self._initial

    def initial(self, count: int) -> Bytes:
        """The initial state of some slots, [count, width]."""
        return np.repeat(self._initial[None, :], count, axis=0)

    def take(self, index: Indices) -> Bytes:
        """A copy of some slots, [n, width]."""
        whole = np.dtype((np.void, self.width))
        return self.slots.view(whole)[:, 0].take(index).view(np.uint8).reshape(len(index), self.width)

    def put(self, index: Indices, slots: Bytes) -> None:
        """Write some slots, as one opaque element each: four times as fast as rows of numbers."""
        whole = np.dtype((np.void, self.width))
        self.slots.view(whole)[:, 0][index] = slots.view(whole)[:, 0]

    def bytes_for(self, slots: int) -> int:
        """What so many slots take in memory."""
        return slots * self.width


class RareGroup(Group):
    """Fields that few slots ever use: rows for those that do, [rows, width], and where each slot's is, [capacity].

    A slot without a row is in its initial state. One that has got a row keeps it, whoever the slot is of.
    """

    def __init__(self, fields: Sequence[Field], name: str) -> None:
        super().__init__(fields, name)
        self.used = 0
        self._set_rows(np.full(FIRST_CAPACITY, NO_ROW, np.int32))

    def grow(self, capacity: int) -> None:
        """Make room for so many slots; rows come when they are used."""
        if capacity > len(self.rows):
            extra = max(capacity, 2 * len(self.rows)) - len(self.rows)
            self._set_rows(np.concatenate([self.rows, np.full(extra, NO_ROW, np.int32)]))

    def _set_rows(self, rows: npt.NDArray[np.int32]) -> None:
        self.rows, self.rows_address = rows, rows.ctypes.data

    def make_room(self) -> None:
        """Have at least one row that no slot uses."""
        super().grow(self.used + 1)

    def reset(self, index: Indices) -> None:
        """Put slots into their initial state."""
        rows = self.rows[index]
        super().reset(rows[rows != NO_ROW].astype(np.int64))

    def take(self, index: Indices) -> Bytes:
        """A copy of some slots, [n, width]."""
        rows, taken = self.rows[index], self.initial(len(index))
        there = np.flatnonzero(rows != NO_ROW)
        if len(there):
            taken[there] = super().take(rows[there].astype(np.int64))
        return taken

    def put(self, index: Indices, slots: Bytes) -> None:
        """Write some slots; one that has no row gets one, if there is anything to write."""
        new = index[(self.rows[index] == NO_ROW) & (slots != self.initial(1)).any(axis=1)]
        super().grow(self.used + len(new))
        self.rows[new] = np.arange(self.used, self.used + len(new))
        self.used += len(new)
        rows = self.rows[index]
        there = np.flatnonzero(rows != NO_ROW)
        super().put(rows[there].astype(np.int64), slots[there])

    def bytes_for(self, slots: int) -> int:
        """What so many slots take in memory, with the rows that are used."""
        return slots * self.rows.itemsize + self.used * self.width


def _padded(width: int, *, is_hot: bool) -> int:
    """Whole numbers of eight bytes; whole cache lines, where little is lost by it.

    What every sample touches does not lie across two lines if one can hold it.
    """
    width = -(-width // 8) * 8
    if is_hot and width <= CACHE_LINE:
        return 1 << (width - 1).bit_length()
    lines = -(-width // CACHE_LINE) * CACHE_LINE
    return lines if width > CACHE_LINE and lines - width <= width // 8 else width
