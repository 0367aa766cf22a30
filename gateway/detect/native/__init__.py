"""The loops of our own detectors in C, where they were compiled when careloop was installed.

They do what the classes in Python do, to the last bit, one sample after the other; without them, or for a detector of
somebody else, the classes themselves are used. `scripts/build_native.py` compiles them.
"""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from devices.native_library import open_library
from gateway.detect.table import Table

FOLDER: Final = Path(__file__).parent
LIBRARY: Final = FOLDER / "kernel.so"
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {  # in the order in which the loops expect them
    "threshold": ("hot", "episode", "recent_samples, apart"),
    "record": ("hot", "episode", "recent_samples, apart", "kind", "hourly, apart", "record"),
    "usage_drop": (
        *("hot", "episode", "kind"),
        *("usual, apart", "weekday, apart", "daily, apart", "habit", "run", "chances, apart", "lull"),
    ),
    "decline": ("hot", "episode", "regimes", "drift", "means"),
    "stuck": ("hot", "episode", "run", "company"),
    "usage_surge": ("hot", "episode", "surge"),
    "silence": ("hot", "episode"),
    "unlike": ("hot", "episode", "row"),
}
OUT_OF_ROOM: Final = 1
UNOPENED: Final = 2
TOLD: Final = 4
DISMISSED: Final = 8


class RowsMemory(ctypes.Structure):
    """Which slots have rows in groups that few of them use."""

    of: int
    used: int
    capacity: int
    _fields_ = (("of", ctypes.c_void_p), ("used", ctypes.c_int64), ("capacity", ctypes.c_int64))


class GroupMemory(ctypes.Structure):
    """Where a table keeps a group of fields."""

    slots: int
    width: int
    rows: int | None  # of a group that few slots use
    initial: int
    _fields_ = (
        ("slots", ctypes.c_void_p),
        ("width", ctypes.c_int64),
        ("rows", ctypes.c_void_p),
        ("initial", ctypes.c_void_p),
    )


class JournalMemory(ctypes.Structure):
    """What slots held before a turn touched them."""

    bytes: int
    used: int
    capacity: int
    _fields_ = (("bytes", ctypes.c_void_p), ("used", ctypes.c_int64), ("capacity", ctypes.c_int64))


class HiddenMemory(ctypes.Structure):
    """Series that a loop has hidden: seat and column, pair after pair."""

    places: int
    used: int
    capacity: int
    _fields_ = (("places", ctypes.c_void_p), ("used", ctypes.c_int64), ("capacity", ctypes.c_int64))


class LaneCall(ctypes.Structure):
    """What a loop is given, and what it has found; ``series.h`` says what is what."""

    samples: int
    metrics: int
    ts_s: int
    values: int
    seats: int
    slots: int
    columns: int
    watches: int
    column: int
    watch: int
    metric: int
    bound: int | None
    judge: int | None
    parts: int
    part: int
    code: int
    parameters: int
    parameter_count: int
    groups: Any
    rows: Any
    row_sets: int
    number: int
    journal: Any
    hidden: Any
    update_every_s: float
    update_score: float
    skips_unopened: int
    evidence_points: int
    scores: int | None
    queued_slots: int
    queued_ticks: int
    queued: int
    sample: int
    which: int
    at_sample: int
    at_which: int
    slot: int
    step: int
    ts_told_s: float
    score: float
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("samples", "metrics")),
        *((name, ctypes.c_void_p) for name in ("ts_s", "values", "seats", "slots")),
        *((name, ctypes.c_int64) for name in ("columns", "watches")),
        *((name, ctypes.c_void_p) for name in ("column", "watch", "metric", "bound", "judge")),
        ("parts", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("part", "code", "parameters")),
        ("parameter_count", ctypes.c_int64),
        ("groups", ctypes.POINTER(GroupMemory)),
        ("rows", ctypes.POINTER(RowsMemory)),
        ("row_sets", ctypes.c_int64),
        ("number", ctypes.c_int64),
        ("journal", ctypes.POINTER(JournalMemory)),
        ("hidden", ctypes.POINTER(HiddenMemory)),
        ("update_every_s", ctypes.c_double),
        ("update_score", ctypes.c_float),
        ("skips_unopened", ctypes.c_int32),
        ("evidence_points", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("scores", "queued_slots", "queued_ticks")),
        *((name, ctypes.c_int64) for name in ("queued", "sample", "which", "at_sample", "at_which", "slot")),
        ("step", ctypes.c_int32),
        *((name, ctypes.c_double) for name in ("ts_told_s", "score")),
    )


