"""The contact policy: every gate that a step which the owner sees must pass, in their order."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from crm_sync.model import Case, Subject
from crm_sync.policy import gates
from crm_sync.policy.approval import Asking, approval
from crm_sync.policy.cohort import cohort
from crm_sync.policy.contacts import Counting, debounce, frequency_cap
from crm_sync.policy.hold_out import hold_out
from crm_sync.policy.model import Gate, GateAnswer, Outcome
from crm_sync.policy.suppression import suppression
from crm_sync.policy.switches import Concern, Connection, kill_switch
from crm_sync.settings import CrmSettings


@dataclass(frozen=True, slots=True)
class Outreach:
    """A step that an owner is to see, before it is decided or before it is sent."""

    subject: Subject
    case: Case
    concern: Concern  # with the watches whose alarms the case rests on
    channel: str
    action: str  # of the playbook: its template, else its kind
    decided_at_s: float  # when it was first decided about
    step_id: str | None = None  # None: it does not exist yet
    approved_by: str | None = None
    at_send: bool = False
    purpose: str = gates.PURPOSE


_Ask = Callable[[Connection, CrmSettings, Outreach, float], Awaitable[GateAnswer | None]]


async def ask(conn: Connection, settings: CrmSettings, outreach: Outreach, now_s: float) -> list[GateAnswer]:
    """Every gate's answer up to the first that is not yes; a wait that is too long for the step is a no."""
    answers: list[GateAnswer] = []
    for gate in _GATES:
        answer = await gate(conn, settings, outreach, now_s)
        if answer is None:
            continue
        answers.append(_in_time(settings, outreach, answer))
        if answer.outcome is not Outcome.ALLOW:
            break
    return answers


def _in_time(settings: CrmSettings, outreach: Outreach, answer: GateAnswer) -> GateAnswer:
    """A wait as it is, or a refusal where the fault would be yesterday's news by then."""
    if answer.outcome is not Outcome.HOLD or answer.gate is Gate.APPROVAL or answer.until_s is None:
        return answer
    if answer.until_s <= outreach.decided_at_s + settings.outreach.waits_at_most:
        return answer
    return replace(answer, outcome=Outcome.REFUSE)


async def _kill_switch(conn: Connection, settings: CrmSettings, outreach: Outreach, _now_s: float) -> GateAnswer:
    return await kill_switch(conn, settings, outreach.concern)


async def _grant(conn: Connection, _settings: CrmSettings, outreach: Outreach, now_s: float) -> GateAnswer:
    return await gates.step_grant(conn, outreach.subject, outreach.channel, now_s, outreach.purpose)


async def _suppression(conn: Connection, settings: CrmSettings, outreach: Outreach, now_s: float) -> GateAnswer:
    reply_s = settings.outreach.human_reply
    return await suppression(conn, outreach.subject, outreach.case, human_reply_s=reply_s, now_s=now_s)


async def _cohort(conn: Connection, _settings: CrmSettings, outreach: Outreach, _now_s: float) -> GateAnswer | None:
    return await cohort(conn, outreach.case)


async def _hold_out(_conn: Connection, settings: CrmSettings, outreach: Outreach, _now_s: float) -> GateAnswer | None:
    subject = outreach.subject
    return hold_out(settings.outreach.hold_out, subject.tenant_id, subject.owner_ref, outreach.case.severity)


async def _debounce(conn: Connection, settings: CrmSettings, outreach: Outreach, now_s: float) -> GateAnswer:
    return await debounce(conn, settings.outreach, _counting(outreach), now_s)


async def _cap(conn: Connection, settings: CrmSettings, outreach: Outreach, now_s: float) -> GateAnswer:
    return await frequency_cap(conn, settings.outreach, _counting(outreach), now_s)


async def _quiet_hours(conn: Connection, settings: CrmSettings, outreach: Outreach, now_s: float) -> GateAnswer:
    return await gates.quiet_hours(conn, settings, outreach.subject, now_s)


async def _approval(conn: Connection, settings: CrmSettings, outreach: Outreach, now_s: float) -> GateAnswer:
    asking = Asking(
        outreach.case,
        outreach.subject.model,
        outreach.action,
        outreach.step_id,
        outreach.decided_at_s,
        outreach.approved_by,
    )
    return await approval(conn, settings.outreach.approval, asking, now_s)


def _counting(outreach: Outreach) -> Counting:
    return Counting(outreach.subject, outreach.case, outreach.step_id, outreach.at_send)


_GATES: Final[tuple[_Ask, ...]] = (
    _kill_switch,
    _grant,
    _suppression,
    _cohort,
    _hold_out,  # before what depends on earlier contacts, so that both groups are compared at the same point
    _debounce,
    _cap,
    _quiet_hours,
    _approval,
)
