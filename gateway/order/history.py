"""A device's stored readings in the order of their own time, a page at a time, for several devices at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

import numpy as np
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from gateway.store.rows import Readings, ReadingTable, floats_of
from gateway.store.times import datetime_of, us_of, us_of_all

Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far back a history goes."""

    span_us: int  # before the device's newest reading
    readings: int


FIND_START: LiteralString = """
SELECT wanted.device_id, min(kept.ts)
FROM unnest(%(device_ids)s::text[]) AS wanted (device_id)
CROSS JOIN LATERAL (SELECT max(ts) AS ts FROM {table} t WHERE t.device_id = wanted.device_id) AS newest
LEFT JOIN LATERAL (
    SELECT max(forgotten_at) AS at FROM forgotten_device f WHERE f.device_id = wanted.device_id
) AS forgotten ON true
CROSS JOIN LATERAL (
    SELECT t.ts FROM {table} t
    WHERE t.device_id = wanted.device_id
      AND t.ts >= greatest(newest.ts - %(span_us)s * interval '1 microsecond', forgotten.at)
    ORDER BY t.ts DESC LIMIT %(readings)s
) AS kept
GROUP BY wanted.device_id
"""


async def find_starts(
    conn: Connection, table: ReadingTable, device_ids: Sequence[str], bounds: Bounds
) -> dict[str, int]:
    """Device time of the first reading of each device's history, microseconds: since it was forgotten, if it was."""
    statement = sql.SQL(FIND_START).format(table=sql.Identifier(table.name))
    values = {"device_ids": list(device_ids), "span_us": bounds.span_us, "readings": bounds.readings}
    return {row[0]: us_of(row[1]) for row in await (await conn.execute(statement, values)).fetchall()}


READ_PAGE: LiteralString = """
SELECT wanted.device_id, page.*
FROM unnest(%(device_ids)s::text[], %(afters)s::timestamptz[]) WITH ORDINALITY AS wanted (device_id, after, place)
CROSS JOIN LATERAL (
    SELECT t.ts, t.extra, {columns} FROM {table} t
    WHERE t.device_id = wanted.device_id AND t.ts > wanted.after ORDER BY t.ts LIMIT %(limit)s
) AS page
ORDER BY wanted.place, page.ts
"""


async def read_page(conn: Connection, table: ReadingTable, afters: Mapping[str, int], limit: int) -> Readings:
    """The next readings of each device after a moment of its own time, microseconds; each device's in order of time."""
    columns = [sql.SQL("t.{}").format(sql.Identifier(column)) for column in table.columns] or [sql.SQL("NULL")]
    statement = sql.SQL(READ_PAGE).format(table=sql.Identifier(table.name), columns=sql.SQL(", ").join(columns))
    values = {"device_ids": list(afters), "afters": [datetime_of(us) for us in afters.values()], "limit": limit}
    async with conn.cursor(binary=True) as cursor:
        rows = await (await cursor.execute(statement, values)).fetchall()
    count = len(table.columns)
    index_of: dict[str, int] = {}
    device = np.array([index_of.setdefault(row[0], len(index_of)) for row in rows], np.int32)
    ts_us = us_of_all([row[1] for row in rows])
    nothing = np.zeros(len(rows), np.int32)
    return Readings(
        table=table,
        device_ids=tuple(index_of),
        device=device,
        ts_us=ts_us,
        received_us=ts_us,
        seq=np.zeros(len(rows), np.int64),
        values=np.array([row[3 : 3 + count] for row in rows], np.float64).reshape(len(rows), count),
        extra={position: floats_of(row[2]) for position, row in enumerate(rows) if row[2]},
        packet=nothing,
        element=nothing,
        row=np.arange(len(rows), dtype=np.int32),
    )
