"""The rows behind major cases: their cohort, their children, and alarms that wait for what their cohort does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row, dict_row

from devices.clock import to_datetime

Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class Major:
    """A major case's cohort, and how much of it has been told."""

    case_id: str
    incident_id: str
    kind: str
    model: str | None
    firmware: str | None
    region: str | None
    problems: list[str]
    devices: int  # affected so far
    told_devices: int  # when CRMs last heard of their number
    is_over: bool


_FIND_MAJOR: Final[LiteralString] = """
SELECT case_id, incident_id, kind, model, firmware, region, problems, devices, told_devices, is_over
FROM major_case WHERE incident_id = %s
"""


async def find_major(conn: Connection, incident_id: str) -> Major | None:
    """The major case of an incident."""
    async with conn.cursor(row_factory=class_row(Major)) as cursor:
        return await (await cursor.execute(_FIND_MAJOR, [incident_id])).fetchone()


_PUT_MAJOR: Final[LiteralString] = """
INSERT INTO major_case (case_id, tenant_id, incident_id, kind, model, firmware, region, problems, devices, told_devices)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (incident_id) DO UPDATE
SET model = excluded.model, region = excluded.region, problems = excluded.problems,
    devices = greatest(major_case.devices, excluded.devices), is_over = false
"""


async def put_major(conn: Connection, tenant_id: str, major: Major) -> None:
    """Write a major case's cohort, or what more belongs to it."""
    values = [
        major.case_id,
        tenant_id,
        major.incident_id,
        major.kind,
        major.model,
        major.firmware,
        major.region,
        major.problems,
        major.devices,
        major.told_devices,
    ]
    await conn.execute(_PUT_MAJOR, values)


_END_MAJOR: Final[LiteralString] = "UPDATE major_case SET is_over = true WHERE incident_id = %s"


async def end_major(conn: Connection, incident_id: str) -> None:
    """Note that an incident is over: its members' next alarms are cases like any other."""
    await conn.execute(_END_MAJOR, [incident_id])


_ADD_MEMBER: Final[LiteralString] = """
UPDATE case_alarm SET incident_id = %(incident_id)s, suppressed = CASE WHEN case_id IS NULL THEN 'incident' END
 WHERE alarm_id = %(alarm_id)s AND incident_id IS DISTINCT FROM %(incident_id)s
RETURNING alarm_id
"""

# A device may have several alarms; it is one affected device. The incident's own number may be ahead of what has come.
_COUNT_DEVICE: Final[LiteralString] = """
UPDATE major_case SET counted = counted + 1, devices = greatest(devices, counted + 1)
 WHERE incident_id = %(incident_id)s
   AND NOT EXISTS (
        SELECT FROM case_alarm this JOIN case_alarm other USING (incident_id, device_id)
         WHERE this.alarm_id = %(alarm_id)s AND other.alarm_id <> this.alarm_id)
"""


async def add_member(conn: Connection, incident_id: str, alarm_id: str) -> None:
    """Make an alarm part of an incident."""
    values = {"incident_id": incident_id, "alarm_id": alarm_id}
    if await (await conn.execute(_ADD_MEMBER, values)).fetchone() is not None:
        await conn.execute(_COUNT_DEVICE, values)


_SET_TOLD: Final[LiteralString] = "UPDATE major_case SET told_devices = devices WHERE incident_id = %s"


async def set_told(conn: Connection, incident_id: str) -> None:
    """Note that CRMs hear of the number of devices as it stands."""
    await conn.execute(_SET_TOLD, [incident_id])


_ADOPT: Final[LiteralString] = """
UPDATE service_case SET parent_id = %s, left_major_at = NULL
 WHERE case_id = %s AND (parent_id IS NULL OR left_major_at IS NOT NULL)
RETURNING case_id
"""


async def adopt(conn: Connection, parent_id: str, case_id: str) -> bool:
    """Make a case a child; False where it is one already."""
    return await (await conn.execute(_ADOPT, [parent_id, case_id])).fetchone() is not None


_COUNT_CHILDREN: Final[LiteralString] = "SELECT count(*) FROM service_case WHERE parent_id = %s"


async def count_children(conn: Connection, case_id: str) -> int:
    """How many cases are children of a major one."""
    row = await (await conn.execute(_COUNT_CHILDREN, [case_id])).fetchone()
    return 0 if row is None else int(row[0])


_CHILDREN_OF: Final[LiteralString] = """
SELECT case_id FROM service_case WHERE parent_id = %s AND left_major_at IS NULL AND closed_at IS NULL ORDER BY number
 LIMIT %s
"""


async def children_of(conn: Connection, case_id: str, limit: int) -> list[str]:
    """The first of the live children of a major case, the oldest first."""
    return [row[0] async for row in await conn.execute(_CHILDREN_OF, [case_id, limit])]


_LET_GO: Final[LiteralString] = "UPDATE service_case SET left_major_at = %s WHERE case_id = %s"


async def let_go(conn: Connection, case_id: str, now_s: float) -> None:
    """Note that a child goes on by itself."""
    await conn.execute(_LET_GO, [to_datetime(now_s), case_id])


