"""What the rollups ask of the database; every function works in the caller's transaction and never commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString, NamedTuple

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from gateway.maintenance import rollup_columns
from gateway.maintenance.rollup_columns import RolledMetric, RollupTables, column_list

Connection = AsyncConnection[TupleRow]


class Bucket(NamedTuple):
    """One device in one hour or day."""

    device_id: str
    start: datetime


class Span(NamedTuple):
    """Which table a rollup is, and how long its buckets are."""

    table: str
    width: str  # an interval, as PostgreSQL reads it


ROLL: LiteralString = """
WITH part AS MATERIALIZED (
  SELECT device_id, bucket, count(*)::integer AS readings, min(r.ts) AS first_ts, max(r.ts) AS last_ts,
  max(batch_seq) AS through_seq{aggregates}
  FROM (
    SELECT device_id, date_bin(%(width)s::interval, ts, 'epoch') AS bucket, ts, batch_seq{values}
    FROM {source} WHERE batch_seq > %(after)s AND batch_seq <= %(until)s
  ) r
  GROUP BY device_id, bucket
), put AS (
  INSERT INTO {table} AS u ({columns}) SELECT {columns} FROM part ORDER BY device_id, bucket
  ON CONFLICT (device_id, bucket) DO UPDATE SET readings = u.readings + excluded.readings, last_ts = excluded.last_ts,
  through_seq = excluded.through_seq{appended}
  WHERE excluded.first_ts > u.last_ts AND u.through_seq <= %(after)s
  RETURNING u.device_id, u.bucket
)
SELECT part.device_id, part.bucket FROM part LEFT JOIN put USING (device_id, bucket) WHERE put.device_id IS NULL
"""


async def roll(conn: Connection, tables: RollupTables, span: Span, after: int, until: int) -> set[Bucket]:
    """Take in what the batches after one and up to another have stored, where it is new or goes on with what is there.

    Returns the buckets for which it is late: those have to be computed anew.
    """
    statement = sql.SQL(ROLL).format(
        table=sql.Identifier(span.table),
        source=sql.Identifier(tables.source),
        columns=column_list(tables),
        values=rollup_columns.values(tables.metrics),
        aggregates=rollup_columns.aggregates(tables.metrics),
        appended=rollup_columns.appended(tables.metrics),
    )
    values = {"width": span.width, "after": after, "until": until}
    rows = await (await conn.execute(statement, values, prepare=True)).fetchall()
    return {Bucket(*row) for row in rows}


FILLED: LiteralString = """
SELECT DISTINCT device_id, date_bin('1 hour', ts, 'epoch') FROM reading_fill
WHERE model = %s AND batch_seq > %s AND batch_seq <= %s
"""


async def filled_buckets(conn: Connection, model: str, after: int, until: int) -> set[Bucket]:
    """The hours in which these batches have completed stored readings."""
    return {Bucket(*row) for row in await (await conn.execute(FILLED, (model, after, until))).fetchall()}


# `known` are the readings that the row already holds and that are still there: fewer than it counts means that some
# have been retired, and that the row is the only memory of them.
ANEW_OF_READINGS: LiteralString = """
INSERT INTO {table} AS u ({columns})
SELECT {columns} FROM (
  SELECT w.device_id, w.bucket, e.readings AS held, s.*
  FROM unnest(%(devices)s::text[], %(buckets)s::timestamptz[]) AS w (device_id, bucket)
  LEFT JOIN {table} e ON e.device_id = w.device_id AND e.bucket = w.bucket
  CROSS JOIN LATERAL (
    SELECT count(*)::integer AS readings, min(r.ts) AS first_ts, max(r.ts) AS last_ts, max(batch_seq) AS through_seq,
           count(*) FILTER (WHERE batch_seq <= e.through_seq) AS known{aggregates}
    FROM (
      SELECT ts, batch_seq{values} FROM {source}
      WHERE device_id = w.device_id AND ts >= w.bucket AND ts < w.bucket + %(width)s::interval
    ) r
  ) s
) s
WHERE s.readings > 0 AND coalesce(s.held <= s.known, true)
ON CONFLICT (device_id, bucket) DO UPDATE SET readings = excluded.readings, first_ts = excluded.first_ts,
  last_ts = excluded.last_ts, through_seq = excluded.through_seq{replaced}
RETURNING u.device_id, u.bucket
"""
ANEW_OF_HOURS: LiteralString = """
INSERT INTO {table} AS u ({columns})
SELECT {columns} FROM (
  SELECT w.device_id, w.bucket, e.readings AS held, s.*
  FROM unnest(%(devices)s::text[], %(buckets)s::timestamptz[]) AS w (device_id, bucket)
  LEFT JOIN {table} e ON e.device_id = w.device_id AND e.bucket = w.bucket
  CROSS JOIN LATERAL (
    SELECT sum(readings)::integer AS readings, min(first_ts) AS first_ts, max(last_ts) AS last_ts,
           max(through_seq) AS through_seq{sums}
    FROM {source} h
    WHERE h.device_id = w.device_id AND h.bucket >= w.bucket AND h.bucket < w.bucket + %(width)s::interval
  ) s
) s
WHERE s.readings > 0 AND coalesce(s.held <= s.readings, true)
ON CONFLICT (device_id, bucket) DO UPDATE SET readings = excluded.readings, first_ts = excluded.first_ts,
  last_ts = excluded.last_ts, through_seq = excluded.through_seq{replaced}
