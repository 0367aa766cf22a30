"""Tables without a line of names: their columns are called by their place, and shown or said to be the time."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from devices.errors import CareloopError
from gateway.detect.called import SINGLE
from gateway.detect.columns import NONE, ROWS, Asked, Begun, Columns, is_time, say_columns
from gateway.detect.figures import ABSENT, is_number, read_number
from gateway.detect.instants import CLOCK
from gateway.detect.timing import RISING, are_timeless

FIRST_CYCLES: Final = (0, 1)
_BY_PLACE: Final = "the first line names no columns: they are called by their place"


def is_headless(asked: Asked, begun: Begun) -> bool:
    """Whether a first line is a row already.

    It is where it holds numbers alone, or one time and numbers beside it, no fewer than texts: none of that is a name.
    """
    if asked.has_header is not None:
        return not asked.has_header
    if asked.time is not None and asked.time != NONE and not asked.time.isdecimal():
        return False
    numbers = [cell for cell in begun.cells if is_number(cell, begun.separator)]
    absent = [
        cell for cell in begun.cells[1:] if cell.lower() in ABSENT
    ]  # an index of pandas has no name, and is first
    others = [cell for cell in begun.cells if cell not in numbers and cell not in absent]
    if not numbers:
        return False
    texts = [cell for cell in others if not is_time(cell)]
    names = [cell for cell in texts if CLOCK.fullmatch(cell) is None]
    return not others or (len(others) - len(texts) == 1 and len(names) <= len(numbers))


class Headless:
    """The first row of a table without a line of names, and what its columns are taken for."""

    def __init__(self, asked: Asked, begun: Begun) -> None:
        self._asked = asked
        self._cells = begun.cells
        self._begun = begun
        self._rows: list[Sequence[str]] = [begun.cells]
        self.notes: list[str] = []
        self.is_single = asked.time is None and self._is_series()
        self.names = SINGLE if self.is_single else [f"column_{place}" for place in range(1, len(begun.cells) + 1)]

    def _is_series(self) -> bool:
        """Whether it is a time and a number, and no more."""
        if len(self._cells) != len(SINGLE):
            return False
        return is_time(self._cells[0], numbers=True) and is_number(self._cells[1], self._begun.separator)

    @property
    def is_told(self) -> bool:
        """Whether what was seen so far tells what is what; further rows need not where the first one does."""
        if self.is_single or self._asked.time is not None or self._shown_time() is not None:
            return True
        return self._counts_cycles() or len(self._rows) == RISING or len(self.names) == 1

    def see(self, cells: Sequence[str]) -> None:
        """Look at a further row."""
        if len(self._rows) < RISING:
            self._rows.append(cells)

    def columns(self) -> Columns:
        """Where things are, by the rows that were seen. Raises CareloopError."""
        if self.is_single:
            self.notes.append("the first line names no columns: taken as timestamp and value")
            return Columns(2, 0, None, ((1, "value"),))
        device = None if self._asked.device == NONE else self._place(self._asked.device)
        time = self._place(self._asked.time)
        if time is None:
            time = self._shown_time()
        if time is None and self._counts_cycles():
            is_open = self._asked.device is None
            time, device = 1, 0 if is_open else device
        if time is None and are_timeless(self._rows, len(self.names), self._begun.separator):
            time = ROWS
        if time is None:
            what = (
                "names no columns, and none shows to be the time: `--time 2` says that the second is, `--time -` that"
            )
            raise CareloopError(
                "columns", f"{self._begun.where} {what} none is, `--device 1` that the first is a device"
            )
        clock = time + 1 if self._is_clock(time) else None
        places = Columns(len(self.names), time, device, (), clock)
        metrics = [at for at in range(len(self.names)) if at not in {time, device, clock}]
        if not metrics:
            raise CareloopError("columns", f"{self._begun.where}: no column besides time and device")
        self.notes += [_BY_PLACE, say_columns(self.names, places, metrics)]
        return replace(places, metrics=tuple((at, self.names[at]) for at in metrics))

    def _place(self, asked: str | None) -> int | None:
        """Where a column is that was named by its number, or as it is called in alarms."""
        if asked is None:
            return None
        if asked == NONE:
            return ROWS
        number = asked.removeprefix("column_")
        if not number.isdecimal() or not 1 <= int(number) <= len(self.names):
            raise CareloopError("columns", f"no column {asked!r}; there are 1 to {len(self.names)}, and no names")
        return int(number) - 1

    def _shown_time(self) -> int | None:
        """Where a date is, or else, in the first column alone, a number that can count from 1970."""
        mark = self._begun.separator
        dates = [at for at, cell in enumerate(self._cells) if not is_number(cell, mark) and is_time(cell)]
        if dates:
            return dates[0]
        return 0 if is_number(self._cells[0], mark) and is_time(self._cells[0]) else None

    def _is_clock(self, time: int) -> bool:
        """Whether the time of day stands in a column of its own behind the day."""
        if time == ROWS:
            return False
        after = self._cells[time + 1] if time + 1 < len(self._cells) else ""
        return ":" not in self._cells[time] and CLOCK.fullmatch(after) is not None

    def _counts_cycles(self) -> bool:
        """Whether the first two columns are a machine and its cycle: the same machine, and cycle after cycle."""
        pairs = [cell.strip() for row in self._rows[:2] for cell in row[:2]]
        if len(pairs) < 2 * 2 or not all(is_number(cell, self._begun.separator) for cell in pairs):
            return False
        unit, cycle, next_unit, next_cycle = (read_number(cell, self._begun.separator) for cell in pairs)
        return unit == next_unit and unit.is_integer() and cycle in FIRST_CYCLES and next_cycle == cycle + 1
