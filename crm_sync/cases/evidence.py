"""What a live case learns: further alarms of the same problem, and what becomes of those it has."""

from collections.abc import Sequence
from dataclasses import replace

from crm_sync.brief import CaseFacts, write_brief
from crm_sync.cases import announce, queries, step_queries
from crm_sync.cases.announce import News
from crm_sync.cases.desk import Arrival, Desk
from crm_sync.cases.lifecycle import observe
from crm_sync.cases.queries import Connection, Transition
from crm_sync.model import AlarmState, Case, CaseAlarm
from crm_sync.playbooks.decide import static_facts
from crm_sync.playbooks.fix_queries import tried_of
from crm_sync.playbooks.model import TriedFix
from crm_sync.policy.model import Reason
from crm_sync.settings import MessageType
from devices.profiles.model import Severity


async def attach(conn: Connection, desk: Desk, case: Case, arrival: Arrival) -> None:
    """Add an alarm to a held live case."""
    await queries.attach_alarm(conn, arrival.alarm.alarm_id, case.case_id)
    await _learn(conn, desk, case, arrival, "alarm_attached")


async def refresh(conn: Connection, desk: Desk, case: Case, arrival: Arrival) -> None:
    """Take up what a held live case's own alarm now says; the CRM hears of it where it changes what to do."""
    if arrival.before is not None and arrival.before.state is AlarmState.UNKNOWN:
        await _learn(conn, desk, case, arrival, "heard_again")
    elif arrival.alarm.severity.rank > case.severity.rank:
        await _learn(conn, desk, case, arrival, "severity_raised")
        if arrival.alarm.severity is Severity.CRITICAL:  # a major case speaks for it no more: see `policy.cohort`
            await step_queries.plan_anew(conn, case.case_id, Reason.INCIDENT, arrival.now_s)
    elif arrival.before is not None and arrival.before.started_at_s != arrival.alarm.started_at_s:
        await _learn(conn, desk, case, arrival, "alarm_corrected")


async def fall_silent(conn: Connection, desk: Desk, case: Case, arrival: Arrival) -> None:
    """Note on a held live case that its product no longer speaks: that is not recovery."""
    if arrival.before is None or arrival.before.state is not AlarmState.UNKNOWN:
        await _learn(conn, desk, case, arrival, "silent")


async def lose(conn: Connection, desk: Desk, case: Case, arrival: Arrival) -> None:
    """Note on a held live case that one of its alarms is over while others are not."""
    if arrival.before is None or not arrival.before.state.is_over:
        await _learn(conn, desk, case, arrival, f"alarm_{arrival.alarm.state}")


async def _learn(conn: Connection, desk: Desk, case: Case, arrival: Arrival, change: str) -> None:
    alarms = await queries.alarms_of(conn, case.case_id)
    learnt = rewrite(desk, case, arrival, alarms, tried=await tried_of(conn, case.case_id))
    by = Transition(None, learnt.state, "telemetry", change, arrival.alarm.alarm_id)
    await observe(conn, learnt, by, arrival.now_s)
    await announce.tell(conn, learnt, arrival.subject, News(MessageType.CASE_UPDATED, change), arrival.now_s)


def rewrite(
    desk: Desk,
    case: Case,
    arrival: Arrival,
    alarms: tuple[CaseAlarm, ...],
    *,
    resolved_before_s: float | None = None,
    tried: Sequence[TriedFix] = (),
) -> Case:
    """A case with severity, team, deadline and brief as these alarms make them; a deadline never moves back."""
    first = alarms[0]
    grave = [alarm.severity for alarm in alarms if alarm.state is not AlarmState.RETRACTED]
    severity: Severity = max(case.severity, *grave, key=lambda each: each.rank)
    playbook = desk.playbook_of(arrival.subject, case.problem, first.kind)
    team, due = case.team, [case.sla_due_at_s]
    if severity is not case.severity or resolved_before_s is not None:  # else it stays with those who have it
        way = desk.route(playbook, static_facts(arrival.subject, severity, arrival.now_s), arrival.now_s)
        team, due = way.team, [case.sla_due_at_s, way.due_at_s]
    profile = desk.profile_of(arrival.subject)
    facts = CaseFacts(
        arrival.subject,
        profile,
        playbook,
        alarms,
        arrival.now_s,
        desk.wording,
        resolved_before_s=resolved_before_s,
        tried=tried,
    )
    return replace(
        case,
        severity=severity,
        team=team,
        sla_due_at_s=min((due_s for due_s in due if due_s is not None), default=None),
        brief=write_brief(facts),
    )
