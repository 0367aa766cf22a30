"""The columns of a usage rollup, and the expressions that compute, merge and sum them up.

A rollup row is one device in one hour or one UTC day. Beside `readings`, `first_ts`, `last_ts` and `through_seq` (the
newest batch in it) it has seven columns per metric, named after the reading table's column: `_n` (readings with it),
`_sum`, `_min`, `_max`, `_first`, `_last`, and for counters `_rise`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import sql

from devices.profiles.model import MetricKind, Profile
from gateway.store.rows import ReadingTable

MOST_METRICS: Final = 200
"""Metrics of one model that are rolled up: PostgreSQL has room for 1,600 columns."""

STATISTICS: Final = ("n", "sum", "min", "max", "first", "last", "rise")
FIXED: Final = ("device_id", "bucket", "readings", "first_ts", "last_ts", "through_seq")


@dataclass(frozen=True, slots=True)
class RolledMetric:
    """A metric with a column of its own in the reading table."""

    name: str
    column: str
    is_counter: bool


@dataclass(frozen=True, slots=True)
class RollupTables:
    """The hourly and the daily usage rollup of one product model."""

    model: str
    source: str  # the reading table
    hour: str
    day: str
    metrics: tuple[RolledMetric, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every column, in order."""
        return (*FIXED, *(f"{metric.column}_{each}" for metric in self.metrics for each in STATISTICS))


def rollup_tables_of(table: ReadingTable, profiles: Mapping[str, Profile]) -> RollupTables:
    """What the rollups of a reading table are to be."""
    suffix = table.name.removeprefix("reading_")
    known = profiles[table.model].metrics if table.model in profiles else {}
    counters = {name for name, metric in known.items() if metric.kind is MetricKind.COUNTER}
    pairs = list(zip(table.metrics, table.columns, strict=True))[:MOST_METRICS]
    metrics = tuple(RolledMetric(name, column, name in counters) for name, column in pairs)
    return RollupTables(table.model, table.name, f"usage_hour_{suffix}", f"usage_day_{suffix}", metrics)


def _each(template: LiteralString, metrics: Iterable[RolledMetric]) -> sql.Composable:
    """The template once for each metric, each after a comma."""
    parts = [sql.SQL(template).format(**_identifiers(metric)) for metric in metrics]
    return sql.SQL("").join(sql.SQL(",\n  ") + part for part in parts)


def _identifiers(metric: RolledMetric) -> dict[str, sql.Composable]:
    named: dict[str, sql.Composable] = {each: sql.Identifier(f"{metric.column}_{each}") for each in STATISTICS}
    return {**named, "column": sql.Identifier(metric.column), "metric": sql.Literal(metric.name)}


def column_list(tables: RollupTables) -> sql.Composable:
    """Every column's name."""
    return sql.SQL(", ").join(map(sql.Identifier, tables.names))


DEFINE: LiteralString = """{n} integer NOT NULL DEFAULT 0, {sum} double precision, {min} double precision,
  {max} double precision, {first} double precision, {last} double precision, {rise} double precision"""
ADD: LiteralString = """ADD COLUMN {n} integer NOT NULL DEFAULT 0, ADD COLUMN {sum} double precision,
  ADD COLUMN {min} double precision, ADD COLUMN {max} double precision, ADD COLUMN {first} double precision,
  ADD COLUMN {last} double precision, ADD COLUMN {rise} double precision"""


def definitions(metrics: Iterable[RolledMetric]) -> sql.Composable:
    """What CREATE TABLE needs, each after a comma."""
    return _each(DEFINE, metrics)


def additions(metrics: Iterable[RolledMetric]) -> sql.Composable:
    """What ALTER TABLE needs."""
    return sql.SQL(", ").join(sql.SQL(ADD).format(**_identifiers(metric)) for metric in metrics)


# A metric may have been kept in `extra` before it got its column. Beyond 1e290 in either direction a sum could
# overflow, which would stop the rollups for good.
STORED: LiteralString = "coalesce({column}, (extra ->> {metric})::double precision)"
VALUE: LiteralString = "CASE WHEN abs({stored}) <= 1e290 THEN {stored} ELSE sign({stored}) * 1e290 END"


def _value(metric: RolledMetric) -> sql.Composable:
    stored = sql.SQL(STORED).format(column=sql.Identifier(metric.column), metric=sql.Literal(metric.name))
    return sql.SQL(VALUE).format(stored=stored)


def values(metrics: Iterable[RolledMetric]) -> sql.Composable:
    """A reading's values by column, each after a comma."""
    parts = [_value(metric) + sql.SQL(" AS ") + sql.Identifier(metric.column) for metric in metrics]
    return sql.SQL("").join(sql.SQL(",\n  ") + part for part in parts)


