"""What loops have changed in a turn, all of them in one journal, so that it can be undone."""

import ctypes
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from gateway.detect.native import GroupMemory, JournalMemory, Kernel, load_kernel
from gateway.detect.table import Journal

FIRST_ROOM: Final = 1 << 16  # bytes
MOST_DETECTORS: Final = 1 << 8  # that the journal can tell apart


class Located(Protocol):
    """A table whose memory may move."""

    def locate(self) -> None:
        """Look where it is now."""
        ...


class Ledger:
    """The journal of all loops of an engine, in the memory of which it goes round turn after turn."""

    def __init__(self, kernel: Kernel, journal: Journal) -> None:
        self.kernel = kernel
        self._journal = journal
        self._tables: list[Located] = []
        self._detectors: ctypes.Array[Any] = (ctypes.POINTER(GroupMemory) * 0)()
        self._kept: npt.NDArray[np.uint8] = np.empty(FIRST_ROOM, np.uint8)
        self._memory = JournalMemory(self._kept.ctypes.data, 0, len(self._kept))
        self._at = ctypes.pointer(self._memory)
        self._turn = -1

    def enter(self, table: Located, groups: "ctypes.Array[GroupMemory]") -> int:
        """Keep what a detector's groups held, too; gives its number in the journal. Raises OverflowError."""
        if len(self._tables) == MOST_DETECTORS:
            raise OverflowError(f"the journal of compiled loops tells {MOST_DETECTORS} detectors apart")
        first = ctypes.cast(groups, ctypes.POINTER(GroupMemory))
        self._tables.append(table)
        self._detectors = (ctypes.POINTER(GroupMemory) * len(self._tables))(*self._detectors, first)
        return len(self._tables) - 1

    def open(self) -> Any:
        """The journal for loops that are about to begin; None where no turn is open."""
        if not self._journal.open:
            return None
        if self._turn != self._journal.turn:
            self._turn, self._memory.used = self._journal.turn, 0
        self.note()
        return self._at

    def note(self) -> None:
        """Let the turn undo what loops do from now on."""
        if self._journal.open:
            start = self._memory.used
            self._journal.note(lambda: self._undo(start))

    def _undo(self, start: int) -> None:
        for table in self._tables:
            table.locate()
        self.kernel.undo(self._detectors, self._at, start)

    def make_room(self, most: int) -> None:
        """Have room for so many bytes more."""
        if self._memory.capacity - self._memory.used >= most:
            return
        kept = np.empty(2 * len(self._kept) + most, np.uint8)
        kept[: self._memory.used] = self._kept[: self._memory.used]
        self._kept = kept
        self._memory.bytes, self._memory.capacity = kept.ctypes.data, len(kept)


def load_ledger(journal: Journal) -> Ledger | None:
    """A ledger with the compiled loops, where they are installed."""
    kernel = load_kernel()
    return None if kernel is None else Ledger(kernel, journal)
