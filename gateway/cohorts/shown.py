"""Incidents as people ask for them: read only, on the caller's connection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

Connection = AsyncConnection[TupleRow]
IncidentState = Literal["open", "ended"]


@dataclass(frozen=True, slots=True)
class IncidentView:
    """An incident, and how its members are; a part of its cohort that is None means any."""

    incident_id: str
    kind: str
    model: str | None
    firmware: str | None
    region: str | None
    problems: list[str]
    severity: str
    title: str
    says: str
    evidence: list[dict[str, object]]
    state: IncidentState
    ending: str | None
    started_at: datetime
    known_at: datetime
    ended_at: datetime | None
    devices: int
    alarms: int
    alarms_going_on: int  # active, or of a device that has fallen silent since
    case_id: str | None  # the major case; None until the CRM side has opened it, or where it may not
    child_cases: int
    number: int


@dataclass(frozen=True, slots=True)
class MemberView:
    """An alarm that is part of an incident; `case_id` is that of its own case, if it has one."""

    alarm_id: str
    device_id: str
    watch: str
    kind: str
    problem: str
    state: str
    started_at: datetime
    joined_at: datetime
    case_id: str | None


_LIST_INCIDENTS: Final[LiteralString] = """
WITH found AS MATERIALIZED (
    SELECT * FROM incident
    WHERE tenant_id = %(tenant_id)s
      AND (%(incident_id)s::text IS NULL OR incident_id = %(incident_id)s)
      AND (%(state)s::text IS NULL OR state = %(state)s)
      AND (%(before)s::bigint IS NULL OR number < %(before)s)
    ORDER BY number DESC
    LIMIT %(limit)s
), member AS MATERIALIZED (
    SELECT incident_id, device_id, alarm_id FROM incident_member WHERE incident_id IN (SELECT incident_id FROM found)
), told AS (
    SELECT incident_id, count(DISTINCT device_id) AS devices, count(*) AS alarms FROM member GROUP BY incident_id
), going_on AS (
    SELECT incident_id, count(*) AS alarms FROM member
    WHERE alarm_id IN (SELECT alarm_id FROM alarm WHERE tenant_id = %(tenant_id)s AND state IN ('active', 'unknown'))
    GROUP BY incident_id
)
SELECT i.incident_id, i.kind, i.model, i.firmware, i.region, i.problems, i.severity, i.title, i.says, i.evidence,
       i.state, i.ending, i.started_at, i.known_at, i.ended_at, i.number,
       coalesce(told.devices, 0) AS devices, coalesce(told.alarms, 0) AS alarms,
       coalesce(going_on.alarms, 0) AS alarms_going_on,
       c.case_id, (SELECT count(*) FROM service_case child WHERE child.parent_id = c.case_id) AS child_cases
FROM found i
LEFT JOIN major_case c USING (incident_id)
LEFT JOIN told USING (incident_id)
LEFT JOIN going_on USING (incident_id)
ORDER BY i.number DESC
"""


async def list_incidents(
    conn: Connection,
    tenant_id: str,
    *,
    incident_id: str | None = None,
    state: IncidentState | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[IncidentView]:
    """Incidents, the newest first."""
    values = {"tenant_id": tenant_id, "incident_id": incident_id, "state": state, "before": before, "limit": limit}
    async with conn.cursor(row_factory=class_row(IncidentView)) as cursor:
        return await (await cursor.execute(_LIST_INCIDENTS, values)).fetchall()


_LIST_MEMBERS: Final[LiteralString] = """
SELECT m.alarm_id, m.device_id, a.watch, a.kind, a.problem, a.state, a.started_at, m.joined_at, c.case_id
FROM incident_member m JOIN alarm a USING (alarm_id) LEFT JOIN case_alarm c USING (alarm_id)
WHERE m.tenant_id = %(tenant_id)s AND m.incident_id = %(incident_id)s
  AND (%(after)s::text IS NULL OR m.alarm_id > %(after)s)
ORDER BY m.alarm_id
LIMIT %(limit)s
"""


async def list_members(
    conn: Connection, tenant_id: str, incident_id: str, *, after: str | None = None, limit: int = 100
) -> list[MemberView]:
    """The alarms of an incident, by id."""
    values = {"tenant_id": tenant_id, "incident_id": incident_id, "after": after, "limit": limit}
    async with conn.cursor(row_factory=class_row(MemberView)) as cursor:
        return await (await cursor.execute(_LIST_MEMBERS, values)).fetchall()


@dataclass(frozen=True, slots=True)
class IncidentTotals:
    """Incidents in numbers."""

    by_kind: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])  # kind, state
    absorbed: int = 0  # alarms that opened no case, for their incident has one
    held: int = 0  # alarms whose case waits to see whether they are some of many

    def in_state(self, state: IncidentState) -> int:
        """Incidents that go on, or have ended."""
        return sum(count for (_, each), count in self.by_kind.items() if each == state)


_COUNT_INCIDENTS: Final[LiteralString] = """
SELECT kind, state, count(*) FROM incident WHERE tenant_id = %s GROUP BY kind, state ORDER BY kind, state
"""
_COUNT_ABSORBED: Final[LiteralString] = """
SELECT (SELECT count(*) FROM case_alarm
         WHERE tenant_id = %(tenant_id)s AND incident_id IS NOT NULL AND case_id IS NULL),
       (SELECT count(*) FROM held_alarm WHERE tenant_id = %(tenant_id)s)
"""


async def count_incidents(conn: Connection, tenant_id: str) -> IncidentTotals:
    """Incidents, and the alarms that they spared a case."""
    rows = await (await conn.execute(_COUNT_INCIDENTS, (tenant_id,))).fetchall()
    spared = await (await conn.execute(_COUNT_ABSORBED, {"tenant_id": tenant_id})).fetchone()
    absorbed, held = (0, 0) if spared is None else (int(spared[0]), int(spared[1]))
    return IncidentTotals({(kind, state): count for kind, state, count in rows}, absorbed, held)
