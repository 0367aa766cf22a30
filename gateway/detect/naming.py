"""Whether a column called `id` names devices or numbers the rows: the first rows tell, and wait for it."""

from collections.abc import Sequence
from typing import Final

from gateway.detect.columns import ROWS

COUNTING: Final = 8
"""Rows of later moments that wait where each `id` is one more than the one before: it numbers them, most likely."""
WAITING: Final = 64
"""Where they are other numbers or names: so many devices may take turns before the first one comes again."""
MOST: Final = 10_000
"""Rows that wait in all; those of the first moment tell nothing."""


class Naming:
    """Looks at the first rows until a value comes again at another moment, as only a device's does."""

    def __init__(self, candidates: Sequence[int], moment: Sequence[int]) -> None:
        """`moment` is where the time stands."""
        self.chosen: int | None = None
        self.is_over = not candidates
        self._candidates = candidates
        self._moment = moment
        self._known: dict[tuple[int, str], tuple[str, ...]] = {}  # by place and value: the moment where it first was
        self._first: tuple[str, ...] = ()
        self._last: list[str] = []
        self._counts = True  # by one from row to row
        self._later = 0
        self._rows = 0

    def see(self, cells: Sequence[str]) -> None:
        """Look at a further row."""
        if self.is_over:
            return
        self._rows += 1
        moment = tuple(str(self._rows) if at == ROWS else _cell(cells, at) for at in self._moment)
        values = [_cell(cells, at) for at in self._candidates]
        for at, value in zip(self._candidates, values, strict=True):
            if value and self._known.setdefault((at, value), moment) != moment:
                self.chosen, self.is_over = at, True
                return
        self._counts = self._counts and all(map(follows, self._last, values))
        self._first, self._last = self._first or moment, values
        self._later += moment != self._first
        self.is_over = self._later >= (COUNTING if self._counts else WAITING) or self._rows >= MOST


def _cell(cells: Sequence[str], at: int) -> str:
    return cells[at].strip() if at < len(cells) else ""


def follows(before: str, now: str) -> bool:
    """Whether a cell counts on by one from the one above it."""
    return before.isdecimal() and now.isdecimal() and int(now) == int(before) + 1
