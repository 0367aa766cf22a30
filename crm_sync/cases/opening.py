"""From an alarm to its case: attached to the one that is live, opened, opened again, or suppressed with a reason."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from crm_sync.brief import CaseFacts, write_brief, write_ending
from crm_sync.cases import (
    announce,
    evidence,
    hearers,
    major_queries,
    proposals,
    queries,
    silent_fix,
    steps,
    trusting,
)
from crm_sync.cases.announce import News, Suppressed, farewell
from crm_sync.cases.desk import Arrival, Desk
from crm_sync.cases.lifecycle import close, move
from crm_sync.cases.queries import Connection, DecisionAbout, Transition
from crm_sync.model import Case, CaseState, Resolution, case_id_of
from crm_sync.playbooks.decide import static_facts
from crm_sync.playbooks.fix_queries import tried_of
from crm_sync.playbooks.fixes import learn_from_relapse
from crm_sync.policy import gates
from crm_sync.policy.gates import ANY_CRM
from crm_sync.policy.hold_out import hold_out
from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason
from crm_sync.policy.switches import kill_switch
from crm_sync.settings import MessageType
from crm_sync.trust.models import AUTOMATIC, trusted_model
from devices.errors import CareloopError
from devices.profiles.model import Severity, WatchMode

TRIES: Final = 3
ONE_TROUBLE_S: Final = 7 * 86_400.0
"""So long after its case opened, a further generic alarm of a device is taken to be about the same trouble."""

_OPENED: Final = News(MessageType.CASE_OPENED, "opened")


@dataclass(frozen=True, slots=True)
class Answered:
    """What one gate said about one recipient."""

    recipient: str
    answer: GateAnswer


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a case may open, for whom, and every gate's answer on the way."""

    answers: Sequence[Answered]
    admitted: frozenset[str]  # recipients
    refusal: GateAnswer | None  # the first answer that shut the door for all


async def take_in(conn: Connection, desk: Desk, arrival: Arrival) -> None:
    """Give an active alarm that has no case to the one it belongs to. However often and whenever: one live case."""
    for _ in range(TRIES):
        if await _find_case(conn, desk, arrival):
            return
    raise CareloopError("case_contended", f"others kept opening the case of {arrival.alarm.alarm_id} first")


async def _find_case(conn: Connection, desk: Desk, arrival: Arrival) -> bool:
    """One try; False where another transaction opened the case in the same moment, which is then there to be joined."""
    subject, problem = arrival.subject, arrival.notice.problem
    leave = await trusting.ask_leave(conn, desk, arrival)
    if leave.answer is not None and leave.answer.outcome is not Outcome.ALLOW:
        await _suppress(conn, desk, arrival, leave.answer)
        return True
    live = await _lock_live_case(conn, desk, arrival)
    if live is not None and not live.belongs_to_another(subject):
        await evidence.attach(conn, desk, live, arrival)
        await proposals.second(conn, desk, live, arrival, leave)
        return True
    if live is not None:
        await end_for_former_owner(conn, desk, live, arrival)
    last = await queries.lock_last_case(conn, subject.tenant_id, subject.asset_id, problem)
    recent = last if last is not None and _is_recent(desk, last, arrival.now_s) else None
    if recent is not None and await _is_handled(conn, recent, arrival):
        await _leave_to_the_agent(conn, recent, arrival)
        return True
    admission = await _admit(conn, desk, arrival)
    if admission.refusal is not None:
        await _suppress(conn, desk, arrival, admission.refusal)
        return True
    room = await trusting.find_room(conn, desk, arrival)
    if room is not None and room.answer.outcome is not Outcome.ALLOW:
        await _suppress(conn, desk, arrival, room.answer)
        return True
    said = [answer for answer in (leave.answer, None if room is None else room.answer) if answer is not None]
    admission = replace(admission, answers=[*admission.answers, *(Answered(ANY_CRM, answer) for answer in said)])
    if recent is not None and recent.state is CaseState.RESOLVED:
        case = await _reopen(conn, desk, recent, arrival, admission)
    else:
        case = await _open(conn, desk, last, arrival, admission=admission, mode=leave.mode)
    if case is None:
        return False
    await trusting.take_room(conn, desk, arrival, room, case)
    if case.state is CaseState.OPEN:
        await steps.plan(conn, desk, case, arrival.subject, arrival.now_s)
    return True


