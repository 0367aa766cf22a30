"""Between an alarm and its case: is it one of many that are told as one, or does it wait to see?"""

from dataclasses import asdict, replace

import msgspec

from crm_sync.cases import children, major, major_queries
from crm_sync.cases import queries as cases
from crm_sync.cases.desk import Arrival
from crm_sync.cases.queries import Connection, DecisionAbout
from crm_sync.policy.gates import ANY_CRM
from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason


async def absorbs(conn: Connection, arrival: Arrival) -> bool:
    """Whether an active alarm that needs a case opens none: its incident's major case speaks for it, or it waits."""
    notice = arrival.notice
    incident_id = notice.incident_id
    if incident_id is None and notice.is_renewed:  # an incident may have claimed it since it was told of
        incident_id = await major_queries.incident_of(conn, notice.alarm_id)
    if incident_id is not None and await _joins(conn, incident_id, arrival):
        return True
    if notice.incident_id is not None:
        return False
    if notice.hold_until_s is not None and not arrival.has_ended:
        return await _waits(conn, arrival, notice.hold_until_s)
    if notice.severity == "critical":  # it has grown graver while it waited
        await major_queries.drop_holds(conn, [notice.alarm_id])
        return False
    # Whatever else is told of a waiting alarm, it goes on waiting.
    return await major_queries.is_held(conn, notice.alarm_id)


async def _joins(conn: Connection, incident_id: str, arrival: Arrival) -> bool:
    found = await major_queries.find_major(conn, incident_id)
    if found is None or found.is_over:
        return False
    alarm, subject = arrival.alarm, arrival.subject
    live = await cases.lock_live_case(conn, subject.tenant_id, subject.asset_id, arrival.notice.problem)
    await major_queries.drop_holds(conn, [alarm.alarm_id])
    await major_queries.add_member(conn, incident_id, alarm.alarm_id)
    if live is not None:
        await children.adopt(conn, found, live, arrival.now_s)
        return False  # one more sign of a case that is there
    if alarm.suppressed != "incident":
        answer = GateAnswer(Gate.COHORT, Outcome.REFUSE, Reason.INCIDENT, {"major_case": found.case_id})
        about = DecisionAbout(subject, "case", ANY_CRM, None, alarm.alarm_id)
        await cases.add_decisions(conn, [(about, answer)], arrival.now_s)
    grown = await major_queries.find_major(conn, incident_id)
    if grown is not None:
        await major.tell_growth(conn, grown, arrival.now_s)
    return True


async def _waits(conn: Connection, arrival: Arrival, until_s: float) -> bool:
    if until_s <= arrival.now_s:
        return False
    notice = replace(arrival.notice, hold_until_s=None)
    body = msgspec.json.encode(asdict(notice)).decode()
    await major_queries.hold(conn, notice.alarm_id, notice.tenant_id, body, until_s)
    answer = GateAnswer(Gate.COHORT, Outcome.HOLD, Reason.COHORT_SUSPECTED, {}, until_s)
    about = DecisionAbout(arrival.subject, "case", ANY_CRM, None, notice.alarm_id)
    await cases.add_decisions(conn, [(about, answer)], arrival.now_s)
    return True
