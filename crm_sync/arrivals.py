"""A case that is taken up again by itself: its first alarm, as if it were heard of now."""

from dataclasses import replace
from typing import Any, Final, LiteralString

from psycopg.rows import dict_row

from crm_sync.brief import write_ending
from crm_sync.cases.desk import Arrival, Desk, find_subject
from crm_sync.cases.lifecycle import close
from crm_sync.cases.queries import Connection, Transition, alarms_of
from crm_sync.catching_up import renewed_notice
from crm_sync.model import Case, Resolution

_ROW_OF_ALARM: Final[LiteralString] = "SELECT * FROM case_alarm WHERE alarm_id = %s"


async def arrival_of(conn: Connection, case: Case, now_s: float) -> Arrival | None:
    """What opening a case needs to know; None where all its alarms have gone elsewhere."""
    alarms = await alarms_of(conn, case.case_id)
    if not alarms:
        return None
    alarm = alarms[0]
    notice = renewed_notice(await _row_of_alarm(conn, alarm.alarm_id), now_s, now_s)
    subject = await find_subject(conn, case.tenant_id, case.device_id)
    return Arrival(notice, alarm, alarm, subject, now_s)


async def withdraw_empty(conn: Connection, desk: Desk, case: Case, now_s: float) -> None:
    """End a case whose alarms have all gone elsewhere: there is nothing left to open it for."""
    subject = await find_subject(conn, case.tenant_id, case.device_id)
    ending = write_ending(Resolution.WITHDRAWN, subject, now_s, now_s, desk.wording)
    by = Transition(None, case.state, "policy", "no_alarm", "None of its alarms belongs to it any longer.")
    await close(conn, replace(case, ending=ending), Resolution.WITHDRAWN, by, now_s)


async def _row_of_alarm(conn: Connection, alarm_id: str) -> dict[str, Any]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_ROW_OF_ALARM, [alarm_id])
        row = await cursor.fetchone()
    assert row is not None  # it is a case's
    return row