async def _lock_live_case(conn: Connection, desk: Desk, arrival: Arrival) -> Case | None:
    """The live case that an alarm belongs to: of its problem; without a profile also the device's other trouble.

    A generic watch knows no functions, only metrics: a broken pump that lowers four of them is one case, not four.
    """
    subject = arrival.subject
    live = await queries.lock_live_case(conn, subject.tenant_id, subject.asset_id, arrival.notice.problem)
    if live is None and trusted_model(desk.profiles, subject.model) == AUTOMATIC:
        return await queries.lock_live_case_of_device(conn, subject, arrival.now_s - ONE_TROUBLE_S)
    return live


async def end_for_former_owner(conn: Connection, desk: Desk, case: Case, arrival: Arrival) -> None:
    """Take back the case of somebody whose product it no longer is; the present owner gets one of their own."""
    ending = write_ending(Resolution.WITHDRAWN, arrival.subject, arrival.now_s, arrival.now_s, desk.wording)
    by = Transition(None, case.state, "policy", Reason.OWNER_CHANGED, arrival.alarm.alarm_id)
    ended = await close(conn, replace(case, ending=ending), Resolution.WITHDRAWN, by, arrival.now_s)
    await announce.tell(conn, ended, arrival.subject, farewell(ended), arrival.now_s)


def _is_recent(desk: Desk, case: Case, now_s: float) -> bool:
    return case.closed_at_s is not None and now_s - case.closed_at_s <= desk.settings.reopen_within


async def _is_handled(conn: Connection, case: Case, arrival: Arrival) -> bool:
    """Whether an agent has just dealt with this fault, so that one more sign of it is no news.

    That is so while a sign that the agent knew has not gone, or if the agent called the fault no fault; a sign that is
    graver than all the agent saw is news.
    """
    if case.resolution is None or not case.resolution.is_persons:
        return False
    if arrival.alarm.severity.rank > case.severity.rank:
        return False
    if case.outcome == "false":
        return True
    known = await queries.alarms_of(conn, case.case_id)
    return any(not alarm.state.is_over for alarm in known if alarm.alarm_id != arrival.alarm.alarm_id)


async def _leave_to_the_agent(conn: Connection, case: Case, arrival: Arrival) -> None:
    await queries.attach_alarm(conn, arrival.alarm.alarm_id, case.case_id)
    inputs = {"case": case.case_id, "resolution": case.resolution, "outcome": case.outcome}
    answer = GateAnswer(Gate.OPEN_CASE, Outcome.REFUSE, Reason.HANDLED, inputs)
    about = DecisionAbout(arrival.subject, "case", ANY_CRM, case.case_id, arrival.alarm.alarm_id)
    await queries.add_decisions(conn, [(about, answer)], arrival.now_s)


async def _admit(conn: Connection, desk: Desk, arrival: Arrival) -> Admission:
    """Ask the gates in their order; the first no that holds for every recipient ends it."""
    answers: list[Answered] = []
    concern = desk.concern(arrival.subject, arrival.notice.problem, [arrival.alarm])
    for answer in (
        await kill_switch(conn, desk.settings, concern),
        gates.freshness(arrival.notice, desk.settings.stale_after, has_ended=arrival.has_ended),
    ):
        answers.append(Answered(ANY_CRM, answer))
        if answer.outcome is not Outcome.ALLOW:
            return Admission(answers, frozenset(), answer)
    granted = [
        Answered(recipient, await gates.case_grant(conn, arrival.subject, recipient, arrival.now_s))
        for recipient in desk.recipients()
    ]
    answers += granted
    admitted = frozenset(each.recipient for each in granted if each.answer.outcome is Outcome.ALLOW)
    if not admitted:
        return Admission(answers, admitted, granted[0].answer)
    group = _group(desk, arrival)
    if group is not None:
        answers.append(Answered(ANY_CRM, group))
        if group.outcome is not Outcome.ALLOW:
            return Admission(answers, frozenset(), group)
    return Admission(answers, admitted, None)


def _group(desk: Desk, arrival: Arrival) -> GateAnswer | None:
    """Whether the owner is left without a case for comparison; None where nobody is."""
    settings, subject = desk.settings.outreach.hold_out, arrival.subject
    if not settings.cases:
        return None
    return hold_out(settings, subject.tenant_id, subject.owner_ref, arrival.alarm.severity)