class TogetherCall(ctypes.Structure):
    """All loops of a roster over the same readings; ``together.c`` says what is what."""

    samples: int
    metrics: int
    ts_s: int
    alive_s: int
    values: int
    seats: int
    slots: int
    columns: int
    alive_step: int
    lanes: int
    lane: Any
    bound: int
    watches: int
    sample: int
    at: int
    rest: int
    short_of: int
    journal: Any
    most_undo: int
    hidden: Any
    scores: int | None
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("samples", "metrics")),
        *((name, ctypes.c_void_p) for name in ("ts_s", "alive_s", "values", "seats", "slots")),
        *((name, ctypes.c_int64) for name in ("columns", "alive_step", "lanes")),
        ("lane", ctypes.POINTER(ctypes.POINTER(LaneCall))),
        ("bound", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("watches", "sample", "at", "rest", "short_of")),
        ("journal", ctypes.POINTER(JournalMemory)),
        ("most_undo", ctypes.c_int64),
        ("hidden", ctypes.POINTER(HiddenMemory)),
        ("scores", ctypes.c_void_p),
    )


class _Place(ctypes.Structure):
    """A field of a detector; a detector's name alone begins its fields."""

    detector: bytes | None
    field: bytes
    offset: int
    size: int
    _fields_ = (
        ("detector", ctypes.c_char_p),
        ("field", ctypes.c_char_p),
        ("offset", ctypes.c_int64),
        ("size", ctypes.c_int64),
    )


@dataclass(frozen=True, slots=True)
class Loop:
    """Where the functions of a detector are."""

    judge: int | None  # a reading


class Kernel:
    """The compiled loops."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._places = _places(library)
        self._loops = {name: _loop(library, name) for name in GROUPS}
        self.judge_together = library.judge_together
        self.judge_together.argtypes = (ctypes.POINTER(TogetherCall),)
        self.judge_together.restype = ctypes.c_int32
        self.undo = library.undo
        self.undo.argtypes = (
            ctypes.POINTER(ctypes.POINTER(GroupMemory)),
            ctypes.POINTER(JournalMemory),
            ctypes.c_int64,
        )
        self.undo.restype = None
        self.find_unopened = library.find_unopened
        self.find_unopened.argtypes = (ctypes.POINTER(LaneCall), ctypes.c_void_p, ctypes.c_void_p)
        self.find_unopened.restype = ctypes.c_int64
        self.find_seats = library.find_seats
        self.find_seats.argtypes = (*(ctypes.c_void_p, ctypes.c_int64) * 3, ctypes.c_void_p, ctypes.c_int32)
        self.find_seats.restype = ctypes.c_int32

    def loop(self, name: str, table: Table) -> Loop | None:
        """The loop of a detector, if it has one, and the table's fields are where it takes them to be."""
        loop = self._loops.get(name)
        return loop if loop is not None and self._places.get(name) == _where(name, table) else None


def _loop(library: ctypes.CDLL, name: str) -> Loop:
    return Loop(_address(library[f"judge_{name}"]))


def _address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value


def _places(library: ctypes.CDLL) -> dict[str, dict[str, tuple[int, int]]]:
    """Per detector, where its loop takes each field to be: first byte in its group, and size."""
    library.places.argtypes = (ctypes.POINTER(ctypes.c_int64),)
    library.places.restype = ctypes.POINTER(_Place)
    count = ctypes.c_int64()
    told = library.places(ctypes.byref(count))
    found: dict[str, dict[str, tuple[int, int]]] = {}
    fields: dict[str, tuple[int, int]] = {}
    for number in range(count.value):
        place: _Place = told[number]
        if place.detector is not None:
            fields = found[place.detector.decode()] = {}
        else:
            fields[place.field.decode()] = (place.offset, place.size)
    return found


def _where(name: str, table: Table) -> dict[str, tuple[int, int]] | None:
    """Where a table has the fields of the groups that the detector's loop uses."""
    groups = [table.groups.get(group) for group in GROUPS.get(name, ())]
    if not groups or None in groups:
        return None
    return {
        field: table.extent(field) for group in groups if group for field in group.places if field != "recent_samples"
    }


def load_kernel() -> Kernel | None:
    """The compiled loops, where they are installed and made of the sources beside them."""
    library = open_library(LIBRARY, ctypes.CDLL)
    return None if library is None else Kernel(library)
