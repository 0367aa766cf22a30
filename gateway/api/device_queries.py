"""What is stored of one device: its readings, and how many there are; read only, on the caller's connection.

Thousands of rows go out with one request, so they come as the database sends them, in binary, and are checked by
nobody on their way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, NamedTuple

import msgspec
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from gateway.maintenance.usage import UsageTable, find_usage
from gateway.store.rows import ReadingTable
from gateway.store.tables import read_tables

Connection = AsyncConnection[TupleRow]


class StoredReading(msgspec.Struct, omit_defaults=True):
    """One stored reading; what it does not say is left out."""

    ts: datetime
    received_at: datetime | None = None
    seq: int | None = None
    metrics: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Of which device, between which moments (both excluded), and how many at most."""

    device_id: str
    after: datetime
    until: datetime
    limit: int
    newest_first: bool = False


READINGS_OF_DEVICE: LiteralString = """
SELECT {columns} FROM {table}
WHERE device_id = %(device_id)s AND ts > %(after)s AND ts < %(until)s
ORDER BY ts {direction} LIMIT %(limit)s
"""


def readings_statement(table: ReadingTable, *, newest_first: bool = False, only_ts: bool = False) -> sql.Composed:
    """A device's readings in the order of time: ts alone, or ts, received_at, seq, extra and each metric's column."""
    names = ("ts",) if only_ts else ("ts", "received_at", "seq", "extra", *table.columns)
    return sql.SQL(READINGS_OF_DEVICE).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, names)),
        table=sql.Identifier(table.name),
        direction=sql.SQL("DESC" if newest_first else "ASC"),
    )


class Held(NamedTuple):
    """A table that holds readings of a device, and from when to when they are."""

    table: ReadingTable
    first_ts: datetime
    last_ts: datetime


ENDS_OF_DEVICE: LiteralString = """
SELECT {number}, (SELECT min(ts) FROM {table} WHERE device_id = %(device_id)s),
                 (SELECT max(ts) FROM {table} WHERE device_id = %(device_id)s)
"""


async def find_held(conn: Connection, device_id: str) -> list[Held]:
    """Where readings of a device lie: of all tables, which are as many as there are product models, in one or two."""
    tables = await read_tables(conn)
    if not tables:
        return []
    ends = sql.SQL("UNION ALL").join(
        sql.SQL(ENDS_OF_DEVICE).format(number=sql.Literal(number), table=sql.Identifier(table.name))
        for number, table in enumerate(tables)
    )
    rows = await (await conn.execute(ends, {"device_id": device_id})).fetchall()
    return [Held(tables[number], first, last) for number, first, last in rows if first is not None]


async def list_readings(
    conn: Connection, held: Sequence[Held], asked: Stretch, *, only_ts: bool = False
) -> list[StoredReading]:
    """Readings of a device from all tables that hold some of it, by time."""
    found: list[StoredReading] = []
    values = {"device_id": asked.device_id, "after": asked.after, "until": asked.until, "limit": asked.limit}
    async with conn.cursor(binary=True) as cursor:
        for table in (each.table for each in held if each.last_ts > asked.after and each.first_ts < asked.until):
            statement = readings_statement(table, newest_first=asked.newest_first, only_ts=only_ts)
            rows = await (await cursor.execute(statement, values)).fetchall()
            found += [StoredReading(row[0]) for row in rows] if only_ts else map(_reader_of(table), rows)
    found.sort(key=lambda reading: reading.ts, reverse=asked.newest_first)
    return found[: asked.limit]


def _reader_of(table: ReadingTable) -> Callable[[Sequence[Any]], StoredReading]:
    def read(row: Sequence[Any]) -> StoredReading:
        ts, received_at, seq, extra, *values = row
        metrics: dict[str, object] = dict(extra) if extra else {}
        metrics.update((name, value) for name, value in zip(table.metrics, values, strict=True) if value is not None)
        return StoredReading(ts, received_at, seq, metrics)

    return read


class Summary(NamedTuple):
    """What the gateway holds of a device."""

    stored: int
    first_ts: datetime | None
    last_ts: datetime | None
    known_since: datetime | None  # the first reading, though it be stored no longer and only its day remain
    quarantined: int


COUNT_QUARANTINED: LiteralString = """
SELECT count(*) FROM quarantine WHERE tenant_id = %(tenant_id)s AND device_id = %(device_id)s
"""


async def summarise_device(conn: Connection, held: Sequence[Held], tenant_id: str, device_id: str) -> Summary:
    """How many readings of a device are stored, from when to when, and how many lie in quarantine.

    Counted by the day from the usage rollups as far as these have come; so what comes late counts a minute later.
    """
    usage = {table.model: table for table in await find_usage(conn, (), only_kept=True)} if held else {}
    counted = [await _count(conn, each, usage.get(each.table.model), device_id) for each in held]
    row = await (await conn.execute(COUNT_QUARANTINED, {"tenant_id": tenant_id, "device_id": device_id})).fetchone()
    return Summary(
        stored=sum(stored for stored, _ in counted),
        first_ts=min((each.first_ts for each in held), default=None),
        last_ts=max((each.last_ts for each in held), default=None),
        known_since=min((since for _, since in counted), default=None),
        quarantined=0 if row is None else int(row[0]),
    )


ROLLED_OF_DEVICE: LiteralString = """
SELECT coalesce(sum(readings) FILTER (WHERE bucket >= %(since)s), 0)::bigint,
       max(last_ts) FILTER (WHERE bucket >= %(since)s), min(first_ts)
FROM {day} WHERE device_id = %(device_id)s
"""
COUNT_OF_DEVICE: LiteralString = """
SELECT count(*) FROM {table} WHERE device_id = %(device_id)s AND ts >= %(since)s AND ts < %(until)s
"""
_MOMENT = timedelta(microseconds=1)


async def _count(conn: Connection, held: Held, usage: UsageTable | None, device_id: str) -> tuple[int, datetime]:
    """How many readings a table holds, and when the first one was that it ever held.

    Whole days are counted from the rollup; the first one, part of which may be retired, and the last one are not.
    """
    names = {"table": sql.Identifier(held.table.name), "day": sql.Identifier(usage.day if usage else "")}
    tomorrow = _day_after(held.first_ts)
    stored, rolled_to, first_ever = 0, None, None
    if usage is not None:
        rolled = sql.SQL(ROLLED_OF_DEVICE).format(**names)
        row = await (await conn.execute(rolled, {"device_id": device_id, "since": tomorrow})).fetchone()
        stored, rolled_to, first_ever = row or (0, None, None)
    count = sql.SQL(COUNT_OF_DEVICE).format(**names)
    beyond = tomorrow if rolled_to is None else rolled_to + _MOMENT
    for since, until in ((held.first_ts, tomorrow), (beyond, held.last_ts + _MOMENT)):
        if since < until:
            values = {"device_id": device_id, "since": since, "until": until}
            row = await (await conn.execute(count, values)).fetchone()
            stored += row[0] if row else 0
    return stored, held.first_ts if first_ever is None else min(first_ever, held.first_ts)


def _day_after(moment: datetime) -> datetime:
    """When the next day begins, of UTC as the rollups' days do."""
    start = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return start + timedelta(days=1) if start.year < 9999 else moment.replace(tzinfo=UTC)  # noqa: PLR2004 - the last
