"""The major case of an incident: opened once, grown in words, resolved when the incident is over."""

from dataclasses import replace

from crm_sync.cases import announce, children, hearers, major_queries
from crm_sync.cases import queries as cases
from crm_sync.cases.announce import News, farewell
from crm_sync.cases.cohort_brief import CohortWriter
from crm_sync.cases.desk import Desk
from crm_sync.cases.lifecycle import close, observe
from crm_sync.cases.major_queries import Major
from crm_sync.cases.queries import Connection, DecisionAbout, Transition
from crm_sync.incidents import IncidentNotice
from crm_sync.model import Case, CaseState, Resolution, Subject, case_id_of
from crm_sync.policy.gates import ANY_CRM
from crm_sync.policy.model import Outcome
from crm_sync.policy.switches import kill_switch
from crm_sync.settings import MessageType
from devices.profiles.model import Severity


async def take_incident(conn: Connection, desk: Desk, notice: IncidentNotice, now_s: float) -> bool:
    """Work one notice of an incident in the caller's transaction; False where it is to be worked on in the next one."""
    major = await major_queries.find_major(conn, notice.incident_id)
    if notice.event == "ended":
        return major is None or await _end(conn, desk, major, notice, now_s)
    if major is None:
        major = await _open(conn, desk, notice, now_s)
    elif (notice.problems, notice.model, notice.region) != (tuple(major.problems), major.model, major.region):
        major = await _grow(conn, desk, major, notice, now_s)
    if major is not None:
        await _claim(conn, major, notice, now_s)
    return True


def _subject(notice: IncidentNotice) -> Subject:
    """A cohort in the place of a product: it is nobody's, and has no device."""
    return Subject(notice.tenant_id, notice.incident_id, notice.incident_id, notice.model, firmware=notice.firmware)


def _case(desk: Desk, notice: IncidentNotice, now_s: float) -> Case:
    words = CohortWriter(desk, notice)
    return Case(
        case_id=case_id_of(notice.tenant_id, notice.incident_id, ""),
        tenant_id=notice.tenant_id,
        asset_id=notice.incident_id,
        device_id=notice.incident_id,
        problem=notice.problems[0],
        state=CaseState.OPEN,
        severity=Severity(notice.severity),
        title=words.title(),
        brief=words.brief(),
        team=notice.team,
        owner_ref=None,
        account_ref=None,
        opened_at_s=now_s,
        updated_at_s=now_s,
        sla_due_at_s=None,
    )


async def _open(conn: Connection, desk: Desk, notice: IncidentNotice, now_s: float) -> Major | None:
    """Open the major case and tell the CRMs; None while the kill switch keeps every case from opening."""
    subject = _subject(notice)
    answer = await kill_switch(conn, desk.settings, desk.concern(subject, notice.problems[0]))
    about = DecisionAbout(subject, "case", ANY_CRM, None, notice.incident_id)
    if answer.outcome is not Outcome.ALLOW:
        await cases.add_decisions(conn, [(about, answer)], now_s)
        return None
    case = _case(desk, notice, now_s)
    await cases.insert_case(conn, case)
    moves = [
        Transition(None, CaseState.PROPOSED, "fleet", notice.kind, notice.incident_id),
        Transition(CaseState.PROPOSED, CaseState.APPROVED, "policy", "auto"),
        Transition(CaseState.APPROVED, CaseState.OPEN, "policy", "auto"),
    ]
    await cases.add_transitions(conn, case, moves, now_s)
    await cases.add_decisions(conn, [(replace(about, case_id=case.case_id), answer)], now_s)
    major = Major(
        case_id=case.case_id,
        incident_id=notice.incident_id,
        kind=notice.kind,
        model=notice.model,
        firmware=notice.firmware,
        region=notice.region,
        problems=list(notice.problems),
        devices=notice.devices,
        told_devices=notice.devices,
        is_over=False,
    )
    await major_queries.put_major(conn, notice.tenant_id, major)
    await _announce(conn, desk, case, subject, now_s)
    return major


