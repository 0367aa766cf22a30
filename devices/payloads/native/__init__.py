"""`json_columns.py` in C for plain payloads, where it was compiled when careloop was installed."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.native_library import open_library

FOLDER: Final = Path(__file__).parent
LIBRARY: Final = FOLDER / "readings.so"
MOST_METRICS: Final = 64


@dataclass(frozen=True, slots=True)
class Rows:
    """A row for each of n payloads, in which nothing counts where `is_read` is false.

    `values` float64[n, m], `ts_us`, `seq` int64[n], as in `ReadingColumns`; `firmware` int64[n, 2], where in the joined
    payloads it starts and how many bytes it has, 0 where there is none.
    """

    values: NDArray[np.float64]
    ts_us: NDArray[np.int64]
    seq: NDArray[np.int64]
    firmware: NDArray[np.int64]
    is_read: NDArray[np.bool_]
    read: int


ReadRows = Callable[[bytes, NDArray[np.int64]], Rows]
"""Of payloads joined without anything between them, and of where each ends."""

MakeReader = Callable[[Sequence[str]], ReadRows]
"""Of the names of metrics, ASCII without escapes and at most MOST_METRICS; an empty one is that of no metric."""


def load_reader() -> MakeReader | None:
    """The compiled loop, where it is installed and made of the source beside it."""
    library = open_library(
        LIBRARY, ctypes.CDLL
    )  # one that lets go of the interpreter's lock: a call takes milliseconds
    if library is None:
        return None
    read_readings = library.read_readings
    pointer = ctypes.c_void_p
    read_readings.argtypes = (
        *(ctypes.c_char_p, pointer, ctypes.c_int32, ctypes.c_char_p, pointer, ctypes.c_int32),
        *(pointer,) * 5,
    )
    read_readings.restype = ctypes.c_int32

    def make(metrics: Sequence[str]) -> ReadRows:
        names = [f'{name}"'.encode() if name else b"" for name in metrics]
        name_ends = np.cumsum([len(name) for name in names], dtype=np.int32)
        known, width = b"".join(names), len(names)

        def read(text: bytes, ends: NDArray[np.int64]) -> Rows:
            count = len(ends)
            values = np.empty((count, width), np.float64)
            ts_us, seq = np.empty(count, np.int64), np.empty(count, np.int64)
            firmware, is_read = np.empty((count, 2), np.int64), np.empty(count, np.bool_)
            columns = [column.ctypes.data for column in (values, ts_us, seq, firmware, is_read)]
            done = read_readings(text, ends.ctypes.data, count, known, name_ends.ctypes.data, width, *columns)
            return Rows(values, ts_us, seq, firmware, is_read, int(done))

        return read

    return make