RETURNING u.device_id, u.bucket
"""
AT_ONCE = 500


async def compute_hours(conn: Connection, tables: RollupTables, span: Span, buckets: set[Bucket]) -> set[Bucket]:
    """Compute buckets anew from the readings; those done, which leaves those some of whose readings are gone."""
    return await _anew(conn, sql.SQL(ANEW_OF_READINGS), tables, span, tables.source, buckets)


async def compute_days(conn: Connection, tables: RollupTables, span: Span, buckets: set[Bucket]) -> set[Bucket]:
    """Compute days anew from their hours; those done, which leaves those some of whose hours are gone."""
    return await _anew(conn, sql.SQL(ANEW_OF_HOURS), tables, span, tables.hour, buckets)


async def _anew(  # noqa: PLR0917 - a statement, and what it is about
    conn: Connection, query: sql.SQL, tables: RollupTables, span: Span, source: str, buckets: set[Bucket]
) -> set[Bucket]:
    statement = query.format(
        table=sql.Identifier(span.table),
        source=sql.Identifier(source),
        columns=column_list(tables),
        values=rollup_columns.values(tables.metrics),
        aggregates=rollup_columns.aggregates(tables.metrics),
        sums=rollup_columns.sums(tables.metrics),
        replaced=rollup_columns.replaced(tables.metrics),
    )
    return await _for_each(conn, statement, {"width": span.width}, buckets)


BLEND_IN: LiteralString = """
INSERT INTO {table} AS u ({columns})
SELECT {columns} FROM (
  SELECT w.device_id, w.bucket, s.*
  FROM unnest(%(devices)s::text[], %(buckets)s::timestamptz[]) AS w (device_id, bucket)
  JOIN {table} e ON e.device_id = w.device_id AND e.bucket = w.bucket
  CROSS JOIN LATERAL (
    SELECT count(*)::integer AS readings, min(r.ts) AS first_ts, max(r.ts) AS last_ts,
           max(batch_seq) AS through_seq{aggregates}
    FROM (
      SELECT ts, batch_seq{values} FROM {source}
      WHERE device_id = w.device_id AND ts >= w.bucket AND ts < w.bucket + %(width)s::interval
        AND batch_seq > e.through_seq
    ) r
  ) s
) s
WHERE s.readings > 0
ON CONFLICT (device_id, bucket) DO UPDATE SET readings = u.readings + excluded.readings,
  first_ts = least(u.first_ts, excluded.first_ts), last_ts = greatest(u.last_ts, excluded.last_ts),
  through_seq = excluded.through_seq{blended}
RETURNING u.device_id, u.bucket
"""


async def blend_in(conn: Connection, tables: RollupTables, span: Span, buckets: set[Bucket]) -> None:
    """Add late readings to buckets whose earlier readings have been retired."""
    statement = sql.SQL(BLEND_IN).format(
        table=sql.Identifier(span.table),
        source=sql.Identifier(tables.source),
        columns=column_list(tables),
        values=rollup_columns.values(tables.metrics),
        aggregates=rollup_columns.aggregates(tables.metrics),
        blended=rollup_columns.blended(tables.metrics),
    )
    await _for_each(conn, statement, {"width": span.width}, buckets)


async def _for_each(
    conn: Connection, statement: sql.Composed, values: dict[str, str], buckets: set[Bucket]
) -> set[Bucket]:
    """Run a statement for buckets, some at a time; those that it returns."""
    done: set[Bucket] = set()
    ordered = sorted(buckets)
    for start in range(0, len(ordered), AT_ONCE):
        some: Sequence[Bucket] = ordered[start : start + AT_ONCE]
        wanted = {"devices": [one.device_id for one in some], "buckets": [one.start for one in some]}
        rows = await (await conn.execute(statement, {**values, **wanted}, prepare=True)).fetchall()
        done.update(Bucket(*row) for row in rows)
    return done


MONTHS: LiteralString = """
SELECT DISTINCT date_trunc('month', ts, 'UTC') FROM {source} WHERE batch_seq > %s AND batch_seq <= %s
"""


async def months_of(conn: Connection, source: str, after: int, until: int) -> list[datetime]:
    """The months of device time in which these batches have stored something."""
    rows = await (await conn.execute(sql.SQL(MONTHS).format(source=sql.Identifier(source)), (after, until))).fetchall()
    return [row[0] for row in rows]


CREATE_ROLLUP: LiteralString = """
CREATE TABLE {table} (
  device_id text COLLATE "C" NOT NULL,
  bucket timestamptz NOT NULL,
  readings integer NOT NULL,
  first_ts timestamptz NOT NULL,
  last_ts timestamptz NOT NULL,
  through_seq bigint NOT NULL{definitions},
  PRIMARY KEY (device_id, bucket)
)
"""
INDEX_BUCKETS: LiteralString = "CREATE INDEX ON {table} (bucket)"


async def create_rollup(conn: Connection, table: str, metrics: Sequence[RolledMetric], suffix: LiteralString) -> None:
    """Make a rollup's table; `suffix` divides it."""
    name = sql.Identifier(table)
    create = sql.SQL(CREATE_ROLLUP).format(table=name, definitions=rollup_columns.definitions(metrics))
    await conn.execute(create + sql.SQL(suffix))


async def index_buckets(conn: Connection, table: str) -> None:
    """Let a whole fleet be read by time."""
    await conn.execute(sql.SQL(INDEX_BUCKETS).format(table=sql.Identifier(table)))


WIDEN_ROLLUP: LiteralString = "ALTER TABLE {table} {additions}"


async def widen_rollup(conn: Connection, table: str, metrics: Sequence[RolledMetric]) -> None:
    """Give further metrics their columns."""
    additions = rollup_columns.additions(metrics)
    await conn.execute(sql.SQL(WIDEN_ROLLUP).format(table=sql.Identifier(table), additions=additions))