_LEAVE_IF_OVER: Final[LiteralString] = """
UPDATE service_case SET left_major_at = %s
 WHERE case_id = %s AND left_major_at IS NULL AND parent_id IN (SELECT case_id FROM major_case WHERE is_over)
RETURNING case_id
"""


async def leave_if_over(conn: Connection, case_id: str, now_s: float) -> bool:
    """Note that a case goes on by itself whose incident ended while it was closed; whether there was one."""
    return await (await conn.execute(_LEAVE_IF_OVER, [to_datetime(now_s), case_id])).fetchone() is not None


_IS_LEAVING: Final[LiteralString] = """
SELECT EXISTS (
    SELECT FROM service_case c
      JOIN outbox_stream s ON (s.tenant_id, s.endpoint, s.stream_key) = (c.tenant_id, %s, c.case_id)
     WHERE c.parent_id = %s AND c.left_major_at IS NOT NULL AND s.state = 'live' AND s.next_attempt_at IS NOT NULL
       AND now() < %s + interval '15 minutes')
"""


async def is_leaving(conn: Connection, case_id: str, endpoint: str, since: datetime) -> bool:
    """Whether an endpoint has still to be told of a child that left a major case; no for good 15 minutes `since`."""
    return await (await conn.execute(_IS_LEAVING, [endpoint, case_id, since])).fetchone() == (True,)


_HOLD: Final[LiteralString] = """
INSERT INTO held_alarm (alarm_id, tenant_id, notice, until_at) VALUES (%s, %s, %s::jsonb, %s) ON CONFLICT DO NOTHING
"""


async def hold(conn: Connection, alarm_id: str, tenant_id: str, notice: str, until_s: float) -> None:
    """Let an alarm wait for its case."""
    await conn.execute(_HOLD, [alarm_id, tenant_id, notice, to_datetime(until_s)])


_DROP_HOLDS: Final[LiteralString] = "DELETE FROM held_alarm WHERE alarm_id = ANY(%s)"


async def drop_holds(conn: Connection, alarm_ids: Sequence[str]) -> None:
    """Let alarms wait no longer."""
    await conn.execute(_DROP_HOLDS, [list(alarm_ids)])


_IS_HELD: Final[LiteralString] = "SELECT EXISTS (SELECT FROM held_alarm WHERE alarm_id = %s)"


async def is_held(conn: Connection, alarm_id: str) -> bool:
    """Whether an alarm waits."""
    return await (await conn.execute(_IS_HELD, [alarm_id])).fetchone() == (True,)


_INCIDENT_OF: Final[LiteralString] = "SELECT incident_id FROM case_alarm WHERE alarm_id = %s"


async def incident_of(conn: Connection, alarm_id: str) -> str | None:
    """The incident that an alarm is part of, or was."""
    row = await (await conn.execute(_INCIDENT_OF, [alarm_id])).fetchone()
    return None if row is None else row[0]


# Of an alarm that more is to be told of, the inbox is worked first: it may be over.
_TAKE_DUE: Final[LiteralString] = """
WITH due AS (
    DELETE FROM held_alarm WHERE alarm_id IN (
        SELECT h.alarm_id FROM held_alarm h
         WHERE h.until_at <= %s
           AND NOT EXISTS (SELECT FROM inbox i WHERE i.state = 'pending' AND i.alarm_id = h.alarm_id)
         ORDER BY h.until_at, h.alarm_id LIMIT %s FOR UPDATE SKIP LOCKED)
    RETURNING alarm_id, notice, until_at
)
SELECT a.*, due.notice::text AS held_notice
  FROM due JOIN case_alarm a USING (alarm_id)
 ORDER BY due.until_at, a.alarm_id
"""


async def take_due(conn: Connection, now_s: float, limit: int) -> list[dict[str, Any]]:
    """Rows of case_alarm that have waited long enough, and are held no more, each with the notice that was held."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(_TAKE_DUE, [to_datetime(now_s), limit])).fetchall()


# What is active still when the incident is over is that device's own trouble.
_LEAVE_OVER: Final[LiteralString] = """
UPDATE case_alarm SET suppressed = 'left_over'
 WHERE incident_id = %s AND case_id IS NULL AND suppressed = 'incident' AND state = 'active'
"""


async def leave_over(conn: Connection, incident_id: str) -> None:
    """Let the members without a case that are active when their incident ends be looked at again."""
    await conn.execute(_LEAVE_OVER, [incident_id])


_TAKE_LEFT_OVER: Final[LiteralString] = """
UPDATE case_alarm SET suppressed = NULL WHERE alarm_id IN (
    SELECT a.alarm_id FROM case_alarm a
     WHERE a.suppressed = 'left_over' AND a.case_id IS NULL
       AND NOT EXISTS (SELECT FROM inbox i WHERE i.state = 'pending' AND i.alarm_id = a.alarm_id)
     ORDER BY a.heard_at, a.alarm_id LIMIT %s FOR UPDATE SKIP LOCKED
)
RETURNING *
"""


async def take_left_over(conn: Connection, limit: int) -> list[dict[str, Any]]:
    """Rows of case_alarm that an ended incident has left, which wait no more."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(_TAKE_LEFT_OVER, [limit])).fetchall()
