"""Struct-of-arrays over slots: the state of all series of a detector, with an undo journal.

Scalar fields of one group and dtype lie side by side in one block, so that a random slot costs one cache line, not one
per field; whoever reads or writes them sees a contiguous array per field.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from gateway.detect.arrays import Floats, Indices, Mask

FIRST_CAPACITY: Final = 256

Array = npt.NDArray[np.generic]
Numeric = npt.NDArray[np.float64] | npt.NDArray[np.float32] | npt.NDArray[np.int64] | npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Field:
    """One named number, or vector of `lanes` numbers, per slot."""

    name: str
    dtype: str = "f8"  # "f4" or "f8"
    initial: float = 0.0
    lanes: int = 0  # 0 is a scalar
    group: str = "hot"  # fields that are used together are stored together


class Journal:
    """What the slots held before this turn touched them."""

    def __init__(self) -> None:
        self.open = False
        self._undo: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Start to remember."""
        self.commit()
        self.open = True

    def commit(self) -> None:
        """Forget: what was done stands."""
        self._undo.clear()
        self.open = False

    def rollback(self) -> None:
        """Put everything back, last change first."""
        for undo in reversed(self._undo):
            undo()
        self.commit()

    def note(self, undo: Callable[[], None]) -> None:
        """Remember how to take back one change."""
        if self.open:
            self._undo.append(undo)


class Table:
    """All slots of one detector; grows geometrically and never shrinks."""

    def __init__(self, fields: Sequence[Field], journal: Journal) -> None:
        self.fields: Mapping[str, Field] = {field.name: field for field in fields}
        self.count = 0
        self.journal = journal
        self._free: list[int] = []
        self._blocks: dict[str, Array] = {}
        self._initial: dict[str, Array] = {}
        self.places: dict[str, tuple[str, int]] = {}  # scalar field: its block, and its lane there
        self._lay_out(fields)

    def _lay_out(self, fields: Sequence[Field]) -> None:
        scalars: dict[str, list[Field]] = {}
        for field in fields:
            if field.lanes:
                self._initial[field.name] = np.full(field.lanes, field.initial, field.dtype)
            else:
                scalars.setdefault(f"{field.group}/{field.dtype}", []).append(field)
        for block, members in scalars.items():
            self._initial[block] = np.array([field.initial for field in members], members[0].dtype)
            self.places.update((field.name, (block, lane)) for lane, field in enumerate(members))
        for block, initial in self._initial.items():
            self._blocks[block] = np.tile(initial, (FIRST_CAPACITY, 1))

    def block(self, name: str) -> Array:
        """The storage of a block or vector field, [capacity, lanes]; it moves when the table grows."""
        return self._blocks[name]

    def column(self, name: str) -> Array:
        """A field of all slots: [count] or [count, lanes], a view."""
        if name in self._blocks:
            return self._blocks[name][: self.count]
        block, lane = self.places[name]
        return self._blocks[block][: self.count, lane]

    def allocate(self, count: int) -> Indices:
        """`count` slots in their initial state."""
        reused = [self._free.pop() for _ in range(min(count, len(self._free)))]
        first, self.count = self.count, self.count + count - len(reused)
        for block, initial in self._initial.items():
            array = self._blocks[block]
            if self.count > len(array):
                grown = np.tile(initial, (max(self.count, 2 * len(array)), 1))
                grown[: len(array)] = array
                self._blocks[block] = grown
        return np.concatenate([np.array(reused, np.int64), np.arange(first, self.count, dtype=np.int64)])

    def release(self, index: Indices) -> None:
        """Give slots back; whoever allocates them next finds them in their initial state."""
        for block, initial in self._initial.items():
            self._blocks[block][index] = initial
        self._free.extend(int(slot) for slot in index)

    def rows(self, index: Indices) -> "Rows":
        """Some slots, each once, to read and write."""
        return Rows(self, index)

    @property
    def bytes_per_slot(self) -> int:
        """What one slot takes in memory."""
        return sum(initial.nbytes for initial in self._initial.values())


class Rows:
    """Distinct slots of a table, as arrays over these slots; writes reach the table with `flush`."""

    def __init__(self, table: Table, index: Indices) -> None:
        self.index = index
        self._table = table
        self._loaded: dict[str, tuple[Array, Array]] = {}  # block: (as stored, one contiguous row per field)
        self._written: dict[str, dict[str, Array]] = {}  # block: field: new values

    def __len__(self) -> int:
        return len(self.index)

    def _load(self, block: str) -> Array:
        loaded = self._loaded.get(block)
        if loaded is None:
            stored = self._table.block(block).take(self.index, axis=0)
            loaded = self._loaded[block] = (stored, np.ascontiguousarray(stored.T))
        return loaded[1]

    def __getitem__(self, name: str) -> Floats:
        """A scalar field, [n]; float32 fields come as float32. Not to be written into."""
        block, lane = self._table.places[name]
        written = self._written.get(block, {}).get(name)
        return self._load(block)[lane] if written is None else written  # pyright: ignore[reportReturnType]

    def __setitem__(self, name: str, values: Numeric | float) -> None:
        block, _ = self._table.places[name]
        dtype = self._table.block(block).dtype
        fresh = np.asarray(values, dtype) if isinstance(values, np.ndarray) else np.full(len(self.index), values, dtype)
        self._written.setdefault(block, {})[name] = fresh

    def vector(self, name: str) -> Floats:
        """A vector field, [n, lanes], a copy."""
        return self._table.block(name).take(self.index, axis=0)  # pyright: ignore[reportReturnType]

    def lanes(self, name: str) -> Floats:
        """A vector field, one contiguous row per lane, [lanes, n], a copy."""
        return np.ascontiguousarray(self.vector(name).T)

    def cell(self, name: str, lane: Indices) -> Floats:
        """One number of a vector field per slot, [n]."""
        return self._table.block(name)[self.index, lane]  # pyright: ignore[reportReturnType]

    def set_cell(self, name: str, lane: Indices, values: Numeric | float) -> None:
        """Write one number of a vector field per slot; reaches the table at once."""
        table, index = self._table, self.index
        if table.journal.open:
            old = table.block(name)[index, lane]

            def undo() -> None:
                table.block(name)[index, lane] = old

            table.journal.note(undo)
        table.block(name)[index, lane] = values

    def set_vector(self, name: str, values: Numeric) -> None:
        """Write a vector field, [n, lanes]; reaches the table at once."""
        old = self._table.block(name).take(self.index, axis=0)
        self._store(name, np.ascontiguousarray(values, old.dtype), old)

    def flush(self) -> None:
        """Write what was set to the table, and forget what was read."""
        for block, written in self._written.items():
            lanes = self._load(block).copy()  # who read this block keeps what was read
            for name, values in written.items():
                lanes[self._table.places[name][1]] = values
            self._store(block, np.ascontiguousarray(lanes.T), self._loaded[block][0])
        self._written.clear()
        self._loaded.clear()

    def _store(self, block: str, values: Array, old: Array) -> None:
        table, index = self._table, self.index
        _scatter(table.block(block), index, values)
        table.journal.note(lambda: _scatter(table.block(block), index, old))

    def at(self, chosen: Mask | Indices) -> "Rows":
        """Some of these slots; what was set here is flushed first."""
        self.flush()
        return Rows(self._table, self.index[chosen])


def _scatter(block: Array, index: Indices, values: Array) -> None:
    # As one opaque element per slot: four times as fast as writing rows of numbers.
    whole = np.dtype((np.void, block.itemsize * block.shape[1]))
    block.view(whole)[:, 0][index] = values.view(whole)[:, 0]
