"""Faults that are still there, though the answer to their alarm was no: careloop looks at them again by itself.

A device that was away for days sends its backlog in many batches. An alarm raised in one of the first is history at
that moment, and nothing more may ever be said of it, though the fault is there. And a case that was withdrawn because
the product changed hands leaves the present owner with the fault. A kill switch stops what begins, not what is broken:
a fault that began meanwhile is looked at when the switch is released.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, LiteralString

from psycopg.rows import dict_row

from crm_sync.cases.queries import Connection, alarm_of_row
from crm_sync.inbox import AlarmExplanation, AlarmNotice, put_alarms
from devices.clock import to_datetime

Heads = Callable[[Connection, Sequence[str]], Awaitable[Mapping[str, float]]]
"""The newest device time known of each of these devices, in epoch seconds."""

AT_MOST: Final = 200

_LEFT_ALONE: Final[LiteralString] = """
SELECT a.*
  FROM case_alarm a LEFT JOIN service_case c USING (case_id)
 WHERE a.state = 'active' AND a.heard_at > %s
   AND ((a.case_id IS NULL AND a.suppressed = 'stale') OR (c.resolution = 'withdrawn' AND a.suppressed IS NULL))
   AND NOT EXISTS (SELECT FROM inbox i WHERE i.state = 'pending' AND i.alarm_id = a.alarm_id)
 ORDER BY a.heard_at DESC
 LIMIT %s
"""


async def look_again(conn: Connection, heads: Heads, stale_after_s: float, now_s: float) -> int:
    """Put notices for alarms left alone whose device is at the present, as if they were updated now; returns how many.

    It looks at alarms heard of within `stale_after_s`: a device that takes longer to catch up raises its next alarm.
    """
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_LEFT_ALONE, [to_datetime(now_s - stale_after_s), AT_MOST])
        rows = await cursor.fetchall()
    if not rows:
        return 0
    known = await heads(conn, sorted({row["device_id"] for row in rows}))
    caught_up = [
        renewed_notice(row, known[row["device_id"]], now_s)
        for row in rows
        if now_s - known.get(row["device_id"], 0.0) <= stale_after_s
    ]
    await put_alarms(conn, caught_up)
    return len(caught_up)


STOPPED_FOR_S: Final = 30 * 86400.0
"""A fault that began while a switch was thrown is looked at after the release if it is no older than this."""

_STOPPED: Final[LiteralString] = """
SELECT a.*
  FROM case_alarm a LEFT JOIN asset p ON (p.tenant_id, p.asset_id) = (a.tenant_id, a.asset_id)
 WHERE a.state = 'active' AND a.case_id IS NULL AND a.suppressed = 'kill_switch' AND a.heard_at > %s
   AND NOT EXISTS (SELECT FROM kill_switch k
                    WHERE k.tenant_id = a.tenant_id AND k.released_at IS NULL
                      AND (k.scope = 'tenant'
                           OR k.model IN ('*', 'automatic', p.model)
                              AND (k.name = '*'
                                   OR k.scope = 'watch' AND k.name IN (a.watch, replace(a.kind, '_', '-'))
                                   OR k.scope = 'problem' AND k.name = a.problem)))
   AND NOT EXISTS (SELECT FROM inbox i WHERE i.state = 'pending' AND i.alarm_id = a.alarm_id)
 ORDER BY a.heard_at
 LIMIT %s
"""


async def look_after_release(conn: Connection, now_s: float) -> int:
    """Put notices for alarms that a kill switch kept from a case and that none stops any more; returns how many."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_STOPPED, [to_datetime(now_s - STOPPED_FOR_S), AT_MOST])
        rows = await cursor.fetchall()
    await put_alarms(conn, [renewed_notice(row, now_s, now_s) for row in rows])
    return len(rows)


def renewed_notice(row: dict[str, Any], head_ts_s: float, now_s: float) -> AlarmNotice:
    """The notice of an alarm as if it were updated now; `row` is that of case_alarm."""
    alarm = alarm_of_row(row)
    return AlarmNotice(
        tenant_id=row["tenant_id"],
        alarm_id=alarm.alarm_id,
        device_id=row["device_id"],
        watch=alarm.watch,
        kind=alarm.kind,
        metric=alarm.metric,
        problem=row["problem"],
        severity=alarm.severity,
        event="updated",
        started_at_s=alarm.started_at_s,
        ts_s=alarm.decided_ts_s,
        head_ts_s=head_ts_s,
        recorded_at_s=now_s,
        score=0.0,
        explanation=AlarmExplanation(alarm.text, alarm.expected, alarm.observed, alarm.window_s, alarm.evidence),
        is_renewed=True,
    )
