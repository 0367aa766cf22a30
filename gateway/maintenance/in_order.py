"""Puts what the rollups hold of a past day, or month, in the order of devices on disk.

Hours are rolled up as time goes by, so that a device's lie a page each. Once a day is over its hours are written again,
device by device: 24 of them share two or three pages, while the fleet's day lies where it lay, for who reads that. The
days of a month follow once it is over. Rows are moved by deleting and inserting them in one statement: readers see them
all the while, a crash leaves them where they were, and late readings find theirs as ever.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, LiteralString, NamedTuple

from psycopg import sql
from psycopg.errors import LockNotAvailable

from gateway.maintenance.rollup_columns import RollupTables
from gateway.maintenance.sessions import Connection, maintaining, unhurried
from gateway.store.spans import spans_of
from gateway.store.times import us_of_all

LATE: Final = timedelta(hours=6)
"""What is told so long after the end of a day lies in its order, too."""
DEVICES_AT_ONCE: Final = 500
_LONGEST_MONTH: Final = timedelta(days=31)


class Shelf(NamedTuple):
    """One of a model's two rollups, and in which spans it is put in order."""

    tables: RollupTables
    is_daily: bool

    @property
    def table(self) -> str:
        """The rollup's name."""
        return self.tables.day if self.is_daily else self.tables.hour

    @property
    def mark(self) -> sql.Identifier:
        """Where it is written down how far it has come."""
        return sql.Identifier("days_in_order_to" if self.is_daily else "hours_in_order_to")

    def start_of(self, moment: datetime) -> datetime:
        """When the span began in which a moment lies: a day of hours, or a month of days."""
        day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return day.replace(day=1) if self.is_daily else day

    def end_of(self, start: datetime) -> datetime:
        """When the span ends that began so."""
        return self.start_of(start + (_LONGEST_MONTH if self.is_daily else timedelta(days=1)))


class _Place(NamedTuple):
    """Where it is: in which span of what, and after which device."""

    shelf: Shelf
    mark: datetime | None
    start: datetime
    after: str = ""


class InOrder:
    """Puts spans that are over in order, some devices at a time, the oldest first."""

    def __init__(self) -> None:
        self._place: _Place | None = None
        self._done: dict[tuple[str, bool], datetime] = {}  # up to when nothing is left to do

    async def advance(self, conn: Connection, models: Iterable[RollupTables], now: datetime) -> bool:
        """Move the rows of some devices; whether there were any."""
        if self._place is None:
            self._place = await self._find(conn, models, now)
        place = self._place
        if place is None:
            return False
        async with maintaining(conn):
            last = await move_some(conn, place.shelf, place.start, place.after)
        if last is not None:
            self._place = place._replace(after=last)
            return True
        await vacuum(conn, place.shelf, place.start)
        async with maintaining(conn):
            await put_mark(conn, place.shelf, place.mark, place.shelf.end_of(place.start))
        self._place = None
        return True

    async def _find(self, conn: Connection, models: Iterable[RollupTables], now: datetime) -> _Place | None:
        for shelf in (Shelf(tables, is_daily) for tables in models for is_daily in (False, True)):
            name, until = (shelf.tables.model, shelf.is_daily), shelf.start_of(now - LATE)
            if self._done.get(name) != until:
                mark = await read_mark(conn, shelf)
                first = await first_bucket(conn, shelf, mark, until)
                if first is not None:
                    return _Place(shelf, mark, shelf.start_of(first))
                self._done[name] = until
        return None

    def forget(self) -> None:
        """Look again for what is to be done: something went wrong, or some of it was dropped."""
        self._place = None
        self._done.clear()


READ_MARK: LiteralString = "SELECT {mark} FROM rollup WHERE model = %s"


async def read_mark(conn: Connection, shelf: Shelf) -> datetime | None:
    """Up to when it is in order; None for not at all."""
    statement = sql.SQL(READ_MARK).format(mark=shelf.mark)
    row = await (await conn.execute(statement, (shelf.tables.model,))).fetchone()
    return row[0] if row else None


PUT_MARK: LiteralString = """
UPDATE rollup SET {mark} = %(end)s WHERE model = %(model)s AND {mark} IS NOT DISTINCT FROM %(before)s
"""


async def put_mark(conn: Connection, shelf: Shelf, before: datetime | None, end: datetime) -> None:
    """Note that it is in order up to here, unless somebody has had it begin anew."""
    statement = sql.SQL(PUT_MARK).format(mark=shelf.mark)
    await conn.execute(statement, {"model": shelf.tables.model, "before": before, "end": end})


FIRST_BUCKET: LiteralString = """
SELECT min(bucket) FROM {table} WHERE bucket >= coalesce(%(since)s::timestamptz, '-infinity') AND bucket < %(until)s
"""


async def first_bucket(conn: Connection, shelf: Shelf, since: datetime | None, until: datetime) -> datetime | None:
    """The first that is there from one moment on, before another."""
    statement = sql.SQL(FIRST_BUCKET).format(table=sql.Identifier(shelf.table))
    row = await (await conn.execute(statement, {"since": since, "until": until})).fetchone()
    return row[0] if row else None


# Every device with an hour in a day has its row of that day, unless days are kept less long than hours.
SOME_DEVICES: LiteralString = """
SELECT DISTINCT device_id FROM {day} WHERE bucket >= %(start)s AND bucket < %(end)s AND device_id > %(after)s
ORDER BY device_id LIMIT %(limit)s
"""
# Sorting waits for the last row to be deleted, so that none is met twice. Whole rows, whatever columns have been added.
MOVE: LiteralString = """
WITH gone AS (
  DELETE FROM {table} WHERE device_id = ANY (%(devices)s) AND bucket >= %(start)s AND bucket < %(end)s RETURNING *
)
INSERT INTO {table} SELECT * FROM gone ORDER BY device_id, bucket
"""


async def move_some(conn: Connection, shelf: Shelf, start: datetime, after: str) -> str | None:
    """Write the span's rows of some devices, one device after the other; the last of them, None when it is through."""
    values = {"start": start, "end": shelf.end_of(start), "after": after, "limit": DEVICES_AT_ONCE}
    find = sql.SQL(SOME_DEVICES).format(day=sql.Identifier(shelf.tables.day))
    devices = [row[0] for row in await (await conn.execute(find, values)).fetchall()]
    move = sql.SQL(MOVE).format(table=sql.Identifier(shelf.table))
    await conn.execute(move, {**values, "devices": devices})
    return devices[-1] if len(devices) == DEVICES_AT_ONCE else None


VACUUM: LiteralString = "VACUUM {partition}"


async def vacuum(conn: Connection, shelf: Shelf, start: datetime) -> None:
    """Free the space where the rows lay, for those of the next span; left to the server where it is at it already."""
    (span,) = spans_of(us_of_all([start]))
    partition = sql.Identifier(f"{shelf.table}_{span.suffix}")
    try:
        async with unhurried(conn):
            # Never prepared: TimescaleDB (2.19) may crash the server over a kept VACUUM that has failed before.
            await conn.execute(sql.SQL(VACUUM).format(partition=partition), prepare=False)
    except LockNotAvailable:
        return
