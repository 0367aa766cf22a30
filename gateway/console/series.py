"""Values of a device as charts want them: thinned by the database, so that a year costs no more than a day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import numpy as np
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from devices.clock import to_datetime
from gateway.api.device_queries import find_held
from gateway.console.chart import Floats
from gateway.console.show import DAY_S, HOUR_S
from gateway.maintenance.usage import UsageTable, find_usage, read_usage
from gateway.store.rows import ReadingTable

Connection = AsyncConnection[TupleRow]

BUCKETS: Final = 600


@dataclass(frozen=True, slots=True)
class Stretch:
    """A device's time from one moment to another, in device time."""

    device_id: str
    since_s: float
    until_s: float

    def values(self, buckets: int = BUCKETS) -> dict[str, Any]:
        """As parameters of a query."""
        return {
            "device_id": self.device_id,
            "since": to_datetime(self.since_s),
            "until": to_datetime(self.until_s),
            "step_s": max((self.until_s - self.since_s) / buckets, 1.0),
        }


# Of each step the least and the greatest value, so that no spike is lost; all metrics in one pass.
_OF_READINGS: Final[LiteralString] = """
SELECT min(extract(epoch FROM ts))::float8{extremes} FROM {table}
WHERE device_id = %(device_id)s AND ts >= %(since)s AND ts < %(until)s
GROUP BY floor(extract(epoch FROM ts) / %(step_s)s) ORDER BY 1
"""
_OF_ROLLUP: Final[LiteralString] = """
SELECT min(extract(epoch FROM bucket) + %(middle_s)s)::float8{extremes} FROM {table}
WHERE device_id = %(device_id)s AND bucket >= %(since)s AND bucket < %(until)s
GROUP BY floor(extract(epoch FROM bucket) / %(step_s)s) ORDER BY 1
"""
_LAST_BUCKET: Final[LiteralString] = """
SELECT max(bucket) FROM {table} WHERE device_id = %(device_id)s AND bucket < %(until)s
"""

FROM_HOURS_S: Final = BUCKETS * HOUR_S / 2
"""So long a stretch is drawn from the hours of the usage rollup: its steps are half an hour and more."""
FROM_DAYS_S: Final = 60 * DAY_S
"""And so long a one from the rollup's days: a device's hours lie on as many pages of the disk as there are hours."""


@dataclass(frozen=True, slots=True)
class _Rolled:
    """A table of the usage rollup, and how long its buckets are."""

    table: sql.Identifier
    bucket_s: float


async def read_metrics(
    conn: Connection, tables: Sequence[ReadingTable], metrics: Sequence[str], stretch: Stretch
) -> dict[str, tuple[Floats, Floats]]:
    """Times and values of metrics, thinned; of each from the table that holds most of them, where any does."""
    usage = {table.model: table for table in await find_usage(conn, (), only_kept=True)}
    found: dict[str, tuple[Floats, Floats]] = {}
    for table in tables:
        wanted = [pair for pair in zip(table.metrics, table.columns, strict=True) if pair[0] in metrics]
        if wanted:
            rows = await _thinned(conn, table, usage.get(table.model), wanted, stretch)
            for number, (metric, _) in enumerate(wanted):
                series = _joined(rows[:, 0], rows[:, 1 + 2 * number], rows[:, 2 + 2 * number])
                if len(series[0]) > len(found.get(metric, ((),))[0]):
                    found[metric] = series
    return found