async def _announce(conn: Connection, desk: Desk, case: Case, subject: Subject, now_s: float) -> None:
    endpoints = desk.case_endpoints()
    for endpoint in endpoints:
        await hearers.expect_announcement(conn, case, endpoint.name, [str(kind) for kind in endpoint.types])
    opened_for = frozenset(endpoint.name for endpoint in endpoints)
    await announce.tell(conn, case, subject, News(MessageType.CASE_OPENED, "opened", opened_for=opened_for), now_s)


async def _grow(conn: Connection, desk: Desk, major: Major, notice: IncidentNotice, now_s: float) -> Major:
    """Take up that the incident has one more problem, or is wider than it was."""
    change = "widened" if notice.problems == tuple(major.problems) else "problem_added"
    grown = replace(
        major,
        model=notice.model,
        region=notice.region,
        problems=list(notice.problems),
        devices=max(major.devices, notice.devices),
    )
    await major_queries.put_major(conn, notice.tenant_id, grown)
    case = await cases.lock_case(conn, major.case_id)
    if case is not None and case.state.is_live:
        severity = max(case.severity, Severity(notice.severity), key=lambda each: each.rank)
        words = CohortWriter(desk, notice)
        case = replace(case, title=words.title(), brief=words.brief(), severity=severity)
        await observe(conn, case, Transition(None, case.state, "fleet", change, notice.title), now_s)
        await announce.tell(conn, case, _subject(notice), News(MessageType.CASE_UPDATED, change), now_s)
    return grown


async def _claim(conn: Connection, major: Major, notice: IncidentNotice, now_s: float) -> None:
    """Make members of alarms that were told of before, and children of the cases that they have."""
    await major_queries.drop_holds(conn, notice.alarm_ids)
    for alarm_id in notice.alarm_ids:
        alarm = await cases.find_alarm(conn, alarm_id)
        if alarm is None:
            continue  # its notice was parked
        await major_queries.add_member(conn, major.incident_id, alarm_id)
        case = None if alarm.case_id is None else await cases.lock_case(conn, alarm.case_id)
        if case is not None and case.state.is_live:
            await children.adopt(conn, major, case, now_s)


async def tell_growth(conn: Connection, major: Major, now_s: float) -> None:
    """Tell the CRMs of a major case how many devices it has when that has doubled since they last heard."""
    if major.devices < 2 * max(major.told_devices, 1):
        return
    case = await cases.lock_case(conn, major.case_id)
    if case is None or not case.state.is_live:
        return
    await major_queries.set_told(conn, major.incident_id)
    subject = Subject(case.tenant_id, case.device_id, case.asset_id, major.model, firmware=major.firmware)
    await announce.tell(conn, case, subject, News(MessageType.CASE_UPDATED, "more_devices"), now_s)


async def _end(conn: Connection, desk: Desk, major: Major, notice: IncidentNotice, now_s: float) -> bool:
    """Resolve the major case; children that are ill still go on, and who has no case but trouble still gets one.

    False while there are more of these children than leave at once: it is resolved when they have gone.
    """
    await major_queries.end_major(conn, major.incident_id)
    if not await children.let_go(conn, major, now_s):
        return False
    case = await cases.lock_case(conn, major.case_id)
    if case is not None and case.state.is_live:
        subject = _subject(notice)
        ended = replace(case, ending=CohortWriter(desk, notice).ending(now_s))
        by = Transition(None, case.state, "fleet", Resolution.RECOVERED_IN_TELEMETRY, major.incident_id)
        closed = await close(conn, ended, Resolution.RECOVERED_IN_TELEMETRY, by, now_s)
        await announce.tell(conn, closed, subject, farewell(closed), now_s)
    await major_queries.leave_over(conn, major.incident_id)
    return True
