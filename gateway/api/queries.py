"""What the API asks the database; each function takes a connection and returns rows as dictionaries of columns."""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow, dict_row

from devices.clock import to_datetime

Connection = AsyncConnection[TupleRow]
Row = dict[str, Any]  # a row's columns, whatever their types; pydantic models check them at the API's edge


async def _fetch(conn: Connection, query: LiteralString | sql.Composed, wanted: Mapping[str, object]) -> list[Row]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(query, wanted)).fetchall()


LIST_DEVICES: LiteralString = """
SELECT d.device_id, d.model, d.region, d.source, d.registered_at,
       (SELECT f.firmware FROM firmware_history f WHERE f.device_id = d.device_id
        ORDER BY f.since DESC LIMIT 1) AS firmware,
       a.asset_id, o.owner_ref
FROM device d
LEFT JOIN asset a ON a.device_id = d.device_id
LEFT JOIN ownership o ON o.asset_id = a.asset_id AND o.until IS NULL
WHERE d.tenant_id = %(tenant_id)s AND d.revoked_at IS NULL
  AND (%(device_id)s::text IS NULL OR d.device_id = %(device_id)s)
  AND (%(model)s::text IS NULL OR d.model = %(model)s)
  AND (%(region)s::text IS NULL OR d.region = %(region)s)
  AND (%(after)s::text IS NULL OR d.device_id > %(after)s)
ORDER BY d.device_id
LIMIT %(limit)s
"""


async def list_devices(conn: Connection, wanted: Mapping[str, object]) -> list[Row]:
    """Registered devices of a tenant, by id; `model` and `region` may be left out."""
    return await _fetch(conn, LIST_DEVICES, {"model": None, "region": None, **wanted})


TENANT_OF: LiteralString = "SELECT tenant_id FROM device WHERE device_id = %(device_id)s"


async def tenant_of(conn: Connection, device_id: str) -> str | None:
    """Whose a device is, removed or not; None for one that was never registered."""
    rows = await _fetch(conn, TENANT_OF, {"device_id": device_id})
    return rows[0]["tenant_id"] if rows else None


LIST_TABLES: LiteralString = "SELECT model, table_name FROM reading_table ORDER BY model"


async def list_tables(conn: Connection) -> dict[str, str]:
    """The table of each product model's readings."""
    return {row["model"]: row["table_name"] for row in await _fetch(conn, LIST_TABLES, {})}


# Newest first; the alarm's id breaks ties, so that a cursor names one place only.
LIST_ALARMS: LiteralString = """
SELECT a.alarm_id, a.device_id, a.watch, a.kind, a.metric, a.problem, a.severity, a.state, a.acknowledged_at,
       a.acknowledged_by,
       a.started_at, a.decided_ts, a.ended_at, a.raised_at, a.updated_at, a.score, a.explanation,
       (extract(epoch FROM a.raised_at) * 1000000)::bigint AS raised_us,
       coalesce((SELECT jsonb_agg(to_jsonb(e) - array['tenant_id', 'alarm_id'] ORDER BY e.n)
                 FROM alarm_event e WHERE e.alarm_id = a.alarm_id), '[]') AS events
FROM alarm a
WHERE a.tenant_id = %(tenant_id)s
  AND (%(alarm_id)s::text IS NULL OR a.alarm_id = %(alarm_id)s)
  AND (%(state)s::text IS NULL OR a.state = %(state)s)
  AND (%(device_id)s::text IS NULL OR a.device_id = %(device_id)s)
  AND (%(watch)s::text IS NULL OR a.watch = %(watch)s)
  AND (%(severity)s::text IS NULL OR a.severity = %(severity)s)
  AND (%(since)s::timestamptz IS NULL OR a.raised_at >= %(since)s)
  AND (%(before_us)s::bigint IS NULL
       OR (a.raised_at, a.alarm_id) < (to_timestamp(0) + %(before_us)s * interval '1 microsecond', %(before_id)s))
ORDER BY a.raised_at DESC, a.alarm_id DESC
LIMIT %(limit)s
"""


async def list_alarms(conn: Connection, wanted: Mapping[str, object]) -> list[Row]:
    """Alarms of a tenant, newest first, each with its events; `watch` and `severity` may be left out."""
    return await _fetch(conn, LIST_ALARMS, {"watch": None, "severity": None, **wanted})


EVENTS_OF_ALARMS: LiteralString = """
SELECT a.alarm_id, a.ended_at, a.acknowledged_at, a.acknowledged_by, e.event, e.ts, e.recorded_at,
       coalesce(e.explanation ->> 'text', '') AS text
FROM alarm a LEFT JOIN alarm_event e USING (alarm_id)
WHERE a.tenant_id = %(tenant_id)s AND a.alarm_id = ANY(%(alarm_ids)s)
ORDER BY a.alarm_id, e.n
"""


async def events_of_alarms(conn: Connection, tenant_id: str, alarm_ids: Sequence[str]) -> list[Row]:
    """What was told of each of these alarms, in its order; once with no event where there is none."""
    return await _fetch(conn, EVENTS_OF_ALARMS, {"tenant_id": tenant_id, "alarm_ids": list(alarm_ids)})


ACKNOWLEDGE: LiteralString = """
UPDATE alarm SET acknowledged_at = %(at)s, acknowledged_by = %(by)s
WHERE tenant_id = %(tenant_id)s AND alarm_id = %(alarm_id)s
"""


async def acknowledge_alarm(conn: Connection, tenant_id: str, alarm_id: str, by: str, at_s: float | None) -> None:
    """Note who has seen an alarm, and when; without a moment, that nobody has."""
    at = None if at_s is None else to_datetime(at_s)
    values = {"tenant_id": tenant_id, "alarm_id": alarm_id, "by": by if at else None, "at": at}
    await conn.execute(ACKNOWLEDGE, values)


COUNT_READINGS: LiteralString = """
SELECT count(*) AS stored, count(DISTINCT (device_id, ts)) AS distinct FROM {table}
"""


async def count_readings(conn: Connection) -> dict[str, tuple[int, int]]:
    """Rows and identities in the reading table of each product model, counted one by one."""
    counts: dict[str, tuple[int, int]] = {}
    for model, table in (await list_tables(conn)).items():
        (row,) = await _fetch(conn, sql.SQL(COUNT_READINGS).format(table=sql.Identifier(table)), {})
        counts[model] = (row["stored"], row["distinct"])
    return counts


PIPELINE_TOTALS: LiteralString = "SELECT name, value FROM pipeline_counter WHERE tenant_id = %(tenant_id)s"


async def pipeline_totals(conn: Connection, tenant_id: str) -> dict[str, int]:
    """What the pipeline has counted since the first start."""
    return {row["name"]: row["value"] for row in await _fetch(conn, PIPELINE_TOTALS, {"tenant_id": tenant_id})}