async def _thinned(
    conn: Connection, table: ReadingTable, usage: UsageTable | None, wanted: Sequence[tuple[str, str]], stretch: Stretch
) -> Floats:
    """Rows of a step's moment, and each metric's least and greatest value in it; NaN where it was not told."""
    rolled = usage if usage is not None and set(wanted) <= set(usage.metrics) else None
    source = None if rolled is None else _source(rolled, stretch.until_s - stretch.since_s)
    of_rollup, of_readings = await _split(conn, source, stretch.values())
    rows: list[TupleRow] = []
    if source is not None and of_rollup is not None:
        extremes = [sql.Identifier(f"{column}_{end}") for _, column in wanted for end in ("min", "max")]
        middle_s = source.bucket_s / 2 if source.bucket_s > HOUR_S else 0.0
        rows += await _fetch(conn, _OF_ROLLUP, source.table, extremes, {**of_rollup, "middle_s": middle_s})
    extremes = [sql.Identifier(column) for _, column in wanted for _ in ("min", "max")]
    rows += await _fetch(conn, _OF_READINGS, sql.Identifier(table.name), extremes, of_readings)
    return np.array(rows, np.float64).reshape(len(rows), 1 + 2 * len(wanted))  # None becomes NaN


def _source(usage: UsageTable, length_s: float) -> _Rolled | None:
    """What a stretch of such a length is drawn from; None for the readings themselves."""
    if length_s >= FROM_DAYS_S:
        return _Rolled(sql.Identifier(usage.day), DAY_S)
    return _Rolled(sql.Identifier(usage.hour), HOUR_S) if length_s >= FROM_HOURS_S else None


