"""The gateway in numbers, counted in the database."""

from typing import LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow
from pydantic import BaseModel

from gateway.api.clock import ClockView
from gateway.api.devices import list_tables


class ReadingCounts(BaseModel):
    """Stored readings; the last three only where an exact count was asked for."""

    stored: int
    distinct: int | None = None
    duplicate_rows: int | None = None
    by_model: dict[str, int] | None = None


class QuarantineCounts(BaseModel):
    """What lies in quarantine."""

    total: int
    by_reason: dict[str, int]


class CaseCounts(BaseModel):
    """Cases; `duplicate` counts those that share asset and problem with another open one, and must be 0."""

    total: int
    by_state: dict[str, int]
    duplicate: int
    suppressed: int


class Counts(BaseModel):
    """The gateway in numbers."""

    database: str
    clock: ClockView
    readings: ReadingCounts
    events: int
    quarantined: QuarantineCounts
    alarms: dict[str, int]
    cases: CaseCounts
    inbox: dict[str, int]
    outbox: dict[str, int]
    pipeline: dict[str, object]


COUNT_READINGS: LiteralString = """
SELECT count(*) AS stored, count(DISTINCT (device_id, ts)) AS distinct FROM {table}
"""


async def count_exactly(conn: AsyncConnection[DictRow]) -> ReadingCounts:
    """Count the rows of every reading table, and the identities among them."""
    stored, distinct, by_model = 0, 0, dict[str, int]()
    for model, table in (await list_tables(conn)).items():
        row = await (await conn.execute(sql.SQL(COUNT_READINGS).format(table=sql.Identifier(table)))).fetchone()
        if row is not None:
            stored, distinct, by_model[model] = stored + row["stored"], distinct + row["distinct"], row["stored"]
    return ReadingCounts(stored=stored, distinct=distinct, duplicate_rows=stored - distinct, by_model=by_model)


COUNT_GROUPS: LiteralString = """
SELECT 'alarm' AS what, state AS key, count(*) AS n FROM alarm WHERE tenant_id = %(tenant_id)s GROUP BY state
UNION ALL
SELECT 'quarantine', reason, count(*) FROM quarantine WHERE tenant_id = %(tenant_id)s GROUP BY reason
UNION ALL
SELECT 'event', '', count(*) FROM device_event WHERE tenant_id = %(tenant_id)s
"""


async def count_groups(conn: AsyncConnection[DictRow], tenant_id: str) -> dict[str, dict[str, int]]:
    """Alarms by state, quarantine by reason, events."""
    rows = await (await conn.execute(COUNT_GROUPS, {"tenant_id": tenant_id})).fetchall()
    groups: dict[str, dict[str, int]] = {"alarm": {}, "quarantine": {}, "event": {}}
    for row in rows:
        groups[row["what"]][row["key"]] = row["n"]
    return groups
