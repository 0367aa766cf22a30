"""Struct-of-arrays over slots: the state of all series of a detector, with an undo journal.

In memory the fields of one group lie side by side per slot, so that a random slot costs a cache line or two, not one
per field; whoever reads or writes them sees one contiguous array per field.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gateway.detect.arrays import Floats, Indices, Mask, Shorts
from gateway.detect.groups import ROW_NUMBERS, Array, Bytes, Field, Group, Moves, Place, RareGroup, RowIndex

Numeric = (
    npt.NDArray[np.float64]
    | npt.NDArray[np.float32]
    | npt.NDArray[np.int64]
    | npt.NDArray[np.int32]
    | npt.NDArray[np.uint64]
    | npt.NDArray[np.uint8]
)


class Journal:
    """What the slots held before this turn touched them."""

    def __init__(self) -> None:
        self.open = False
        self.turn = 0  # number of the present or last one
        self._undo: list[Callable[[], None]] = []
        self._after: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Start to remember."""
        self.commit()
        self.open = True
        self.turn += 1

    def commit(self) -> None:
        """Forget: what was done stands."""
        after, self._after = self._after, []
        self._undo.clear()
        self.open = False
        for do in after:
            do()

    def rollback(self) -> None:
        """Put everything back, last change first."""
        undo, self._undo = self._undo, []
        self._after.clear()
        self.open = False
        for take_back in reversed(undo):
            take_back()

    def note(self, undo: Callable[[], None]) -> None:
        """Remember how to take back one change."""
        if self.open:
            self._undo.append(undo)

    def after(self, do: Callable[[], None]) -> None:
        """Do something once the turn stands, at once where none is open; it is not done if the turn is undone."""
        if self.open:
            self._after.append(do)
        else:
            do()