async def _suppress(conn: Connection, desk: Desk, arrival: Arrival, refusal: GateAnswer) -> None:
    """Record why no case opens, once per reason: an alarm that is updated again and again stays one decision."""
    reason = str(refusal.reason)
    if arrival.alarm.suppressed == reason:
        return
    alarm_id = arrival.alarm.alarm_id
    await queries.suppress_alarm(conn, alarm_id, reason)
    about = DecisionAbout(arrival.subject, "case", ANY_CRM, None, alarm_id)
    await queries.add_decisions(conn, [(about, refusal)], arrival.now_s)
    suppressed = Suppressed(arrival.subject, arrival.notice.problem, refusal, alarm_id=alarm_id)
    await announce.tell_suppressed(conn, desk.settings, suppressed, arrival.now_s)


async def _open(
    conn: Connection, desk: Desk, last: Case | None, arrival: Arrival, *, admission: Admission, mode: WatchMode
) -> Case | None:
    """A new case; None where another transaction has just opened one: the database lets only one of them."""
    notice, subject, now_s = arrival.notice, arrival.subject, arrival.now_s
    playbook = desk.playbook_of(subject, notice.problem, notice.kind)
    way = desk.route(playbook, static_facts(subject, arrival.alarm.severity, now_s), now_s)
    facts = CaseFacts(subject, desk.profile_of(subject), playbook, (arrival.alarm,), now_s, desk.wording)
    case = Case(
        case_id=case_id_of(notice.tenant_id, notice.alarm_id, "" if last is None else last.case_id),
        tenant_id=notice.tenant_id,
        asset_id=subject.asset_id,
        device_id=notice.device_id,
        problem=notice.problem,
        state=CaseState.OPEN if mode is WatchMode.AUTO else CaseState.PROPOSED,
        severity=arrival.alarm.severity,
        title=playbook.title,
        brief=write_brief(facts),
        team=way.team,
        owner_ref=subject.owner_ref,
        account_ref=subject.account_ref,
        opened_at_s=now_s,
        updated_at_s=now_s,
        sla_due_at_s=way.due_at_s,
        relapse_of=None if last is None or last.state is not CaseState.RESOLVED else last.case_id,
    )
    if not await queries.insert_case(conn, case):
        return None
    if way.inputs:
        about = DecisionAbout(subject, "case", way.team, case.case_id, notice.alarm_id)
        await queries.add_decisions(conn, [(about, GateAnswer(Gate.ROUTING, Outcome.ALLOW, None, way.inputs))], now_s)
    moves = [Transition(None, CaseState.PROPOSED, "telemetry", "alarm_raised", notice.alarm_id)]
    if case.state is CaseState.OPEN:  # nobody has to be asked
        moves.append(Transition(CaseState.PROPOSED, CaseState.APPROVED, "policy", "auto"))
        moves.append(Transition(CaseState.APPROVED, CaseState.OPEN, "policy", "auto"))
    await queries.add_transitions(conn, case, moves, now_s)
    await queries.attach_alarm(conn, notice.alarm_id, case.case_id)
    if case.state is CaseState.PROPOSED:
        await _record_answers(conn, case, arrival, admission)
        return case
    return await _begin(conn, desk, case, arrival, admission=admission, news=_OPENED)


async def _begin(
    conn: Connection, desk: Desk, case: Case, arrival: Arrival, *, admission: Admission, news: News
) -> Case:
    """Decide what is done about a case, and tell the CRMs unless a silent fix comes first."""
    begun = await silent_fix.begin(conn, desk, case, arrival.subject, arrival.now_s)
    if begun.waits:
        await _record_answers(conn, begun.case, arrival, admission)
        return begun.case
    return await _announce(conn, desk, begun.case, arrival, admission=admission, news=news)


async def open_approved(conn: Connection, desk: Desk, case: Case, arrival: Arrival) -> Case:
    """Open a held case that a person approved, if the gates still let anybody hear of it."""
    admission = await _admit(conn, desk, arrival)
    if admission.refusal is not None:
        await _record_answers(conn, case, arrival, admission)
        by = Transition(None, case.state, "policy", str(admission.refusal.reason))
        return await close(conn, case, Resolution.WITHDRAWN, by, arrival.now_s)
    opened = await move(
        conn, case, CaseState.OPEN, Transition(None, CaseState.OPEN, "policy", "approved"), arrival.now_s
    )
    told = await _begin(conn, desk, opened, arrival, admission=admission, news=_OPENED)
    if told.state is CaseState.OPEN:
        await steps.plan(conn, desk, told, arrival.subject, arrival.now_s)
    return told


