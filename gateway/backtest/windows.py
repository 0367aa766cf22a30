"""History window after window, each about as large as the one before: months pass through a few megabytes."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from gateway.backtest.departures import Departure
from gateway.store.history import Extent, Part, TimeBase, Wanted, read_part, read_told
from gateway.store.rows import EventRow

Connection = AsyncConnection[TupleRow]

ROWS: Final = 20_000
"""Readings that a window is to hold."""
FIRST_WIDTH: Final = {TimeBase.RECEIVED: 50, TimeBase.DEVICE: 3_600_000_000}  # batches, microseconds
MOST_GROWTH: Final = 4.0


@dataclass(frozen=True, slots=True)
class Window:
    """Some of history: readings by product model, and events, each in the order in which they became known.

    Before all of them the devices in `departures` were forgotten.
    """

    parts: Sequence[Part]
    events: Sequence[EventRow]
    departures: Sequence[Departure] = ()

    @property
    def readings(self) -> int:
        """How many readings there are."""
        return sum(len(part.readings) for part in self.parts)


async def read_windows(
    conn: Connection, extents: Sequence[Extent], wanted: Wanted, departures: Sequence[Departure] = ()
) -> AsyncGenerator[Window]:
    """Everything that is wanted, once, in order; `departures` are in the order of their batches."""
    place, last = min((each.first for each in extents), default=0), max((each.last for each in extents), default=-1)
    gone: list[Departure] = []
    for batch_seq, together in groupby(departures, key=lambda each: each.batch_seq):
        if batch_seq > place:
            end = min(batch_seq, last + 1)
            async for window in _read_between(conn, extents, wanted, (place, end)):
                yield replace(window, departures=gone)
                gone = []
            place = end
        gone += together
    async for window in _read_between(conn, extents, wanted, (place, last + 1)):
        yield replace(window, departures=gone)
        gone = []
    if gone:
        yield Window((), (), gone)


async def _read_between(
    conn: Connection, extents: Sequence[Extent], wanted: Wanted, places: tuple[int, int]
) -> AsyncGenerator[Window]:
    place, stop = places
    width = FIRST_WIDTH[wanted.base]
    while place < stop:
        end = min(place + width, stop)
        parts = [
            await read_part(conn, extent.table, place, end, wanted)
            for extent in extents
            if extent.first < end and extent.last >= place
        ]
        window = Window([part for part in parts if len(part.readings)], await read_told(conn, place, end, wanted))
        yield window
        place = end
        width = max(1, round(width * min(MOST_GROWTH, ROWS / max(window.readings, 1))))
