"""`cut.py` in C, where it was compiled when careloop was installed: to be used for reads of many packets."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from devices.native_library import open_library

FOLDER: Final = Path(__file__).parent
LIBRARY: Final = FOLDER / "publishes.so"
_ROOM: Final = 1024  # packets that one call looks at
_COLUMNS: Final = 5

Places = tuple[list[int], list[int], list[int], list[int], list[int]]
FindPublishes = Callable[[bytes, int, int], Places]
"""Of data from a position on, and a protocol version."""


def load_finder() -> FindPublishes | None:
    """The compiled loop, where it is installed and made of the source beside it.

    The returned function finds plain PUBLISHes: where their topics start and end, their packet identifiers, where their
    payloads start and end.
    """
    library = open_library(LIBRARY, ctypes.PyDLL)  # one that keeps the interpreter's lock: a call takes microseconds
    if library is None:
        return None
    cut = library.cut_publishes
    cut.argtypes = (ctypes.c_char_p, *(ctypes.c_int32,) * 4, ctypes.c_void_p)
    cut.restype = ctypes.c_int32

    def find(data: bytes, position: int, version: int) -> Places:
        found: Places = ([], [], [], [], [])
        columns = np.empty((_COLUMNS, _ROOM), np.int32)
        count = _ROOM
        while count == _ROOM:
            count = int(cut(data, position, len(data), version, _ROOM, columns.ctypes.data))
            for column, more in zip(found, columns[:, :count].tolist(), strict=True):
                column.extend(more)
            position = found[-1][-1] if found[-1] else position
        return found

    return find
