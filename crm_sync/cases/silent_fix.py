"""What is done before people are told of a case: the product is told to mend itself, and telemetry says if it did."""

from dataclasses import dataclass, replace

from crm_sync.cases import hearers, queries, trusting
from crm_sync.cases.desk import Arrival, Desk, assignment_of
from crm_sync.cases.lifecycle import move, observe
from crm_sync.cases.queries import Connection, Transition
from crm_sync.model import Case, CaseState, Resolution, Subject
from crm_sync.playbooks import decide, fix_queries, fixes
from crm_sync.playbooks import queries as playbook_queries
from crm_sync.playbooks.decide import Decision, FixRules, Question
from crm_sync.playbooks.model import Lane, Why
from crm_sync.trust.models import trusted_model
from devices.commands.queries import cancel_command, find_command
from devices.profiles.model import ActionKind, Severity

COMMAND = (ActionKind.COMMAND,)


@dataclass(frozen=True, slots=True)
class Begun:
    """A case after its decision."""

    case: Case
    waits: bool  # people are told only if the silent fix does not help


async def begin(
    conn: Connection, desk: Desk, case: Case, subject: Subject, now_s: float, *, may_fix: bool = True
) -> Begun:
    """Decide about a case with its alarms attached, and keep the decision; order the silent fix, if one is possible.

    Nobody waits for a silent fix where something is critical, or where a CRM knows of the case already.
    """
    question = await _question(conn, desk, case, subject, now_s)
    rules = FixRules(may_fix and desk.settings.silent_fixes, desk.settings.silent_fixes_per_hour)
    decision = await decide.decide(conn, question, rules, now_s)
    is_known = any(each.is_heard for each in await hearers.announcements_of(conn, case.case_id))
    waits = decision.fix is not None and case.severity is not Severity.CRITICAL and not is_known
    command_id, decision = await _order(conn, desk, case, decision, subject, now_s=now_s, holds_case=waits)
    waits = waits and command_id is not None
    await decide.record(conn, question, decision, now_s, waits=waits)
    case = _assigned(desk, case, decision, now_s)
    if command_id is None:
        return Begun(case, waits=False)
    by = Transition(None, CaseState.WAITING, "playbook", "silent_fix", command_id)
    if waits and case.state is CaseState.OPEN:
        return Begun(await move(conn, case, CaseState.WAITING, by, now_s), waits)
    await observe(conn, case, by, now_s)
    return Begun(case, waits)


async def _question(conn: Connection, desk: Desk, case: Case, subject: Subject, now_s: float) -> Question:
    alarms = await queries.alarms_of(conn, case.case_id)
    playbook = desk.playbook_of(subject, case.problem, alarms[0].kind)
    precision, score = await trusting.confidence_of(conn, desk, subject, alarms[0], now_s)
    model = trusted_model(desk.profiles, subject.model)
    return Question(case, subject, model, playbook, alarms, precision, score)


async def _order(
    conn: Connection,
    desk: Desk,
    case: Case,
    decision: Decision,
    subject: Subject,
    *,
    now_s: float,
    holds_case: bool,
) -> tuple[str | None, Decision]:
    profile = desk.profile_of(subject)
    if decision.fix is None or profile is None:
        return None, decision
    command_id = await fixes.order(conn, case, decision, profile, now_s, holds_case=holds_case)
    if command_id is None:
        position = decision.fix.candidate.position
        decision = replace(decision, fix=None, refused={**decision.refused, position: Why.COMMAND_PENDING})
    return command_id, decision


def _assigned(desk: Desk, case: Case, decision: Decision, now_s: float) -> Case:
    """The case in the hands of whoever the best action of agents names."""
    best = next(iter(decision.ranking.allowed(Lane.AGENTS)), None)
    if best is None:
        return case
    way = desk.route_to(assignment_of(best.candidate.action), case.severity, now_s)
    return replace(case, team=way.team, sla_due_at_s=way.due_at_s)


async def conclude(conn: Connection, desk: Desk, case: Case, arrival: Arrival) -> bool:
    """The last alarm of a case has cleared: whether a silent fix did it, before anybody was told.

    It did if the product has been well since it had the command, by its own telemetry. What was well before that
    recovered by itself.
    """
    fix = await fix_queries.open_fix_of(conn, case.case_id)
    if fix is None:
        return False
    command = await find_command(conn, case.tenant_id, fix.command_id)
    reached_at = None if command is None else command.reached_at
    if reached_at is None or _well_since_s(desk, arrival) < reached_at.timestamp():
        await fix_queries.settle_fix(conn, fix.command_id, "dropped", "recovered_by_itself", arrival.now_s)
        await cancel_command(conn, case.tenant_id, fix.command_id, "the fault is gone")
        return False
    await fix_queries.settle_fix(conn, fix.command_id, "worked", "cleared_in_telemetry", arrival.now_s)
    await cancel_command(conn, case.tenant_id, fix.command_id, "the fault is gone")
    await playbook_queries.settle_actions(conn, case.case_id, COMMAND, "worked", "cleared_in_telemetry", arrival.now_s)
    return fix.holds_case


def _well_since_s(desk: Desk, arrival: Arrival) -> float:
    """Device time from which on an alarm that has cleared was well: it clears after having been so for a while."""
    profile = desk.profile_of(arrival.subject)
    watches = {} if profile is None else {watch.name: watch for watch in profile.watches}
    watch = watches.get(arrival.notice.watch)
    return arrival.notice.ts_s - (0.0 if watch is None else watch.keep_firing_for)


def resolution_of(*, fixed_silently: bool) -> Resolution:
    """How telemetry has ended a case."""
    return Resolution.FIXED_SILENTLY if fixed_silently else Resolution.RECOVERED_IN_TELEMETRY
