"""Writes readings so that each identity is stored once, however often it is told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

import msgspec
import numpy as np
from psycopg import AsyncConnection, sql
from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow

from gateway.store.binary_copy import FIXED_COLUMNS, Encode, encode_by_device
from gateway.store.identity import Taken, all_new, classify, merge_fills
from gateway.store.rows import Extra, Fate, Fill, Longs, Readings, ReadingTable, StoredReadings, floats_of
from gateway.store.times import datetime_of, datetimes_of, us_of_all

Connection = AsyncConnection[TupleRow]


def _nothing() -> None:
    return None


async def store_readings(
    conn: Connection,
    readings: Readings,
    batch_seq: int,
    *,
    expect_duplicates: bool,
    encode: Encode = encode_by_device,
    meanwhile: Callable[[], None] = _nothing,
) -> StoredReadings:
    """Write the readings of one product model, in the caller's transaction.

    A COPY that succeeds proves that every row is new. One that fails is undone to a savepoint, and one statement says
    which identities are taken; where duplicates are expected, that statement comes first. `meanwhile` is called when
    everything is sent, and the database has its work to do.
    """
    if not expect_duplicates:
        try:
            async with conn.transaction():
                await copy_readings(conn, readings, batch_seq, encode, meanwhile)
        except UniqueViolation:
            pass
        else:
            return all_new(readings)
    stored = classify(readings, await find_taken(conn, readings))
    if len(stored.new):
        await copy_readings(conn, stored.new, batch_seq, encode, meanwhile)
    if stored.fills:
        await fill_readings(conn, readings.table, stored.fills)
    return stored


def has_duplicates(stored: StoredReadings) -> bool:
    """Whether an identity was told again, so that the next batch may well go on with it."""
    return bool((stored.fates != Fate.NEW).any())


COPY_READINGS: LiteralString = "COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)"


async def copy_readings(
    conn: Connection,
    readings: Readings,
    batch_seq: int,
    encode: Encode = encode_by_device,
    meanwhile: Callable[[], None] = _nothing,
) -> None:
    """Append readings. Raises UniqueViolation when an identity is taken."""
    told, buffer = encode(readings, batch_seq)
    names = (*FIXED_COLUMNS, *(readings.table.columns[column] for column in told), "extra")
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    statement = sql.SQL(COPY_READINGS).format(table=sql.Identifier(readings.table.name), columns=columns)
    async with conn.cursor() as cursor, cursor.copy(statement) as copy:
        await copy.write(buffer)
        meanwhile()


# One look into the key for each: a join may be planned as every identity held against every row, where the newest rows
# came after the last ANALYZE.
FIND_TAKEN: LiteralString = """
SELECT wanted.position, t.extra, {columns}
FROM unnest(%(device_ids)s::text[], %(ts)s::timestamptz[]) WITH ORDINALITY AS wanted (device_id, ts, position)
CROSS JOIN LATERAL (
    SELECT * FROM {table} r
    WHERE r.device_id = wanted.device_id AND r.ts = wanted.ts AND r.ts BETWEEN %(first)s AND %(last)s LIMIT 1
) AS t
ORDER BY wanted.position
"""


async def find_taken(conn: Connection, readings: Readings) -> Taken:
    """The stored readings that bear an identity of these."""
    table = readings.table
    columns = [sql.SQL("t.{}").format(sql.Identifier(column)) for column in table.columns] or [sql.SQL("NULL")]
    statement = sql.SQL(FIND_TAKEN).format(table=sql.Identifier(table.name), columns=sql.SQL(", ").join(columns))
    ts = datetimes_of(readings.ts_us)
    device: list[int] = readings.device.tolist()
    wanted: dict[str, object] = {
        "device_ids": [readings.device_ids[index] for index in device],
        "ts": ts,
        "first": min(ts),
        "last": max(ts),
    }
    async with conn.cursor(binary=True) as cursor:
        rows = await (await cursor.execute(statement, wanted, prepare=False)).fetchall()  # planned for the table's size
    count = len(table.columns)
    values = np.array([row[2 : 2 + count] for row in rows], np.float64).reshape(len(rows), count)
    extra = {index: floats_of(row[1]) for index, row in enumerate(rows) if row[1]}
    return Taken(np.array([row[0] - 1 for row in rows], np.intp), values, extra)


FILL_READINGS: LiteralString = """
UPDATE {table} t SET {assignments}
FROM unnest(%(device_ids)s::text[], %(ts)s::timestamptz[], %(columns)s::jsonb[], %(extra)s::jsonb[])
     AS told (device_id, ts, columns, extra)
