"""What cases and people came to, asked of the live tables or of those of a session that was set apart."""

from typing import LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from devices.clock import to_datetime
from gateway.backtest.outcomes import Alarm, Case, Contact, Refusal
from gateway.store.history import TimeBase, Wanted

Connection = AsyncConnection[TupleRow]

# By device time an alarm counts for when its trouble began.
LIST_ALARMS: LiteralString = """
SELECT device_id, watch, kind, metric, problem, severity, state, extract(epoch FROM {time})::float8,
       extract(epoch FROM started_at)::float8, extract(epoch FROM ended_at)::float8, why.said ->> 'text',
       why.said ->> 'expected'
FROM alarm a
CROSS JOIN LATERAL (
    SELECT coalesce((SELECT e.explanation FROM alarm_event e
                     WHERE e.alarm_id = a.alarm_id AND e.event IN ('raised', 'updated') ORDER BY e.n LIMIT 1),
                    a.explanation) AS said
) AS why
WHERE tenant_id = %(tenant_id)s AND {time} >= %(since)s AND {time} < %(until)s
  AND (%(devices)s::text[] IS NULL OR device_id = ANY(%(devices)s))
ORDER BY {time}, device_id, watch
"""


async def list_alarms(conn: Connection, tenant_id: str, wanted: Wanted) -> list[Alarm]:
    """Alarms as they were really told of, with what was said when they were raised and what is known of them now."""
    time = sql.SQL("raised_at" if wanted.base is TimeBase.RECEIVED else "started_at")
    values = {**wanted.values, "tenant_id": tenant_id}
    rows = await (await conn.execute(sql.SQL(LIST_ALARMS).format(time=time), values)).fetchall()
    return [Alarm(*row) for row in rows]


LIST_CASES: LiteralString = """
SELECT case_id, asset_id, device_id, problem, severity, state, extract(epoch FROM opened_at)::float8,
       extract(epoch FROM closed_at)::float8, resolution, outcome, relapses
FROM service_case
WHERE tenant_id = %(tenant_id)s AND opened_at >= %(since)s AND opened_at < %(until)s
  AND (%(devices)s::text[] IS NULL OR device_id = ANY(%(devices)s))
ORDER BY opened_at, number
"""


async def list_cases(conn: Connection, tenant_id: str, wanted: Wanted) -> list[Case]:
    """Cases that were opened in the span."""
    rows = await (await conn.execute(LIST_CASES, {**wanted.values, "tenant_id": tenant_id})).fetchall()
    return [Case(*row) for row in rows]


LIST_REFUSALS: LiteralString = """
SELECT subject, gate, outcome, reason, coalesce(inputs ->> 'verdict', ''), count(*),
       count(DISTINCT coalesce(owner_ref, asset_id))
FROM decision
WHERE tenant_id = %(tenant_id)s AND decided_at >= %(since)s AND decided_at < %(until)s AND outcome <> 'allow'
  AND (%(devices)s::text[] IS NULL OR device_id = ANY(%(devices)s))
GROUP BY 1, 2, 3, 4, 5
ORDER BY 7 DESC, 1, 2, 3, 4, 5
"""


async def list_refusals(conn: Connection, tenant_id: str, wanted: Wanted) -> list[Refusal]:
    """What the gates said no or not yet to."""
    rows = await (await conn.execute(LIST_REFUSALS, {**wanted.values, "tenant_id": tenant_id})).fetchall()
    return [Refusal(*row) for row in rows]


LIST_CONTACTS: LiteralString = """
SELECT s.channel, count(DISTINCT s.owner_ref), count(*)
FROM held_step s JOIN service_case c USING (case_id)
WHERE s.tenant_id = %(tenant_id)s AND s.due_at >= %(since)s AND s.due_at < %(until)s AND s.state IN ('queued', 'sent')
  AND (%(devices)s::text[] IS NULL OR c.device_id = ANY(%(devices)s))
GROUP BY s.channel
ORDER BY 2 DESC, 1
"""


async def list_contacts(conn: Connection, tenant_id: str, wanted: Wanted) -> list[Contact]:
    """Who was written to."""
    rows = await (await conn.execute(LIST_CONTACTS, {**wanted.values, "tenant_id": tenant_id})).fetchall()
    return [Contact(*row) for row in rows]


READ_SERIES: LiteralString = """
SELECT extract(epoch FROM ts)::float8, coalesce({value}, (extra ->> %(metric)s)::float8)
FROM {table}
WHERE device_id = %(device_id)s AND ts >= %(first)s AND ts <= %(last)s
ORDER BY ts LIMIT %(limit)s
"""


async def read_series(  # noqa: PLR0917 - of whom, of what, from when to when, and how much
    conn: Connection, table: str, column: str | None, device_id: str, metric: str, span: tuple[float, float], limit: int
) -> list[tuple[float, float]]:
    """Values of one metric of one device, with their device times; those that are absent are left out."""
    value = sql.SQL("NULL") if column is None else sql.Identifier(column)
    first, last = (to_datetime(at_s) for at_s in span)
    values = {"device_id": device_id, "metric": metric, "first": first, "last": last, "limit": limit}
    rows = await (
        await conn.execute(sql.SQL(READ_SERIES).format(value=value, table=sql.Identifier(table)), values)
    ).fetchall()
    return [(ts_s, value) for ts_s, value in rows if value is not None]
