"""The rows behind alarms that are to open no case for a while."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal, LiteralString

from psycopg.rows import class_row, dict_row

from crm_sync.cases.desk import Arrival
from crm_sync.cases.queries import Connection
from devices.clock import to_datetime

QuietKind = Literal["snooze", "silence", "maintenance"]


@dataclass(frozen=True, slots=True)
class Quiet:
    """A time in which alarms open no case; None of a part means any."""

    kind: QuietKind
    starts_at: datetime
    ends_at: datetime
    actor: str
    why: str
    alarm_id: str | None = None
    device_id: str | None = None
    model: str | None = None
    region: str | None = None
    watch: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class QuietView(Quiet):
    """A quiet time as others see it."""

    quiet_id: int = 0
    created_at: datetime | None = None
    ended_at: datetime | None = None
    ended_by: str | None = None


_PLAN_WORK: Final[LiteralString] = """
INSERT INTO planned_work (tenant_id, device_id, model, region, problem, starts_at, ends_at, actor, why)
VALUES (%(tenant_id)s, %(device_id)s, %(model)s, %(region)s, %(problem)s, %(starts_at)s, %(ends_at)s, %(actor)s,
        %(why)s)
RETURNING work_id
"""

_PUT: Final[LiteralString] = """
INSERT INTO quiet_alarm (tenant_id, kind, alarm_id, device_id, model, region, watch, problem, starts_at, ends_at, actor,
                         why, created_at, work_id)
VALUES (%(tenant_id)s, %(kind)s, %(alarm_id)s, %(device_id)s, %(model)s, %(region)s, %(watch)s, %(problem)s,
        %(starts_at)s, %(ends_at)s, %(actor)s, %(why)s, %(now)s, %(work_id)s)
RETURNING quiet_id
"""


async def put_quiet(conn: Connection, tenant_id: str, quiet: Quiet, now_s: float) -> int:
    """Write a quiet time down; in a maintenance window owners are left alone too."""
    values = {**asdict(quiet), "tenant_id": tenant_id, "now": to_datetime(now_s), "work_id": None}
    if quiet.kind == "maintenance":
        values["work_id"] = await _number(conn, _PLAN_WORK, values)
    return await _number(conn, _PUT, values)


async def _number(conn: Connection, query: LiteralString, values: dict[str, Any]) -> int:
    row = await (await conn.execute(query, values)).fetchone()
    assert row is not None  # what an insert returns
    return int(row[0])


_END: Final[LiteralString] = """
UPDATE quiet_alarm SET ended_at = %(now)s, ended_by = %(by)s
 WHERE tenant_id = %(tenant_id)s AND quiet_id = %(quiet_id)s AND ended_at IS NULL AND ends_at > %(now)s
RETURNING work_id
"""

_CANCEL_WORK: Final[LiteralString] = "UPDATE planned_work SET cancelled_at = %s WHERE work_id = %s"

# What waits for the end of a quiet time is looked at again; whoever is still to be quiet goes on waiting.
_LOOK_AGAIN: Final[LiteralString] = """
UPDATE held_alarm h SET until_at = %(now)s
  FROM case_alarm a
 WHERE a.alarm_id = h.alarm_id AND a.tenant_id = %(tenant_id)s
   AND a.suppressed IN ('snoozed', 'silenced', 'maintenance')
"""


async def end_quiet(conn: Connection, tenant_id: str, quiet_id: int, by: str, now_s: float) -> bool:
    """End a quiet time before its time; False where there is none that goes on or is to come."""
    values = {"tenant_id": tenant_id, "quiet_id": quiet_id, "by": by, "now": to_datetime(now_s)}
    row = await (await conn.execute(_END, values)).fetchone()
    if row is None:
        return False
    if row[0] is not None:
        await conn.execute(_CANCEL_WORK, [to_datetime(now_s), row[0]])
    await conn.execute(_LOOK_AGAIN, values)
    return True


_NOW: Final[LiteralString] = """
SELECT quiet_id, kind, ends_at FROM quiet_alarm
 WHERE tenant_id = %(tenant_id)s AND ended_at IS NULL AND starts_at <= %(now)s AND ends_at > %(now)s
   AND (alarm_id IS NULL OR alarm_id = %(alarm_id)s)
   AND (device_id IS NULL OR device_id = %(device_id)s)
   AND (model IS NULL OR model = %(model)s)
   AND (region IS NULL OR region = %(region)s)
   AND (watch IS NULL OR watch = %(watch)s)
   AND (problem IS NULL OR problem = %(problem)s)
 ORDER BY ends_at DESC
 LIMIT 1
"""


async def quiet_now(conn: Connection, arrival: Arrival) -> tuple[int, QuietKind, datetime] | None:
    """The quiet time that an alarm falls into and that lasts longest."""
    notice, subject = arrival.notice, arrival.subject
    values = {
        "tenant_id": notice.tenant_id,
        "now": to_datetime(arrival.now_s),
        "alarm_id": notice.alarm_id,
        "device_id": notice.device_id,
        "model": subject.model,
        "region": subject.region,
        "watch": notice.watch,
        "problem": notice.problem,
    }
    async with conn.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(_NOW, values)).fetchone()
    return None if row is None else (row["quiet_id"], row["kind"], row["ends_at"])


_LIST: Final[LiteralString] = """
SELECT quiet_id, kind, alarm_id, device_id, model, region, watch, problem, starts_at, ends_at, actor, why, created_at,
       ended_at, ended_by
  FROM quiet_alarm
 WHERE tenant_id = %(tenant_id)s
   AND (%(live_at)s::timestamptz IS NULL OR (ended_at IS NULL AND ends_at > %(live_at)s))
   AND (%(quiet_id)s::bigint IS NULL OR quiet_id = %(quiet_id)s)
   AND (%(before)s::bigint IS NULL OR quiet_id < %(before)s)
 ORDER BY quiet_id DESC
 LIMIT %(limit)s
"""


async def list_quiet(
    conn: Connection,
    tenant_id: str,
    *,
    live_at_s: float | None = None,
    quiet_id: int | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[QuietView]:
    """Quiet times, the newest first; with `live_at_s` only those that go on then, or are to come."""
    values = {
        "tenant_id": tenant_id,
        "live_at": None if live_at_s is None else to_datetime(live_at_s),
        "quiet_id": quiet_id,
        "before": before,
        "limit": limit,
    }
    async with conn.cursor(row_factory=class_row(QuietView)) as cursor:
        return await (await cursor.execute(_LIST, values)).fetchall()