WHERE t.device_id = told.device_id AND t.ts = told.ts AND t.ts BETWEEN %(first)s AND %(last)s
"""
FILLED_AT_ONCE: Final = 100  # so few are looked up by their key, whatever the planner believes of the newest rows
ASSIGN_COLUMN: LiteralString = "{column} = coalesce(t.{column}, (told.columns ->> {metric})::double precision)"
ASSIGN_EXTRA: LiteralString = "extra = coalesce(t.extra || told.extra, told.extra, t.extra)"


async def fill_readings(conn: Connection, table: ReadingTable, fills: Sequence[Fill]) -> None:
    """Complete stored readings with metrics that they lack."""
    column_of = dict(zip(table.metrics, table.columns, strict=True))
    merged = list(merge_fills(fills))
    filled = sorted({name for fill in merged for name in fill.metrics if name in column_of})
    assignments = [
        sql.SQL(ASSIGN_COLUMN).format(column=sql.Identifier(column_of[name]), metric=sql.Literal(name))
        for name in filled
    ]
    statement = sql.SQL(FILL_READINGS).format(
        table=sql.Identifier(table.name),
        assignments=sql.SQL(", ").join([*assignments, sql.SQL(ASSIGN_EXTRA)]),
    )
    for start in range(0, len(merged), FILLED_AT_ONCE):
        values = _filling(merged[start : start + FILLED_AT_ONCE], column_of)
        await conn.execute(statement, values, prepare=False)


def _filling(fills: Sequence[Fill], column_of: Mapping[str, str]) -> dict[str, object]:
    ts = [datetime_of(fill.ts_us) for fill in fills]
    return {
        "device_ids": [fill.device_id for fill in fills],
        "ts": ts,
        "columns": [_json({name: fill.metrics[name] for name in fill.metrics if name in column_of}) for fill in fills],
        "extra": [
            _json({name: fill.metrics[name] for name in fill.metrics if name not in column_of}) or None
            for fill in fills
        ],
        "first": min(ts),
        "last": max(ts),
    }


def _json(metrics: Extra) -> str | None:
    return msgspec.json.encode(metrics).decode() if metrics else None


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Stored readings of some batches, by batch and arrival position: their `Readings`, and each one's `batch_seq`."""

    readings: Readings
    batch_seq: Longs


READ_BATCHES: LiteralString = """
SELECT device_id, ts, batch_seq, batch_row, extra, received_at, coalesce(seq, -1), {columns}
FROM {table}
WHERE batch_seq > %(after)s AND batch_seq <= %(until)s
ORDER BY batch_seq, batch_row
"""


async def read_batches(conn: Connection, table: ReadingTable, after: int, until: int) -> ReadBack:
    """What the batches after one and up to another have stored for a product model."""
    columns = [sql.Identifier(column) for column in table.columns] or [sql.SQL("NULL")]
    statement = sql.SQL(READ_BATCHES).format(table=sql.Identifier(table.name), columns=sql.SQL(", ").join(columns))
    async with conn.cursor(binary=True) as cursor:
        rows = await (await cursor.execute(statement, {"after": after, "until": until})).fetchall()
    return read_back(table, rows)


def read_back(table: ReadingTable, rows: Sequence[TupleRow]) -> ReadBack:
    """Rows of device, time, batch, row, extra, receipt, sequence number, then the table's columns, as readings."""
    count = len(table.columns)
    index_of: dict[str, int] = {}
    device = np.array([index_of.setdefault(row[0], len(index_of)) for row in rows], np.int32)
    nothing = np.zeros(len(rows), np.int32)
    ts_us = us_of_all([row[1] for row in rows])
    readings = Readings(
        table=table,
        device_ids=tuple(index_of),
        device=device,
        ts_us=ts_us,
        received_us=us_of_all([row[5] for row in rows]),
        seq=np.array([row[6] for row in rows], np.int64),
        values=np.array([row[7 : 7 + count] for row in rows], np.float64).reshape(len(rows), count),
        extra={position: floats_of(row[4]) for position, row in enumerate(rows) if row[4]},
        packet=nothing,
        element=nothing,
        row=np.array([row[3] for row in rows], np.int32),
    )
    return ReadBack(readings, np.array([row[2] for row in rows], np.int64))
