"""Stored history, read again in the order in which it became known; nothing here writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, LiteralString

import numpy as np
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from gateway.store.readings import read_back
from gateway.store.rows import EventRow, Longs, Readings, ReadingTable
from gateway.store.times import datetime_of, us_of

Connection = AsyncConnection[TupleRow]


class TimeBase(StrEnum):
    """By which time history goes."""

    RECEIVED = "received"  # when each reading reached the gateway: as it was lived
    DEVICE = "device"  # when it was measured: for history that was brought in all at once


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of history; microseconds of the chosen time, the end not included."""

    since_us: int
    until_us: int
    base: TimeBase = TimeBase.RECEIVED
    device_ids: tuple[str, ...] = ()  # none: all

    @property
    def values(self) -> dict[str, object]:
        """For a statement."""
        return {
            "since": datetime_of(self.since_us),
            "until": datetime_of(self.until_us),
            "devices": list(self.device_ids) or None,
        }


@dataclass(frozen=True, slots=True)
class Extent:
    """What of one table is wanted, and between which places: numbers of batches, or microseconds of device time."""

    table: ReadingTable
    first: int
    last: int
    readings: int
    device_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Part:
    """Readings of one product model, and when each became known, int64[n] microseconds, never falling."""

    readings: Readings
    at_us: Longs


TIME: Final[Mapping[TimeBase, sql.SQL]] = {
    TimeBase.RECEIVED: sql.SQL("received_at"),
    TimeBase.DEVICE: sql.SQL("ts"),
}
PLACE: Final[Mapping[TimeBase, sql.SQL]] = {
    TimeBase.RECEIVED: sql.SQL("batch_seq"),
    TimeBase.DEVICE: sql.SQL("ts"),
}
ORDER: Final[Mapping[TimeBase, sql.SQL]] = {
    TimeBase.RECEIVED: sql.SQL("batch_seq, batch_row"),
    TimeBase.DEVICE: sql.SQL("ts, device_id"),
}

FIND_EXTENT: LiteralString = """
SELECT min(first), max(last), sum(readings)::bigint, array_agg(device_id) FROM (
    SELECT device_id, min({place}) AS first, max({place}) AS last, count(*) AS readings FROM {table}
    WHERE {time} >= %(since)s AND {time} < %(until)s AND (%(devices)s::text[] IS NULL OR device_id = ANY(%(devices)s))
    GROUP BY device_id
) AS each
"""


async def find_extents(conn: Connection, tables: Sequence[ReadingTable], wanted: Wanted) -> list[Extent]:
    """Where the wanted readings are; tables without any are left out."""
    found: list[Extent] = []
    for table in tables:
        names = {"place": PLACE[wanted.base], "time": TIME[wanted.base], "table": sql.Identifier(table.name)}
        row = await (await conn.execute(sql.SQL(FIND_EXTENT).format(**names), wanted.values)).fetchone()
        if row is not None and row[2]:
            first, last = (value if isinstance(value, int) else us_of(value) for value in row[:2])
            found.append(Extent(table, first, last, row[2], frozenset(row[3])))
    return found


READ_PART: LiteralString = """
SELECT device_id, ts, batch_seq, batch_row, extra, received_at, coalesce(seq, -1), {columns}
FROM {table}
WHERE {place} >= %(first)s AND {place} < %(end)s AND {time} >= %(since)s AND {time} < %(until)s
  AND (%(devices)s::text[] IS NULL OR device_id = ANY(%(devices)s))
ORDER BY {order}
"""


async def read_part(conn: Connection, table: ReadingTable, first: int, end: int, wanted: Wanted) -> Part:
    """The readings of one table from a place up to another, in the order in which they became known."""
    columns = [sql.Identifier(column) for column in table.columns] or [sql.SQL("NULL")]
    statement = sql.SQL(READ_PART).format(
        columns=sql.SQL(", ").join(columns),
        table=sql.Identifier(table.name),
        place=PLACE[wanted.base],
        time=TIME[wanted.base],
        order=ORDER[wanted.base],
    )
    async with conn.cursor(binary=True) as cursor:
        rows = await (await cursor.execute(statement, _between(first, end, wanted))).fetchall()
    readings = read_back(table, rows).readings
    at_us = readings.received_us if wanted.base is TimeBase.RECEIVED else readings.ts_us
    return Part(readings, np.maximum.accumulate(at_us))


READ_TOLD: LiteralString = """
SELECT tenant_id, device_id, ts, code, seq, received_at, batch_row FROM (
    SELECT tenant_id, device_id, ts, code, seq, received_at, batch_seq, batch_row FROM device_event
    WHERE {place} >= %(first)s AND {place} < %(end)s
    UNION ALL
    SELECT tenant_id, device_id, ts, code, seq, received_at, batch_seq, batch_row FROM device_status
    WHERE {place} >= %(first)s AND {place} < %(end)s
) AS told
WHERE {time} >= %(since)s AND {time} < %(until)s
  AND (%(devices)s::text[] IS NULL OR device_id = ANY(%(devices)s))
ORDER BY {order}
"""


async def read_told(conn: Connection, first: int, end: int, wanted: Wanted) -> list[EventRow]:
    """Events and statuses from a place up to another, without their data."""
    names = {"place": PLACE[wanted.base], "time": TIME[wanted.base], "order": ORDER[wanted.base]}
    rows = await (await conn.execute(sql.SQL(READ_TOLD).format(**names), _between(first, end, wanted))).fetchall()
    return [
        EventRow(tenant_id, device_id, us_of(ts), code, seq, None, us_of(received_at), 0, 0, row)
        for tenant_id, device_id, ts, code, seq, received_at, row in rows
    ]


def _between(first: int, end: int, wanted: Wanted) -> dict[str, object]:
    if wanted.base is TimeBase.RECEIVED:
        return {**wanted.values, "first": first, "end": end}
    return {**wanted.values, "first": datetime_of(first), "end": datetime_of(end)}