# The arrays of one metric are one to PostgreSQL, which computes equal aggregates once.
ROLL_UP: LiteralString = """,
  count({value})::integer AS {n}, sum({value}) AS {sum}, min({value}) AS {min}, max({value}) AS {max},
  (array_agg({value} ORDER BY r.ts) FILTER (WHERE {value} IS NOT NULL))[1] AS {first},
  (array_agg({value} ORDER BY r.ts) FILTER (WHERE {value} IS NOT NULL))[count({value})] AS {last},
  {rise_of} AS {rise}"""
RISE: LiteralString = "careloop_rise(array_agg({value} ORDER BY r.ts) FILTER (WHERE {value} IS NOT NULL))"
NO_RISE: LiteralString = "NULL::double precision"


def aggregates(metrics: Iterable[RolledMetric], *, of_table: bool = False) -> sql.Composable:
    """The statistics of readings `r`, each after a comma; `of_table` where these are the table itself."""
    parts: list[sql.Composable] = []
    for metric in metrics:
        value = _value(metric) if of_table else sql.Identifier(metric.column)
        rise = sql.SQL(RISE).format(value=value) if metric.is_counter else sql.SQL(NO_RISE)
        parts.append(sql.SQL(ROLL_UP).format(**_identifiers(metric), value=value, rise_of=rise))
    return sql.SQL("").join(parts)


SUM_UP: LiteralString = """coalesce(sum({n}), 0)::integer AS {n}, sum({sum}) AS {sum}, min({min}) AS {min},
  max({max}) AS {max},
  (array_agg({first} ORDER BY bucket) FILTER (WHERE {n} > 0))[1] AS {first},
  (array_agg({last} ORDER BY bucket) FILTER (WHERE {n} > 0))[count(*) FILTER (WHERE {n} > 0)] AS {last},
  CASE WHEN count({rise}) > 0 THEN
    sum({rise}) + careloop_steps(array_agg({first} ORDER BY bucket) FILTER (WHERE {n} > 0),
                                 array_agg({last} ORDER BY bucket) FILTER (WHERE {n} > 0)) END AS {rise}"""


def sums(metrics: Iterable[RolledMetric]) -> sql.Composable:
    """The statistics of hours summed up to a longer span, each after a comma."""
    return _each(SUM_UP, metrics)


# What has been told since comes after what is there.
APPEND: LiteralString = """{n} = u.{n} + excluded.{n},
  {sum} = coalesce(u.{sum} + excluded.{sum}, u.{sum}, excluded.{sum}),
  {min} = least(u.{min}, excluded.{min}), {max} = greatest(u.{max}, excluded.{max}),
  {first} = coalesce(u.{first}, excluded.{first}), {last} = coalesce(excluded.{last}, u.{last}),
  {rise} = coalesce(u.{rise} + excluded.{rise} + careloop_rise(ARRAY[u.{last}, excluded.{first}]),
                    u.{rise}, excluded.{rise})"""


def appended(metrics: Iterable[RolledMetric]) -> sql.Composable:
    """How a row `u` goes on with readings that are all newer, each after a comma."""
    return _each(APPEND, metrics)


# The readings that were there may have been retired: only their statistics are left.
BLEND: LiteralString = """{n} = u.{n} + excluded.{n},
  {sum} = coalesce(u.{sum} + excluded.{sum}, u.{sum}, excluded.{sum}),
  {min} = least(u.{min}, excluded.{min}), {max} = greatest(u.{max}, excluded.{max}),
  {first} = CASE WHEN excluded.first_ts < u.first_ts THEN coalesce(excluded.{first}, u.{first})
                 ELSE coalesce(u.{first}, excluded.{first}) END,
  {last} = CASE WHEN excluded.last_ts > u.last_ts THEN coalesce(excluded.{last}, u.{last})
                ELSE coalesce(u.{last}, excluded.{last}) END,
  {rise} = coalesce(u.{rise}, excluded.{rise})"""


def blended(metrics: Iterable[RolledMetric]) -> sql.Composable:
    """How a row `u`, some of whose readings are gone, takes in further ones, each after a comma."""
    return _each(BLEND, metrics)


REPLACE: LiteralString = """{n} = excluded.{n}, {sum} = excluded.{sum}, {min} = excluded.{min}, {max} = excluded.{max},
  {first} = excluded.{first}, {last} = excluded.{last}, {rise} = excluded.{rise}"""


def replaced(metrics: Iterable[RolledMetric]) -> sql.Composable:
    """How a row is computed anew, each after a comma."""
    return _each(REPLACE, metrics)
