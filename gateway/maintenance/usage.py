"""Reads usage rollups: of a device by hour, by UTC day, or by the days of a time zone, which have 23 to 25 hours.

In the tables a counter's `rise` is what it rose by within its bucket. Here it is what it rose by since the last reading
before the bucket, so that the rises of any span add up to its rise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from zoneinfo import ZoneInfo

import msgspec
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from gateway.maintenance import rollup_columns
from gateway.maintenance.rollup_columns import STATISTICS, RolledMetric

Connection = AsyncConnection[TupleRow]


class Statistics(msgspec.Struct, gc=False):
    """One metric in one bucket, as the API writes it: a page has thousands, which nobody makes a second time."""

    n: int
    sum: float | None
    mean: float | None
    min: float | None
    max: float | None
    first: float | None
    last: float | None
    rise: float | None


class Usage(msgspec.Struct, gc=False):
    """What a device told in an hour or a day that begins at `start`; metrics by their names, in their order."""

    start: datetime
    model: str
    readings: int
    first_ts: datetime
    last_ts: datetime
    metrics: dict[str, Statistics]


@dataclass(frozen=True, slots=True)
class UsageTable:
    """The rollups of a product model, and which of its metrics are wanted, by column."""

    model: str
    source: str
    hour: str
    day: str
    metrics: Sequence[tuple[str, str]]


FIND_USAGE: LiteralString = """
SELECT r.model, t.table_name, r.hour_table, r.day_table, r.columns FROM rollup r JOIN reading_table t USING (model)
WHERE r.is_kept OR NOT %s
   OR (SELECT c.relkind FROM pg_class c WHERE c.oid = to_regclass(quote_ident(r.hour_table))) = 'v' -- TimescaleDB's
ORDER BY r.model
"""


async def find_usage(conn: Connection, wanted: Iterable[str], *, only_kept: bool = False) -> list[UsageTable]:
    """The rollups that there are, with the wanted metrics; with all, where none is named.

    Those that were turned off tell of what came until then only: whoever would read the readings else wants none.
    """
    names = set(wanted)
    rows = await (await conn.execute(FIND_USAGE, (only_kept,))).fetchall()
    return [
        UsageTable(
            model, source, hour, day, [(metric, column) for metric, column in columns if not names or metric in names]
        )
        for model, source, hour, day, columns in rows
    ]


READ_USAGE: LiteralString = """
SELECT bucket, readings, first_ts, last_ts{columns} FROM {table}
WHERE device_id = %(device_id)s AND bucket >= %(since)s AND bucket < %(until)s
ORDER BY bucket LIMIT %(limit)s
"""


async def read_usage(  # noqa: PLR0917 - of what, and from when to when
    conn: Connection, table: UsageTable, device_id: str, since: datetime, until: datetime, limit: int, *, by_day: bool
) -> list[Usage]:
    """A device's hours or UTC days in their order, with their steps, at most `limit`."""
    values = {"device_id": device_id, "since": since, "until": until, "limit": limit}
    async with conn.cursor(binary=True) as cursor:
        rows = await (await cursor.execute(usage_statement(table, by_day=by_day), values)).fetchall()
    return await with_steps(conn, table, device_id, usages(table, rows))


def usage_statement(table: UsageTable, *, by_day: bool) -> sql.Composed:
    """The rollups of one device, in their order."""
    columns = [sql.Identifier(f"{column}_{each}") for _, column in table.metrics for each in STATISTICS]
    return sql.SQL(READ_USAGE).format(
        table=sql.Identifier(table.day if by_day else table.hour),
        columns=sql.SQL("").join(sql.SQL(", ") + column for column in columns),
    )


# Put in order outside: a columnstore that is to deliver its groups in order takes many times as long.
READ_FLEET: LiteralString = """
WITH fleet AS MATERIALIZED (
  SELECT bucket, count(*) AS devices, sum({n}) AS n, sum({sum}) AS sum, min({min}) AS min, max({max}) AS max
  FROM {hour} WHERE bucket >= %(since)s AND bucket < %(until)s GROUP BY bucket
)
SELECT bucket, devices, n, sum, min, max FROM fleet ORDER BY bucket
"""


def fleet_statement(table: UsageTable) -> sql.Composed:
    """The first of the table's metrics over all devices of its model, by hour."""
    ((_, column), *_) = table.metrics
    names = {each: sql.Identifier(f"{column}_{each}") for each in ("n", "sum", "min", "max")}
    return sql.SQL(READ_FLEET).format(hour=sql.Identifier(table.hour), **names)


def usages(table: UsageTable, rows: Sequence[TupleRow]) -> list[Usage]:
    """Rows of a rollup: what each begins with, and a metric's statistics after another's."""
    width = len(STATISTICS)
    places = sorted((metric, 4 + width * number) for number, (metric, _) in enumerate(table.metrics))
    return [
        Usage(
            row[0],
            table.model,
            row[1],
            row[2],
            row[3],
            {metric: _statistics(*row[place : place + width]) for metric, place in places if row[place]},
        )
        for row in rows
    ]


def _statistics(  # noqa: PLR0917 - in the order of their columns
    n: int,
    total: float | None,
    low: float | None,
    high: float | None,
    first: float | None,
    last: float | None,
    rise: float | None,
) -> Statistics:
    return Statistics(n, total, None if total is None else total / n, low, high, first, last, rise)


