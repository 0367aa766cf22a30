"""Records of a table that go on over several lines, for a cell in quotes may hold ends of lines."""

import csv
from collections.abc import Callable
from typing import Final

MOST_LINES: Final = 100
"""In one record; what is open for longer is a quote that nobody closed."""
_QUOTE: Final = '"'

Record = tuple[int, str, bool]
"""The number of its first line, its text, and whether its quotes are closed."""


class Quoted:
    """Puts lines together whose cells go on in the next one."""

    def __init__(self, is_row: Callable[[str], bool]) -> None:
        """`is_row` tells of a line whether it is a row by itself: then a quote before it was never closed."""
        self._is_row = is_row
        self._lines: list[tuple[int, str]] = []

    @property
    def is_open(self) -> bool:
        """Whether a record goes on in the next line."""
        return bool(self._lines)

    def take(self, number: int, text: str, separator: str) -> list[Record]:
        """The records that are complete with a line."""
        has_odd = text.count(_QUOTE) % 2 == 1
        if not self._lines:
            if not has_odd or not _goes_on(text, separator):
                return [(number, text, True)]
            self._lines.append((number, text))
            return []
        if len(self._lines) >= MOST_LINES or self._is_row(text):
            return [*self.end(), *self.take(number, text, separator)]
        self._lines.append((number, text))
        if not has_odd:
            return []
        lines, self._lines = self._lines, []
        return [(lines[0][0], "\n".join(each for _, each in lines), True)]

    def end(self) -> list[Record]:
        """The lines of a record that nothing closed, each by itself."""
        lines, self._lines = self._lines, []
        return [(number, text, place > 0) for place, (number, text) in enumerate(lines)]


def _goes_on(text: str, separator: str) -> bool:
    """Whether a cell that begins with a quote is not over at the end of a line."""
    lines = csv.reader(iter([f"{text}\n", ""]), delimiter=separator)
    try:
        next(lines)
    except csv.Error:
        return False
    return lines.line_num > 1
