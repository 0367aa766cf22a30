"""A person's yes or no to a step that the owner would see; silence means no."""

from dataclasses import replace

from crm_sync.cases import announce, queries, step_queries
from crm_sync.cases.announce import Suppressed
from crm_sync.cases.desk import Desk, find_subject
from crm_sync.cases.queries import Connection, DecisionAbout
from crm_sync.cases.step_queries import Step
from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason
from crm_sync.settings import CrmSettings
from devices.errors import CareloopError


async def approve(
    conn: Connection, tenant_id: str, step_id: str, person: str, now_s: float, *, account: str | None = None
) -> Step:
    """A person says yes: the step goes as soon as every other gate lets it, and another has said so where two must.

    `account` is what they signed in with; None for a token or a command, behind which anybody may be: they are nobody's
    yes where two people must say it. Raises CareloopError.
    """
    step = await _proposed(conn, tenant_id, step_id)
    if step.people == 1:
        return await _let_go(conn, step, person, now_s)
    if account is None:
        detail = f"{step_id} wants the yes of two people who have signed in: a token or a command is neither"
        raise CareloopError("not_a_person", detail)
    if step.first_yes_account is None:
        await step_queries.note_first_yes(conn, step, person, account)
        inputs = {"approved_by": person, "people": step.people}
        answer = GateAnswer(Gate.APPROVAL, Outcome.HOLD, Reason.APPROVAL_NEEDED, inputs, step.expires_at_s)
        await _record(conn, step, answer, now_s)
        return replace(step, first_yes_by=person, first_yes_account=account)
    if step.first_yes_account == account:
        raise CareloopError("same_person", f"{step_id} wants the yes of two people, and {person} has said it already")
    return await _let_go(conn, step, f"{step.first_yes_by}, {person}", now_s)


async def _let_go(conn: Connection, step: Step, people: str, now_s: float) -> Step:
    await step_queries.approve_step(conn, step, people, now_s)
    await _record(conn, step, GateAnswer(Gate.APPROVAL, Outcome.ALLOW, None, {"approved_by": people}), now_s)
    return replace(step, state="held", approved_by=people)


async def decline(
    conn: Connection, settings: CrmSettings, tenant_id: str, step_id: str, person: str, *, why: str = "", now_s: float
) -> Step:
    """A person says no: the owner is not contacted. Raises CareloopError."""
    step = await _proposed(conn, tenant_id, step_id)
    inputs = {"declined_by": person, "why": why[:1000]}
    await _give_up(conn, settings, step, GateAnswer(Gate.APPROVAL, Outcome.REFUSE, Reason.DECLINED, inputs), now_s)
    return step


async def expire(conn: Connection, desk: Desk, forgotten: Step, now_s: float) -> None:
    """Do nothing about a step that nobody said yes to in time; the transaction is about this alone."""
    step = await _lock(conn, forgotten.step_id)
    if step is None:
        return
    answer = GateAnswer(Gate.APPROVAL, Outcome.REFUSE, Reason.NOT_APPROVED, {"channel": step.channel})
    await _give_up(conn, desk.settings, step, answer, now_s)


async def _proposed(conn: Connection, tenant_id: str, step_id: str) -> Step:
    step = await _lock(conn, step_id)
    if step is None or step.tenant_id != tenant_id:
        raise CareloopError("not_proposed", f"{step_id} does not wait for a yes; `careloop outreach waiting` lists all")
    return step


async def _lock(conn: Connection, step_id: str) -> Step | None:
    """A step that waits for a yes, after its case: in the order in which whoever closes a case takes both."""
    case_id = await step_queries.case_of_step(conn, step_id)
    if case_id is None or await queries.lock_case(conn, case_id) is None:
        return None
    return await step_queries.lock_proposed_step(conn, step_id)


async def _give_up(conn: Connection, settings: CrmSettings, step: Step, answer: GateAnswer, now_s: float) -> None:
    await step_queries.settle_step(conn, step.step_id, "withdrawn", answer.reason, now_s)
    await _record(conn, step, answer, now_s)
    case = await queries.read_case(conn, step.case_id)
    assert case is not None  # a step is of a case
    subject = await find_subject(conn, step.tenant_id, case.device_id)
    await announce.tell_suppressed(conn, settings, Suppressed(subject, case.problem, answer, case.case_id), now_s)


async def _record(conn: Connection, step: Step, answer: GateAnswer, now_s: float) -> None:
    case = await queries.read_case(conn, step.case_id)
    assert case is not None  # a step is of a case
    subject = await find_subject(conn, step.tenant_id, case.device_id)
    about = DecisionAbout(subject, "step", step.channel, step.case_id)
    await queries.add_decisions(conn, [(about, answer)], now_s)
