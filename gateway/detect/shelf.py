"""What a sample touches of its series, side by side in memory for all detectors.

Every detector has a table of its own. Where the tables open their slots for the same series in the same order, as those
of watches that go with every metric do, the slots of one number are one series; then their groups are put side by side,
slot by slot: a sample's state lies on neighbouring lines of one page, in place of a line on each of many. Nothing but
speed depends on it: a table whose slots go other ways works as well.
"""

from collections.abc import Sequence
from typing import Final

from gateway.detect.groups import COMPANY, HOT, OWNER, Group, RareGroup, rows_of, with_more
from gateway.detect.memory import CACHE_LINE, memory_of
from gateway.detect.table import Table

WORTH_IT: Final = 1024  # slots; fewer are in a processor's cache in any case
MOST_WASTE: Final = 1 / 16  # of the memory


class Shelf:
    """Groups of several tables in one piece of memory."""

    def __init__(self, tables: Sequence[Table]) -> None:
        """Put what every sample may touch of these tables side by side; no turn may be open."""
        self.tables = tables
        self._places: dict[Group, int] = {}  # first byte in a row
        end = 0
        for group in _groups(tables):
            self._places[group] = end
            end += group.width
        self._width = -(-end // CACHE_LINE) * CACHE_LINE
        self._padding = self._width - end
        self._slots = self._room = 0
        self.grow(max(table.count for table in tables))

    def grow(self, capacity: int) -> None:
        """Make room for so many slots, for all groups in it."""
        if capacity > self._room:
            rows = rows_of(memory_of(max(capacity, 2 * self._slots) * self._width), self._width)
            self._room = len(rows)
            self._slots = with_more(capacity, self._slots, self._room)
            for group, place in self._places.items():
                group.place_in(rows[:, place : place + group.width], self._slots)
                group.shelf = self
        elif capacity > self._slots:
            self._slots = with_more(capacity, self._slots, self._room)
            for group in self._places:
                group.stretch(self._slots)

    def bytes_for(self, group: Group, slots: int) -> int:
        """What a group of so many slots takes of it; the first one bears what no group has."""
        width = group.width + (self._padding if not self._places[group] else 0)
        return width * max(slots, *(table.count for table in self.tables))

    def dissolve(self) -> None:
        """Give each group memory of its own again; no turn may be open."""
        for group in self._places:
            group.leave_shelf()


class Shelves:
    """Keeps the tables of detectors side by side as long as that wastes little."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tables
        self._shelf: Shelf | None = None

    def arrange(self) -> None:
        """Look which tables should be side by side now; no turn may be open."""
        chosen = _alike(self._tables)
        if self._shelf is not None:
            if self._shelf.tables == chosen:
                return
            self._shelf.dissolve()
        self._shelf = Shelf(chosen) if chosen else None


def _alike(tables: Sequence[Table]) -> list[Table]:
    """The most tables that have nearly the same number of slots; none where that is not worth it."""
    found: list[Table] = []
    for most in sorted({table.count for table in tables}, reverse=True):
        alike = [table for table in tables if most * (1 - MOST_WASTE) <= table.count <= most]
        if most >= WORTH_IT and len(alike) > max(len(found), 1):
            found = alike
    return found


def _groups(tables: Sequence[Table]) -> list[Group]:
    """What samples touch: first what every one does, such that none of it lies across two lines."""
    groups = [
        (name != HOT, -group.width if name == HOT else group.width, place, group)
        for place, table in enumerate(tables)
        for name, group in table.groups.items()
        if name not in {OWNER, COMPANY} and not isinstance(group, RareGroup)
    ]
    return [group for *_, group in sorted(groups, key=lambda found: found[:3])]