async def _split(
    conn: Connection, rolled: _Rolled | None, values: dict[str, Any]
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """What to ask the rollup, if anything, and what to ask the readings: from the newest bucket on."""
    if rolled is None:
        return None, values
    since_s = values["since"].timestamp()
    whole = {**values, "since": to_datetime(since_s - since_s % rolled.bucket_s)}
    row = await (await conn.execute(sql.SQL(_LAST_BUCKET).format(table=rolled.table), whole)).fetchone()
    if row is None or row[0] is None or row[0] <= whole["since"]:
        return None, values
    return {**whole, "until": row[0]}, {**values, "since": row[0]}  # the newest bucket may go on


async def _fetch(
    conn: Connection,
    query: LiteralString,
    table: sql.Identifier,
    columns: Sequence[sql.Identifier],
    values: Mapping[str, object],
) -> list[TupleRow]:
    """The least of each first and the greatest of each second column."""
    extremes = sql.SQL("").join(
        sql.SQL(", max({})" if number % 2 else ", min({})").format(column) for number, column in enumerate(columns)
    )
    async with conn.cursor(binary=True) as cursor:
        return await (await cursor.execute(sql.SQL(query).format(table=table, extremes=extremes), values)).fetchall()


def _joined(ts: Floats, lows: Floats, highs: Floats) -> tuple[Floats, Floats]:
    """Both ends of each step, one after the other; once where they are the same."""
    told = ~np.isnan(lows)
    both = np.stack((lows[told], highs[told]), axis=1)
    keep = np.stack((np.ones(len(both), np.bool_), both[:, 0] != both[:, 1]), axis=1)
    return np.repeat(ts[told], 2)[keep.ravel()], both.ravel()[keep.ravel()]


async def read_values(conn: Connection, metric: str, stretch: Stretch) -> tuple[Floats, Floats]:
    """Times and values of one metric, thinned; from the table that holds most of them."""
    tables = [held.table for held in await find_held(conn, stretch.device_id)]
    found = await read_metrics(conn, tables, (metric,), stretch)
    return found.get(metric, (np.empty(0), np.empty(0)))


_COUNTS: Final[LiteralString] = """
SELECT floor(extract(epoch FROM ts) / %(step_s)s)::float8 * %(step_s)s, count(*)::float8 FROM {table}
WHERE device_id = %(device_id)s AND ts >= %(since)s AND ts < %(until)s
GROUP BY 1 ORDER BY 1
"""
_COUNTS_OF_ROLLUP: Final[LiteralString] = """
SELECT floor(extract(epoch FROM bucket) / %(step_s)s)::float8 * %(step_s)s, sum(readings)::float8 FROM {table}
WHERE device_id = %(device_id)s AND bucket >= %(since)s AND bucket < %(until)s
GROUP BY 1 ORDER BY 1
"""


async def count_readings(conn: Connection, stretch: Stretch, step_s: float) -> tuple[Floats, Floats]:
    """How many readings there are in each step of whole hours; steps without any are counted as 0."""
    usage = {table.model: table for table in await find_usage(conn, (), only_kept=True)}
    found: dict[float, float] = {}
    for table in [held.table for held in await find_held(conn, stretch.device_id)]:
        rolled = _counted(usage[table.model], step_s) if table.model in usage else None
        of_rollup, of_readings = await _split(conn, rolled, {**stretch.values(), "step_s": step_s})
        counts = await _count(conn, _COUNTS, sql.Identifier(table.name), of_readings)
        if rolled is not None and of_rollup is not None:
            counts += await _count(conn, _COUNTS_OF_ROLLUP, rolled.table, of_rollup)
        for at_s, count in counts:
            found[at_s] = found.get(at_s, 0.0) + count
    steps = np.arange(stretch.since_s // step_s, stretch.until_s // step_s + 1) * step_s
    return steps, np.array([found.get(float(at_s), 0.0) for at_s in steps], np.float64)


def _counted(usage: UsageTable, step_s: float) -> _Rolled:
    """What steps of whole hours, or whole days, are counted from."""
    if step_s % DAY_S == 0:
        return _Rolled(sql.Identifier(usage.day), DAY_S)
    return _Rolled(sql.Identifier(usage.hour), HOUR_S)


async def _count(
    conn: Connection, query: LiteralString, table: sql.Identifier, values: Mapping[str, Any]
) -> list[TupleRow]:
    return await (await conn.execute(sql.SQL(query).format(table=table), values)).fetchall()


MOST_DAYS: Final = 400


async def sum_days(conn: Connection, metric: str, stretch: Stretch) -> tuple[Floats, Floats]:
    """What each UTC day came to, from the rollups; what a counter rose by. Days without any reading are left out."""
    since, until = (to_datetime(at_s // DAY_S * DAY_S) for at_s in (stretch.since_s, stretch.until_s + DAY_S))
    found: dict[float, float] = {}
    for table in await find_usage(conn, [metric], only_kept=True):
        if table.metrics:
            for day in await read_usage(conn, table, stretch.device_id, since, until, MOST_DAYS, by_day=True):
                told = day.metrics.get(metric)
                value = None if told is None else told.sum if told.rise is None else told.rise
                if value is not None:
                    found[day.start.timestamp()] = found.get(day.start.timestamp(), 0.0) + value
    return np.array(sorted(found), np.float64), np.array([found[at_s] for at_s in sorted(found)], np.float64)


_EVENTS: Final[LiteralString] = """
SELECT floor(extract(epoch FROM ts) / %(step_s)s)::float8 * %(step_s)s, count(*)::float8 FROM device_event
WHERE tenant_id = %(tenant_id)s AND device_id = %(device_id)s AND ts >= %(since)s AND ts < %(until)s
  AND (%(code)s::text = '*' OR code = %(code)s)
GROUP BY 1
"""


async def count_events(conn: Connection, tenant_id: str, code: str, stretch: Stretch) -> tuple[Floats, Floats]:
    """How often a device told of an event on each UTC day; `*` is any event, and a day without it counts 0."""
    values = {**stretch.values(), "step_s": DAY_S, "tenant_id": tenant_id, "code": code}
    found: dict[float, float] = dict(await (await conn.execute(_EVENTS, values)).fetchall())
    days = np.arange(stretch.since_s // DAY_S, stretch.until_s // DAY_S + 1) * DAY_S
    return days, np.array([found.get(float(at_s), 0.0) for at_s in days], np.float64)


def metrics_of(tables: Sequence[ReadingTable], model: str | None) -> tuple[str, ...]:
    """The metrics that have columns for a model; those of all tables where the model has none."""
    own = [table.metrics for table in tables if table.model == model]
    return own[0] if own else tuple(dict.fromkeys(metric for table in tables for metric in table.metrics))
