"""Alarms that waited for what their cohort does, and those that an incident leaves behind: they are looked at again."""

from dataclasses import replace
from typing import Final

from crm_sync.cases import major_queries
from crm_sync.cases.queries import Connection, find_alarm
from crm_sync.catching_up import renewed_notice
from crm_sync.inbox import AlarmNotice, decode_notice, put_alarms
from crm_sync.model import AlarmState

AT_ONCE: Final = 100


async def release_due(conn: Connection, now_s: float) -> int:
    """Put alarms whose waiting is over back into the inbox, in the caller's transaction; returns how many."""
    again: list[AlarmNotice] = []
    for raw in await major_queries.take_due(conn, now_s, AT_ONCE):
        notice = decode_notice(raw)
        alarm = await find_alarm(conn, notice.alarm_id)
        # Who has fallen silent meanwhile is told of when it is heard again; who has recovered needs nothing.
        if alarm is not None and alarm.state is AlarmState.ACTIVE and alarm.case_id is None:
            again.append(replace(notice, event="updated"))
    left = await major_queries.take_left_over(conn, AT_ONCE)
    again += [renewed_notice(row, now_s, now_s) for row in left if row["state"] == "active"]
    await put_alarms(conn, again)
    return len(again)
