"""History window after window, each about as large as the one before: months pass through a few megabytes."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from gateway.store.history import Extent, Part, TimeBase, Wanted, read_part, read_told
from gateway.store.rows import EventRow

Connection = AsyncConnection[TupleRow]

ROWS: Final = 20_000
"""Readings that a window is to hold."""
FIRST_WIDTH: Final = {TimeBase.RECEIVED: 50, TimeBase.DEVICE: 3_600_000_000}  # batches, microseconds
MOST_GROWTH: Final = 4.0


@dataclass(frozen=True, slots=True)
class Window:
    """Some of history: readings by product model, and events, each in the order in which they became known."""

    parts: Sequence[Part]
    events: Sequence[EventRow]

    @property
    def readings(self) -> int:
        """How many readings there are."""
        return sum(len(part.readings) for part in self.parts)


async def read_windows(conn: Connection, extents: Sequence[Extent], wanted: Wanted) -> AsyncGenerator[Window]:
    """Everything that is wanted, once, in order."""
    if not extents:
        return
    place, last = min(extent.first for extent in extents), max(extent.last for extent in extents)
    width = FIRST_WIDTH[wanted.base]
    while place <= last:
        end = min(place + width, last + 1)
        parts = [
            await read_part(conn, extent.table, place, end, wanted)
            for extent in extents
            if extent.first < end and extent.last >= place
        ]
        window = Window([part for part in parts if len(part.readings)], await read_told(conn, place, end, wanted))
        yield window
        place = end
        width = max(1, round(width * min(MOST_GROWTH, ROWS / max(window.readings, 1))))