LAST_OF_HOURS: LiteralString = """
SELECT {last} FROM {hour} WHERE device_id = %s AND bucket < %s AND {n} > 0 ORDER BY bucket DESC LIMIT 1
"""
LAST_OF_READINGS: LiteralString = """
SELECT {column} FROM {source} WHERE device_id = %s AND ts < %s AND {column} IS NOT NULL ORDER BY ts DESC LIMIT 1
"""


async def with_steps(
    conn: Connection, table: UsageTable, device_id: str, usage: list[Usage], *, of_readings: bool = False
) -> list[Usage]:
    """Add to each counter's rise what it rose by since the bucket before."""
    counters = _counters(usage)
    query = sql.SQL(LAST_OF_READINGS if of_readings else LAST_OF_HOURS)
    for metric, column in table.metrics:
        if metric in counters:
            statement = query.format(
                hour=sql.Identifier(table.hour),
                source=sql.Identifier(table.source),
                last=sql.Identifier(f"{column}_last"),
                n=sql.Identifier(f"{column}_n"),
                column=sql.Identifier(column),
            )
            row = await (await conn.execute(statement, (device_id, usage[0].start))).fetchone()
            add_steps(usage, metric, None if row is None else float(row[0]))
    return usage


def _counters(usage: Sequence[Usage]) -> set[str]:
    return {metric for one in usage for metric, found in one.metrics.items() if found.rise is not None}


def add_steps(usage: Sequence[Usage], metric: str, before: float | None) -> None:
    """Add to a counter's rise what it rose by since the bucket before, or since the value `before` them all."""
    for one in usage:
        found = one.metrics.get(metric)
        if found is not None and found.rise is not None and found.first is not None and found.last is not None:
            if before is not None:
                found.rise += rise_of(before, found.first)
            before = found.last


def rise_of(before: float, value: float) -> float:
    """What a counter rose by: after a fall to less than half it was reset, a smaller one counts for nothing."""
    if value >= before:
        return value - before
    return value if value < before / 2 else 0.0


def day_of(moment: datetime, zone: ZoneInfo) -> datetime:
    """When the zone's day began in which a moment lies; where midnight was left out, the first moment after it."""
    local = moment.astimezone(zone)
    start = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return start.astimezone(ZoneInfo("UTC"))


READ_ZONE_DAYS: LiteralString = """
SELECT date_trunc('day', bucket, %(zone)s) AS day, sum(readings)::integer, min(first_ts), max(last_ts){sums}
FROM {hour} WHERE device_id = %(device_id)s AND bucket >= %(since)s AND bucket < %(until)s
GROUP BY day ORDER BY day LIMIT %(limit)s
"""


async def read_zone_days(  # noqa: PLR0917 - of what, whose days, and from when to when
    conn: Connection,
    table: UsageTable,
    zone: ZoneInfo,
    device_id: str,
    since: datetime,
    until: datetime,
    limit: int,
) -> list[Usage]:
    """The days of a zone, those of 23 and 25 hours too, at most `limit`; `since` is when one of them begins."""
    metrics = [RolledMetric(metric, column, is_counter=False) for metric, column in table.metrics]
    statement = sql.SQL(READ_ZONE_DAYS).format(hour=sql.Identifier(table.hour), sums=rollup_columns.sums(metrics))
    hour = since.replace(minute=0, second=0, microsecond=0)  # in which a day may begin, and the one before it end
    values = {"zone": zone.key, "device_id": device_id, "since": hour, "until": until, "limit": limit + 1}
    async with conn.cursor(binary=True) as cursor:
        rows = await (await cursor.execute(statement, values)).fetchall()
    days = usages(table, rows)
    if all(_is_whole(day, zone) for day in days):
        return await with_steps(conn, table, device_id, days[:limit])
    return await _read_days(conn, table, days, zone, device_id, since, until)


def _is_whole(day: Usage, zone: ZoneInfo) -> bool:
    """Whether the zone's midnights lie between hours there, rather than within some."""
    hours = (moment.replace(minute=0, second=0, microsecond=0) for moment in (day.first_ts, day.last_ts))
    return day.start.minute == 0 and all(hour.astimezone(zone).minute == 0 for hour in hours)


READ_DAYS: LiteralString = """
SELECT bucket, count(*)::integer, min(r.ts), max(r.ts){aggregates}
FROM (
  SELECT date_trunc('day', ts, %(zone)s) AS bucket, ts{values} FROM {source}
  WHERE device_id = %(device_id)s AND ts >= %(since)s AND ts < %(until)s
) r
GROUP BY bucket ORDER BY bucket LIMIT %(limit)s
"""


async def _read_days(  # noqa: PLR0917 - of what, whose days, and from when to when
    conn: Connection,
    table: UsageTable,
    days: Sequence[Usage],
    zone: ZoneInfo,
    device_id: str,
    since: datetime,
    until: datetime,
) -> list[Usage]:
    """The days of a zone whose midnights lie within hours, from the readings; `days` are those of whole hours."""
    counters = _counters(days)
    metrics = [RolledMetric(metric, column, metric in counters) for metric, column in table.metrics]
    statement = sql.SQL(READ_DAYS).format(
        source=sql.Identifier(table.source),
        values=rollup_columns.values(metrics),
        aggregates=rollup_columns.aggregates(metrics),
    )
    values = {
        "zone": zone.key,
        "device_id": device_id,
        "since": max(since, day_of(days[0].start, zone)),
        "until": min(until, days[-1].last_ts + timedelta(hours=1)),
        "limit": len(days) + 1,
    }
    rows = await (await conn.execute(statement, values)).fetchall()
    return await with_steps(conn, table, device_id, usages(table, rows), of_readings=True)
