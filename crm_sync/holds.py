"""Alarms that waited for what their cohort does, and those that an incident leaves behind: they are looked at again."""

from typing import Any, Final

from crm_sync.cases import major_queries
from crm_sync.cases.queries import Connection
from crm_sync.catching_up import renewed_notice
from crm_sync.inbox import AlarmNotice, decode_notice, put_alarms, take_turn
from crm_sync.model import AlarmState

AT_ONCE: Final = 100


async def release_due(conn: Connection, now_s: float) -> int:
    """Put alarms whose waiting is over back into the inbox, in the caller's transaction; returns how many.

    It does so in the turn of the inbox, which takes the same locks in another order; nothing where another has it.
    """
    if not await take_turn(conn):
        return 0
    due = await major_queries.take_due(conn, now_s, AT_ONCE)
    # Who has fallen silent meanwhile is told of when it is heard again; who has recovered needs nothing.
    again = [_released(row) for row in due if row["state"] == AlarmState.ACTIVE and _has_no_case(row)]
    left = await major_queries.take_left_over(conn, AT_ONCE)
    again += [renewed_notice(row, now_s, now_s) for row in left if row["state"] == AlarmState.ACTIVE]
    await put_alarms(conn, again)
    return len(again)


def _has_no_case(row: dict[str, Any]) -> bool:
    """Whether nothing looks after an alarm: one that came back after its case had ended still bears that case's id."""
    return row["case_id"] is None or row["suppressed"] is not None


def _released(row: dict[str, Any]) -> AlarmNotice:
    """An alarm as it is by now, as fresh as it was when its waiting began: the wait makes no alarm old."""
    held = decode_notice(row["held_notice"].encode())
    return renewed_notice(row, held.head_ts_s, held.recorded_at_s)
