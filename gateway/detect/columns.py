"""Which column of a table is the time, which the device, which are measured: by the names in its first line."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from devices.errors import CareloopError
from gateway.detect.called import (
    CLOCKS,
    COUNTED,
    CYCLES,
    DAYS,
    DEVICES,
    LABELS,
    NAMES,
    PROCESSOR,
    SINGLE,
    TIME_WORDS,
    TIMES,
    VALUES,
    WHOLE,
)
from gateway.detect.figures import is_number
from gateway.detect.instants import BadTime, Instants

OF_A_YEAR: Final = 3  # digits of a day that is one of a week, a month or a year
EPOCH_S: Final = 9e8  # a number from here on says a day
_NO_TEXT: Final = {
    "PK\x03\x04": "this is a workbook or another archive, and no table; save its sheet as CSV",
    "\xd0\xcf\x11\xe0": "this is a workbook, and no table; save its sheet as CSV",
    "PAR1": "this is Parquet, and no table of text; save it as CSV",
}
"""What files of programs begin with, and what to do with them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user says of a table; what is left open shows."""

    name: str  # of the table, and of the device where no column names it
    time: str | None = None
    device: str | None = None
    has_header: bool | None = None  # None: it shows


@dataclass(frozen=True, slots=True)
class Columns:
    """Where in a row things are."""

    width: int
    time: int
    device: int | None
    metrics: tuple[tuple[int, str], ...]
    clock: int | None = None  # the time of day, where the column of the time holds the day alone
    named: int | None = None  # what says which metric a row is of, in the long form

    @property
    def is_single(self) -> bool:
        """Whether it is a plain series, with `timestamp` and `value`."""
        return self.device is None and self.named is None and [name for _, name in self.metrics] == ["value"]


@dataclass(frozen=True, slots=True)
class Begun:
    """The first line of a table."""

    where: str  # as `line 1`
    text: str  # as it is told
    cells: Sequence[str]  # without blanks around them
    separator: str


class Header:
    """The first line of a table that names its columns, and what they are taken for."""

    def __init__(self, asked: Asked, begun: Begun) -> None:
        self._asked = asked
        self._begun = begun
        self.names = begun.cells
        self._plain = [plain(name) for name in self.names]
        self.notes: list[str] = []

    @property
    def waits(self) -> bool:
        """Whether the second line is to tell what is what."""
        is_told = self._find_long([]) is None and self._find_parts([]) is None
        return not is_told or self._is_index_nameless()

    def columns(self, cells: Sequence[str]) -> Columns:
        """Where things are, by the first line and, where that leaves it open, the cells of the second one.

        Raises CareloopError.
        """
        named, value = self._find_long(cells) or (None, None)
        is_long = named is not None
        if not is_long and self._asked.time is None and self._asked.device is None and set(SINGLE) <= set(self._plain):
            return self._single()
        time, clock = self._find_parts(cells) or (self._find_time(cells), None)
        devices = (*DEVICES, COUNTED) if self._plain[time] in CYCLES else DEVICES
        others = {"user"} if PROCESSOR & set(self._plain) else set[str]()  # a share
        if is_long and "unit" in self._plain and not self._holds_number(cells, self._plain.index("unit")):
            others = {"unit"}  # the value's
        device = self._find(self._asked.device, [name for name in devices if name not in others])
        places = Columns(len(self.names), time, device, (), clock, named)
        if value is not None:
            self._tell(places, [value])
            taken = {time, device, clock, named, value}
            if left := [name for at, name in enumerate(self.names) if at not in taken]:
                self.notes.append(f"not judged: {', '.join(left)}")
            return replace(places, metrics=((value, self.names[value]),))
        return replace(places, metrics=self._find_metrics(places))

    def _single(self) -> Columns:
        if whose := [self.names[at] for at, name in enumerate(self._plain) if name in DEVICES]:
            self.notes.append(f"all rows are one series; `--device {whose[0]}` makes one of each {whose[0]!r}")
        at = self._plain.index
        return Columns(len(self.names), at("timestamp"), None, ((at("value"), "value"),))

    def _find_long(self, cells: Sequence[str]) -> tuple[int, int] | None:
        """In the long form, where a metric's name and its value are; what holds a number first is no name."""
        named, value = _first(NAMES, self._plain), _first(VALUES, self._plain)
        if named is None or value is None:
            return None
        return None if self._holds_number(cells, named) else (named, value)

    def _holds_number(self, cells: Sequence[str], at: int) -> bool:
        return at < len(cells) and is_number(cells[at].strip(), self._begun.separator)

    def _find_parts(self, cells: Sequence[str]) -> tuple[int, int] | None:
        """Where a day and a time of day are; one of a week or a month is no day where another column is a time."""
        names = self._plain
        day, clock = _first(DAYS, names), _first(CLOCKS, names)
        if self._asked.time is not None or day is None or clock is None or WHOLE & set(names):
            return None
        told = cells[day].strip() if day < len(cells) else ""
        is_counted = told.isdecimal() and len(told) <= OF_A_YEAR
        return None if is_counted and {*TIMES} & {*names} - {names[day]} else (day, clock)

    def _is_index_nameless(self) -> bool:
        """Whether only the first column can be the time, and has no name, as pandas writes an index."""
        return self._asked.time is None and self._plain[:1] == [""] and self._called_time() is None

    def _called_time(self) -> int | None:
        time = self._find(self._asked.time, TIMES)
        if time is None:
            time = next((at for at, name in enumerate(self.names) if TIME_WORDS & set(_words(name))), None)
        return time

    def _find_time(self, cells: Sequence[str]) -> int:
        """Where the time is. Raises CareloopError."""
        time = self._called_time()
        if time is None and cells and self._is_index_nameless() and is_time(cells[0].strip()):
            time = 0
        if time is None:
            what, text = "no column is called timestamp or time, which `--time` can name", self._begun.text
            for begins, says in _NO_TEXT.items():
                if text.startswith(begins):
                    what, text = says, text[:2]
            raise CareloopError("columns", f"{self._begun.where}: {what}; not {text!r:.200}")
        return time

    def _find_metrics(self, places: Columns) -> tuple[tuple[int, str], ...]:
        names, plain_names = self.names, self._plain
        taken = {places.time, places.clock, places.device}
        free = [at for at, name in enumerate(plain_names) if name and at not in taken]
        counted = [at for at in free if plain_names[at] == COUNTED]
        metrics = [at for at in free if plain_names[at] not in LABELS and at not in counted]
        if not metrics:
            what = f"no column besides the time {names[places.time]!r}"
            raise CareloopError("columns", f"{self._begun.where}: {what}: {self._begun.text!r}")
        self._tell(places, metrics)
        if labels := [names[at] for at in free if plain_names[at] in LABELS]:
            self.notes.append(f"labels, no measurements: {', '.join(labels)}")
        for name in [names[at] for at in counted]:
            self.notes.append(
                f"{name!r} is not judged, as it may number the rows; `--device {name}` makes one series of each"
            )
        if again := [names[at] for at in metrics if names.index(names[at]) != at]:
            self.notes.append(f"columns of one name are told apart by their place: {', '.join(again)}")
        called = [names[at] for at in metrics]
        return tuple(
            (at, name if called.index(name) == place else f"{name} ({at + 1})")
            for place, (at, name) in enumerate(zip(metrics, called, strict=True))
        )

    def _tell(self, places: Columns, metrics: Sequence[int]) -> None:
        """Say what was chosen."""
        self.notes.append(say_columns(self.names, places, metrics))

    def _find(self, asked: str | None, usual: Sequence[str]) -> int | None:
        if asked is None:
            return _first(usual, self._plain)
        called = [name.lower() for name in self.names]
        if asked.lower() not in called:
            raise CareloopError("columns", f"no column {asked!r}; there are {', '.join(self.names)}")
        return called.index(asked.lower())


