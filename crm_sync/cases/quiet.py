"""Alarms that people want to hear nothing of for a while: they open no case, and are looked at again afterwards."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Final

import msgspec

from crm_sync.cases import announce, major_queries, queries
from crm_sync.cases.announce import Suppressed
from crm_sync.cases.desk import Arrival, Desk
from crm_sync.cases.queries import Connection, DecisionAbout
from crm_sync.cases.quiet_queries import quiet_now
from crm_sync.policy.gates import ANY_CRM
from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason

_REASONS: Final[Mapping[str, Reason]] = {
    "snooze": Reason.SNOOZED,
    "silence": Reason.SILENCED,
    "maintenance": Reason.MAINTENANCE,
}


async def keeps(conn: Connection, desk: Desk, arrival: Arrival) -> bool:
    """Whether an active alarm that needs a case opens none for now; the alarm itself is recorded as ever."""
    found = await quiet_now(conn, arrival)
    if found is None:
        return False
    quiet_id, kind, ends_at = found
    alarm_id = arrival.alarm.alarm_id
    waiting = msgspec.json.encode(asdict(replace(arrival.notice, hold_until_s=None))).decode()
    await major_queries.hold(conn, alarm_id, arrival.notice.tenant_id, waiting, ends_at.timestamp())
    reason = _REASONS[kind]
    if arrival.alarm.suppressed == reason:
        return True
    await queries.suppress_alarm(conn, alarm_id, reason)
    answer = GateAnswer(Gate.QUIET_ALARM, Outcome.HOLD, reason, {"quiet_id": quiet_id}, ends_at.timestamp())
    about = DecisionAbout(arrival.subject, "case", ANY_CRM, None, alarm_id)
    await queries.add_decisions(conn, [(about, answer)], arrival.now_s)
    suppressed = Suppressed(arrival.subject, arrival.notice.problem, answer, alarm_id=alarm_id)
    await announce.tell_suppressed(conn, desk.settings, suppressed, arrival.now_s)
    return True