class Table:
    """All slots of one detector; grows geometrically and never shrinks."""

    def __init__(self, fields: Sequence[Field], journal: Journal) -> None:
        self.fields: Mapping[str, Field] = {field.name: field for field in fields}
        self.count = 0
        self.journal = journal
        self._free: list[int] = []
        self.moves = Moves()
        groups: dict[str, list[Field]] = {}
        for field in fields:
            groups.setdefault(f"{field.name}, apart" if field.apart else field.group, []).append(field)
        rare = dict.fromkeys(field.rows or field.group for field in fields if field.rare)
        self.row_memory = np.zeros((len(rare), ROW_NUMBERS), np.int64)
        self.indexes = {name: RowIndex(self.moves, its) for name, its in zip(rare, self.row_memory, strict=True)}
        self.groups = {name: self._group(name, members) for name, members in groups.items()}
        self.places = {name: place for group in self.groups.values() for name, place in group.places.items()}

    def _group(self, name: str, fields: Sequence[Field]) -> Group:
        first = fields[0]
        if first.rare:
            return RareGroup(fields, name, self.indexes[first.rows or first.group], self.moves)
        return Group(fields, name, self.moves)

    def tidy(self) -> None:
        """Take back the memory of rare fields that are in their initial state again; no turn may be open."""
        for index in self.indexes.values():
            index.tidy()

    def column(self, name: str) -> Array:
        """A field of all slots that is not rare: [count] or [count, lanes], a view."""
        place = self.places[name]
        lanes = self.groups[place.group].slots[: self.count].view(place.dtype)[:, place.first : place.end]
        return lanes if self.fields[name].lanes else lanes[:, 0]

    def copy(self, index: Indices) -> dict[str, Array]:
        """Every field of some slots: [n] or [n, lanes]."""
        taken = {name: group.take(index) for name, group in self.groups.items()}
        return {
            name: taken[place.group].view(place.dtype)[:, place.first : place.end]
            if self.fields[name].lanes
            else taken[place.group].view(place.dtype)[:, place.first]
            for name, place in self.places.items()
        }

    def extent(self, name: str) -> tuple[int, int]:
        """Where a field begins in its group, and its size, in bytes."""
        place = self.places[name]
        size = np.dtype(place.dtype).itemsize
        return place.first * size, (place.end - place.first) * size

    def allocate(self, count: int) -> Indices:
        """`count` slots in their initial state."""
        reused = np.array([self._free.pop() for _ in range(min(count, len(self._free)))], np.int64)
        first, self.count = self.count, self.count + count - len(reused)
        for group in self.groups.values():
            group.grow(self.count)
            group.reset(reused)
        return np.concatenate([reused, np.arange(first, self.count, dtype=np.int64)])

    def release(self, index: Indices) -> None:
        """Give slots back once the turn stands; whoever allocates them next finds them in their initial state."""
        self.rows(index).clear()
        self.journal.after(lambda: self._free.extend(index.tolist()))

    def rows(self, index: Indices) -> "Rows":
        """Some slots, each once, to read and write."""
        return Rows(self, index)

    @property
    def bytes_per_slot(self) -> int:
        """What one slot takes in memory; of rare fields its share of what is used."""
        slots = max(self.count, 1)
        return -(-sum(group.bytes_for(slots) for group in self.groups.values()) // slots)


class Rows:
    """Distinct slots of a table, as arrays over these slots; writes reach the table with `flush`."""

    def __init__(self, table: Table, index: Indices) -> None:
        self.index = index
        self._table = table
        self._stored: dict[str, Bytes] = {}  # group: slots as they are in the table
        self._read: dict[tuple[str, str], Array] = {}  # group and dtype: [lanes, n], contiguous
        self._written: dict[str, dict[str, Array]] = {}  # group: field: new values, [n] or [lanes, n]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, name: str) -> Floats:
        """A scalar field, [n]; float32 fields come as float32. Not to be written into."""
        place = self._table.places[name]
        written = self._written.get(place.group, {}).get(name)
        return self._lanes(place)[place.first] if written is None else written  # pyright: ignore[reportReturnType]

    def __setitem__(self, name: str, values: Numeric | float) -> None:
        place = self._table.places[name]
        if isinstance(values, np.ndarray):
            fresh: Array = np.asarray(values, place.dtype)
        else:
            fresh = np.full(len(self.index), values, place.dtype)
        self._written.setdefault(place.group, {})[name] = fresh

    def lanes(self, name: str) -> Shorts:
        """A vector field that is not stored apart, one contiguous row per lane, [lanes, n]. Not to be written into."""
        place = self._table.places[name]
        return self._lanes(place)[place.first : place.end]  # pyright: ignore[reportReturnType]

    def set_lanes(self, name: str, values: Numeric) -> None:
        """Write a vector field that is not stored apart, [lanes, n]."""
        place = self._table.places[name]
        self._written.setdefault(place.group, {})[name] = np.asarray(values, place.dtype)

    def _lanes(self, place: Place) -> Array:
        found = self._read.get((place.group, place.dtype))
        if found is None:
            stored = self._load(place.group).view(place.dtype)
            found = self._read[place.group, place.dtype] = np.ascontiguousarray(stored.T)
        return found

    def _load(self, group: str) -> Bytes:
        stored = self._stored.get(group)
        if stored is None:
            stored = self._stored[group] = self._table.groups[group].take(self.index)
        return stored

    def flush(self) -> None:
        """Write what was set to the table, and forget what was read."""
        for group, written in self._written.items():
            old = self._load(group)
            new = old.copy()
            for name, values in written.items():
                place = self._table.places[name]
                new.view(place.dtype)[:, place.first : place.end] = values.T.reshape(
                    len(self.index), place.end - place.first
                )
            self._put(group, new, old)
        self._written.clear()
        self._read.clear()
        self._stored.clear()

    def clear(self, keep: Sequence[str] = ()) -> None:
        """Put the slots into their initial state, but for the groups to keep."""
        for name, group in self._table.groups.items():
            if name not in keep:
                self._put(name, group.initial(len(self.index)), group.take(self.index))

    def _put(self, name: str, new: Bytes, old: Bytes) -> None:
        group, index = self._table.groups[name], self.index
        group.put(index, new)
        self._table.journal.note(lambda: group.put(index, old))

    def vector(self, name: str) -> Floats:
        """A vector field that is stored apart, [n, lanes], a copy."""
        place = self._table.places[name]
        lanes = self._table.groups[place.group].take(self.index).view(place.dtype)
        return lanes[:, place.first : place.end]  # pyright: ignore[reportReturnType]

    def set_vector(self, name: str, values: Numeric) -> None:
        """Write a vector field that is stored apart, [n, lanes]; reaches the table at once."""
        place = self._table.places[name]
        old = self._table.groups[place.group].take(self.index)
        new = old.copy()
        new.view(place.dtype)[:, place.first : place.end] = values
        self._put(place.group, new, old)

    def cells(self, name: str, lane: Indices) -> "Cells":
        """One number of a vector field that is stored apart per slot, to read and write."""
        return Cells(self._table, name, self.index, lane)

    def cell(self, name: str, lane: Indices) -> Floats:
        """One number of a vector field that is stored apart per slot, [n]."""
        return self.cells(name, lane).values

    def set_cell(self, name: str, lane: Indices, values: Numeric | float) -> None:
        """Write one number of a vector field that is stored apart per slot; reaches the table at once."""
        self.cells(name, lane).put(values)

    def at(self, chosen: Mask | Indices) -> "Rows":
        """Some of these slots; what was set here is flushed first."""
        self.flush()
        return Rows(self._table, self.index[chosen])

    def aside(self, chosen: Indices) -> "Rows":
        """Some of these slots, for fields of groups that are not written to here: nothing is flushed."""
        return Rows(self._table, self.index[chosen])


class Cells:
    """One lane of a vector field for each of some slots, [n]; what is put reaches the table at once."""

    def __init__(self, table: Table, name: str, index: Indices, lane: Indices) -> None:
        self._journal = table.journal
        self._place = table.places[name]
        self._group = table.groups[self._place.group]
        self._index, self._lane = index, lane

    @cached_property
    def values(self) -> Floats:
        """As they were when they were first asked for."""
        return self._group.take_cells(self._place, self._index, self._lane)

    def put(self, values: Numeric | float) -> None:
        """Write new values."""
        if self._journal.open:
            old = self.values
            self._journal.note(lambda: self._write(old))
        self._write(values)

    def _write(self, values: Numeric | float) -> None:
        self._group.put_cells(self._place, self._index, self._lane, values)