def say_columns(names: Sequence[str], places: Columns, metrics: Sequence[int]) -> str:
    """What was chosen, in words."""
    time = " and ".join(repr(names[at]) for at in (places.time, places.clock) if at is not None)
    time = time if time != repr("") else "the first column, which has no name"
    whose = "" if places.device is None else f" of each {names[places.device]!r}"
    each = "" if places.named is None else f"each {names[places.named]!r} by its "
    return f"time is {time}; judged{whose}: {each}{', '.join(names[at] for at in metrics)}"


def plain(name: str) -> str:
    """A column's name as names are compared: `Unit Number` and `time (cycles)` are `unit_number` and `time_cycles`."""
    return re.sub(r"[\s()\-,]+", "_", name.lower()).strip("_") or name.lower()


def is_time(text: str, *, numbers: bool = False) -> bool:
    """Whether a cell is a time; a small number only where it may be one of `numbers`."""
    with suppress(BadTime):
        Instants().read(text)
        return numbers or says_day(text)
    return False


def says_day(clock: str) -> bool:
    """Whether a time of day may say all of a time: a small number counts something else."""
    try:
        return float(clock) >= EPOCH_S
    except ValueError:
        return True


def _words(name: str) -> list[str]:
    """The words of a name in lower case: `ActivityHour` and `activity_hour` are two."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def _first(usual: Sequence[str], names: Sequence[str]) -> int | None:
    """Where the first of the usual names is that a table has."""
    return next((names.index(name) for name in usual if name in names), None)
