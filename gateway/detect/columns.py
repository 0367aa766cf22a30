"""Where in a table things are, what a user says of that, and how columns are called."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gateway.detect.called import LABEL_WORDS, LABELS
from gateway.detect.days import is_slashed
from gateway.detect.instants import BadTime, Instants

ROWS: Final = -1  # in the place of a time's column: rows come one after the other, and none says when
EPOCH_S: Final = 9e8  # a number from here on says a day
NONE: Final = "-"
"""In the place of a column's name: there is none."""


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
    time: int  # `ROWS`, where none is
    device: int | None
    metrics: tuple[tuple[int, str], ...]
    clock: int | None = None  # the time of day, where the column of the time holds the day alone
    named: int | None = None  # what says which metric a row is of, in the long form
    parts: tuple[int, ...] = ()  # year, month, day, hour …, where these are columns

    @property
    def is_single(self) -> bool:
        """Whether it is a plain series, with `timestamp` and `value`."""
        return self.device is None and self.named is None and [name for _, name in self.metrics] == ["value"]

    @property
    def needed(self) -> list[int]:
        """Where each row must hold something."""
        places = (self.time, self.device, self.clock, self.named, self.metrics[0][0], *self.parts)
        return [at for at in places if at is not None]


@dataclass(frozen=True, slots=True)
class Begun:
    """The first line of a table."""

    where: str  # as `line 1`
    text: str  # as it is told
    cells: Sequence[str]  # without blanks around them
    separator: str


def say_columns(names: Sequence[str], places: Columns, metrics: Sequence[int]) -> str:
    """What was chosen, in words."""
    stated = places.parts or [at for at in (places.time, places.clock) if at is not None and at != ROWS]
    time = " and ".join(repr(names[at]) for at in stated) or "the number of a row, as no column is one"
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
    return is_slashed(text)


def is_label(name: str) -> bool:
    """Whether a column is called as one of answers, and no measurement."""
    return plain(name) in LABELS or not LABEL_WORDS.isdisjoint(words(name))


def says_day(clock: str) -> bool:
    """Whether a time of day may say all of a time: a small number counts something else."""
    try:
        return float(clock) >= EPOCH_S
    except ValueError:
        return True


def words(name: str) -> list[str]:
    """The words of a name in lower case: `ActivityHour` and `activity_hour` are two."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def first(usual: Sequence[str], names: Sequence[str]) -> int | None:
    """Where the first of the usual names is that a table has."""
    return next((names.index(name) for name in usual if name in names), None)
