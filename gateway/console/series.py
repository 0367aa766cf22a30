"""Values of a device as charts want them: thinned by the database, so that a year costs no more than a day."""

from dataclasses import dataclass
from typing import Final, LiteralString

import numpy as np
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from devices.clock import to_datetime
from gateway.console.chart import Floats
from gateway.store.rows import ReadingTable
from gateway.store.tables import read_tables

Connection = AsyncConnection[TupleRow]

BUCKETS: Final = 600


@dataclass(frozen=True, slots=True)
class Stretch:
    """A device's time from one moment to another, in device time."""

    device_id: str
    since_s: float
    until_s: float

    def values(self, buckets: int = BUCKETS) -> dict[str, object]:
        """As parameters of a query."""
        return {
            "device_id": self.device_id,
            "since": to_datetime(self.since_s),
            "until": to_datetime(self.until_s),
            "step_s": max((self.until_s - self.since_s) / buckets, 1.0),
        }


# Of each stretch the least and the greatest value, so that no spike is lost.
_EXTREMES: Final[LiteralString] = """
SELECT min(extract(epoch FROM ts))::float8, min({column}), max({column}) FROM {table}
WHERE device_id = %(device_id)s AND ts >= %(since)s AND ts < %(until)s AND {column} IS NOT NULL
GROUP BY floor(extract(epoch FROM ts) / %(step_s)s) ORDER BY 1
"""


async def read_values(conn: Connection, metric: str, stretch: Stretch) -> tuple[Floats, Floats]:
    """Times and values of a metric, thinned; from the table that holds most of them."""
    best: list[tuple[float, float, float]] = []
    for table in await read_tables(conn):
        if metric in table.metrics:
            column = sql.Identifier(table.columns[table.metrics.index(metric)])
            query = sql.SQL(_EXTREMES).format(column=column, table=sql.Identifier(table.name))
            rows = await (await conn.execute(query, stretch.values())).fetchall()
            best = rows if len(rows) > len(best) else best
    ts: list[float] = []
    values: list[float] = []
    for at_s, low, high in best:
        ts.append(at_s)
        values.append(low)
        if high != low:
            ts.append(at_s)
            values.append(high)
    return np.array(ts, np.float64), np.array(values, np.float64)


_COUNTS: Final[LiteralString] = """
SELECT floor(extract(epoch FROM ts) / %(step_s)s)::float8 * %(step_s)s, count(*)::float8 FROM {table}
WHERE device_id = %(device_id)s AND ts >= %(since)s AND ts < %(until)s
GROUP BY 1 ORDER BY 1
"""


async def count_readings(conn: Connection, stretch: Stretch, step_s: float) -> tuple[Floats, Floats]:
    """How many readings there are in each step of time; steps without any are counted as 0."""
    found: dict[float, float] = {}
    for table in await read_tables(conn):
        query = sql.SQL(_COUNTS).format(table=sql.Identifier(table.name))
        async for at_s, count in await conn.execute(query, {**stretch.values(), "step_s": step_s}):
            found[at_s] = found.get(at_s, 0.0) + count
    steps = np.arange(stretch.since_s // step_s, stretch.until_s // step_s + 1) * step_s
    return steps, np.array([found.get(float(at_s), 0.0) for at_s in steps], np.float64)


def metrics_of(tables: list[ReadingTable], model: str | None) -> tuple[str, ...]:
    """The metrics that have columns for a model; those of all tables where the model has none."""
    own = [table.metrics for table in tables if table.model == model]
    return own[0] if own else tuple(dict.fromkeys(metric for table in tables for metric in table.metrics))
