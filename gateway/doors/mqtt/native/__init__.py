"""PUBLISHes cut out of a read in C, where that was compiled when careloop was installed."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Final

from devices.native_library import open_library

FOLDER: Final = Path(__file__).parent
LIBRARY: Final = FOLDER / "publishes.so"

Run = tuple[bytes, list[int], list[bytes]]
CutRuns = Callable[[bytes, int, int, int], tuple[list[Run], int]]
"""Of data, its length, a protocol version and the bytes of the largest packet: plain PUBLISHes from the start on, those
that follow each other on one topic together (topic, packet identifiers, payloads), and where the last one ends."""

CutMixed = Callable[[bytes, int, int], tuple[list[bytes], list[int], list[bytes], int]]
"""Of data, its length and a protocol version: topics, packet identifiers and payloads, and where the last one ends."""


def load_cutter_of_runs() -> CutRuns | None:
    """For the reads of a device, which has few topics; as `Framing` does it."""
    library = _load()
    if library is None:
        return None
    cut = library.cut_runs
    cut.argtypes = (ctypes.c_char_p, ctypes.c_ssize_t, ctypes.c_int, ctypes.c_ssize_t)
    cut.restype = ctypes.py_object
    return cut


def load_cutter_of_mixed() -> CutMixed | None:
    """For the reads of a broker's client, in which every message may have another topic; as `cut_publishes` does it."""
    library = _load()
    if library is None:
        return None
    cut = library.cut_mixed
    cut.argtypes = (ctypes.c_char_p, ctypes.c_ssize_t, ctypes.c_int)
    cut.restype = ctypes.py_object
    return cut


def _load() -> ctypes.CDLL | None:
    return open_library(LIBRARY, ctypes.PyDLL)  # which keeps the interpreter's lock: the loops make objects
