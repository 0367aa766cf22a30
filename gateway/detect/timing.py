"""Which column of a table with names is the time: by its name, else by what the first rows hold."""

import itertools
from collections.abc import Sequence
from typing import Final

from devices.errors import CareloopError
from gateway.detect.called import STEPS, TIME_WORDS, TIMES
from gateway.detect.columns import NONE, ROWS, Asked, Begun, first, is_time, words
from gateway.detect.figures import is_number, read_number

RISING: Final = 8
"""Rows that tell whether a column may be a time: it never falls, and rises with every second row at least."""
TWO: Final = 2  # rows tell whether what is called a step counts
_NO_TEXT: Final = {
    "PK\x03\x04": "this is a workbook or another archive, and no table; save its sheet as CSV",
    "\xd0\xcf\x11\xe0": "this is a workbook, and no table; save its sheet as CSV",
    "PAR1": "this is Parquet, and no table of text; save it as CSV",
}
"""What files of programs begin with, and what to do with them."""

Rows = Sequence[Sequence[str]]


class Timing:
    """Looks for the time, in as many of the first rows as it needs."""

    def __init__(self, asked: Asked, begun: Begun, names: Sequence[str]) -> None:
        """`names` are those of the columns as they are compared."""
        self._asked = asked
        self._begun = begun
        self._names = names
        self._rows: list[Sequence[str]] = []

    @property
    def rows(self) -> Rows:
        """The first ones, as far as they may be needed."""
        return self._rows

    def see(self, cells: Sequence[str]) -> None:
        """Look at a further row."""
        if len(self._rows) < RISING:
            self._rows.append(cells)

    def find(self) -> int | None:
        """Where the time is; `ROWS` where no column is one; None while that is open. Raises CareloopError."""
        if self._asked.time is not None:
            return self._place(self._asked.time)
        known = first(TIMES, self._names)
        if known is not None or not self._rows:
            return known
        shown = self._shown()
        if shown is None and len(self._rows) > 1:
            shown = self._counted()
        if shown is None and are_timeless(self._rows, len(self._names), self._begun.separator):
            return ROWS
        return shown

    @property
    def is_told(self) -> bool:
        """Whether further rows tell no more."""
        return len(self._rows) == RISING or self.find() is not None

    def _place(self, asked: str) -> int:
        if asked == NONE:
            return ROWS
        called = [name.lower() for name in self._begun.cells]
        if asked.lower() not in called:
            raise CareloopError("columns", f"no column {asked!r}; there are {', '.join(self._begun.cells)}")
        return called.index(asked.lower())

    def _shown(self) -> int | None:
        """Where a name has a word for time and the cell is one, or else any cell is a date, or else such a name is."""
        cells = [cell.strip() for cell in self._rows[0]][: len(self._names)]
        named = [at for at, name in enumerate(self._begun.cells) if TIME_WORDS & set(words(name))]
        for at in named:
            if at < len(cells) and is_time(cells[at]):
                return at
        dates = [at for at, cell in enumerate(cells) if not is_number(cell, self._begun.separator) and is_time(cell)]
        return next(iter([*dates, *named]), None)

    def _counted(self) -> int | None:
        """A column that is called as one that counts steps, or a first one without a name, and rises."""
        rising = risen(self._rows[:TWO], len(self._names), self._begun.separator)
        return next((at for at in rising if self._names[at] in STEPS or (at == 0 and not self._names[at])), None)

    def refusal(self) -> CareloopError:
        """Why there is no time."""
        what, text = "no column is called timestamp or time, which `--time` can name", self._begun.text
        for begins, says in _NO_TEXT.items():
            if text.startswith(begins):
                return CareloopError("columns", f"{self._begun.where}: {says}; not {text[:2]!r}")
        rising = [repr(self._begun.cells[at]) for at in risen(self._rows, len(self._names), self._begun.separator)]
        may = f", as {' and '.join(rising)} may be" if rising else ""
        rows = "`--time -` takes row after row, without one"
        return CareloopError("columns", f"{self._begun.where}: {what}{may}; {rows}; not {text!r:.200}")


def risen(rows: Rows, width: int, separator: str) -> list[int]:
    """The columns that may be a time by their numbers: none ever falls, and each rises with every second row."""
    found: list[int] = []
    for at in range(width):
        numbers = [each for each in _numbers(rows, at, separator) if each is not None]
        steps = [after - before for before, after in itertools.pairwise(numbers)]
        if steps and len(numbers) == len(rows) and min(steps) >= 0 and 2 * sum(map(bool, steps)) >= len(steps):
            found.append(at)
    return found


def are_timeless(rows: Rows, width: int, separator: str) -> bool:
    """Whether rows hold numbers and none says when it is: as many as tell it, no date, and no column that may count."""
    is_alone = width == 1 and bool(rows)  # a column that has no other beside it is what is measured
    if not is_alone and (len(rows) < RISING or risen(rows, width, separator)):
        return False
    are_numbers = [[is_number(cell.strip(), separator) for cell in row] for row in rows]
    texts = {cell.strip() for row in rows for cell in row if not is_number(cell.strip(), separator)}
    return all(map(any, are_numbers)) and not any(map(is_time, texts))


def _numbers(rows: Rows, at: int, separator: str) -> list[float | None]:
    cells = [row[at].strip() if at < len(row) else "" for row in rows]
    return [read_number(cell, separator) if is_number(cell, separator) else None for cell in cells]