async def open_after_fix(conn: Connection, desk: Desk, case: Case, arrival: Arrival, *, may_fix: bool) -> Case:
    """A held case waited for a silent fix in vain: another one is tried, or people are told, if the gates let them."""
    admission = await _admit(conn, desk, arrival)
    if admission.refusal is not None:
        await _record_answers(conn, case, arrival, admission)
        by = Transition(None, case.state, "policy", str(admission.refusal.reason))
        return await close(conn, case, Resolution.WITHDRAWN, by, arrival.now_s)
    begun = await silent_fix.begin(conn, desk, case, arrival.subject, arrival.now_s, may_fix=may_fix)
    if begun.waits:
        return begun.case
    by = Transition(None, CaseState.OPEN, "playbook", "people_are_needed")
    tried = await tried_of(conn, case.case_id)
    opened = evidence.rewrite(desk, begun.case, arrival, await queries.alarms_of(conn, case.case_id), tried=tried)
    if opened.state is CaseState.WAITING:
        opened = await move(conn, opened, CaseState.OPEN, by, arrival.now_s)
    told = await _announce(conn, desk, opened, arrival, admission=admission, news=_OPENED)
    await steps.plan(conn, desk, told, arrival.subject, arrival.now_s)
    return told


async def _reopen(conn: Connection, desk: Desk, case: Case, arrival: Arrival, admission: Admission) -> Case:
    """Open a resolved case again: to the person who worked on it, a relapse is the same matter."""
    resolved_at_s = case.closed_at_s
    is_by_itself = await major_queries.leave_if_over(conn, case.case_id, arrival.now_s)
    again = replace(
        case,
        parent_id=None if is_by_itself else case.parent_id,
        severity=Severity(max(case.severity, arrival.alarm.severity, key=lambda each: each.rank)),
        owner_ref=arrival.subject.owner_ref,
        account_ref=arrival.subject.account_ref,
        relapses=case.relapses + 1,
        sla_due_at_s=None,
        resolution=None,
        outcome=None,
        ending=None,
    )
    by = Transition(None, CaseState.OPEN, "telemetry", "relapse", arrival.alarm.alarm_id)
    opened = await move(conn, again, CaseState.OPEN, by, arrival.now_s)
    await hearers.forget_seen(conn, opened)
    await learn_from_relapse(conn, opened, arrival.now_s)
    await queries.attach_alarm(conn, arrival.alarm.alarm_id, case.case_id)
    tried = await tried_of(conn, case.case_id)
    rewritten = evidence.rewrite(desk, opened, arrival, (arrival.alarm,), resolved_before_s=resolved_at_s, tried=tried)
    news = News(MessageType.CASE_UPDATED, "reopened")
    return await _begin(conn, desk, rewritten, arrival, admission=admission, news=news)


async def _announce(
    conn: Connection, desk: Desk, case: Case, arrival: Arrival, *, admission: Admission, news: News
) -> Case:
    known = {each.endpoint for each in await hearers.announcements_of(conn, case.case_id) if each.is_heard}
    fresh = [each for each in desk.case_endpoints() if each.name in admission.admitted - known]
    for endpoint in fresh:
        await hearers.expect_announcement(conn, case, endpoint.name, [str(kind) for kind in endpoint.types])
    alarm_id = arrival.alarm.alarm_id
    await _record_answers(conn, case, arrival, admission)
    for each in admission.answers:
        if each.answer.outcome is not Outcome.ALLOW:
            suppressed = Suppressed(arrival.subject, case.problem, each.answer, case.case_id, alarm_id)
            await announce.tell_suppressed(conn, desk.settings, suppressed, arrival.now_s)
    opened_for = frozenset(endpoint.name for endpoint in fresh)
    told, _ = await announce.tell(conn, case, arrival.subject, replace(news, opened_for=opened_for), arrival.now_s)
    return told


async def _record_answers(conn: Connection, case: Case, arrival: Arrival, admission: Admission) -> None:
    decisions = [
        (DecisionAbout(arrival.subject, "case", each.recipient, case.case_id, arrival.alarm.alarm_id), each.answer)
        for each in admission.answers
    ]
    await queries.add_decisions(conn, decisions, arrival.now_s)
