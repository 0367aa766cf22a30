"""Steps that the owner sees: chosen when a case opens, held until they may go, and sent through the CRM."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crm_sync.cases import announce, hearers, queries, step_queries
from crm_sync.cases.announce import News, Suppressed
from crm_sync.cases.desk import Desk, find_subject
from crm_sync.cases.queries import Connection, DecisionAbout
from crm_sync.cases.step_queries import Step
from crm_sync.model import Case, Subject, step_id_of
from crm_sync.outbox import enqueue_again
from crm_sync.owner_link import link_for
from crm_sync.playbooks.model import Chosen, Why
from crm_sync.playbooks.queries import decide_action, finish_round, for_the_gates
from crm_sync.policy import outreach
from crm_sync.policy.gates import PURPOSE
from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason
from crm_sync.policy.outreach import Outreach
from crm_sync.settings import MessageType
from crm_sync.together import together
from devices.profiles.model import Action, ActionKind, Playbook


@dataclass(frozen=True, slots=True)
class _Candidate:
    number: int  # its place in the playbook
    action: Action
    channel: str

    @property
    def purpose(self) -> str:
        """What the owner must have agreed to: to be sold something is not service."""
        return purpose_of(self.action.kind)


async def plan(conn: Connection, desk: Desk, case: Case, subject: Subject, now_s: float) -> None:
    """Choose the best allowed step of the playbook that the owner sees, and send it or hold it for its hour.

    What was refused on the way is kept as a decision. Only one endpoint carries the step, so that the owner hears once.
    """
    alarms, carrier, positions = await together(
        queries.alarms_of(conn, case.case_id), _carrier(conn, desk, case), for_the_gates(conn, case.case_id)
    )
    concern = desk.concern(subject, case.problem, alarms)
    playbook = desk.playbook_of(subject, case.problem, alarms[0].kind)
    candidates = () if carrier is None else _candidates(playbook, positions)
    for candidate in candidates:
        name = candidate.action.template or candidate.action.kind
        wanted = Outreach(subject, case, concern, candidate.channel, name, now_s, purpose=candidate.purpose)
        answers = await outreach.ask(conn, desk.settings, wanted, now_s)
        about = DecisionAbout(subject, "step", candidate.channel, case.case_id)
        await queries.add_decisions(conn, [(about, answer) for answer in answers], now_s)
        if answers[-1].outcome is Outcome.REFUSE:
            suppressed = Suppressed(subject, case.problem, answers[-1], case.case_id)
            await announce.tell_suppressed(conn, desk.settings, suppressed, now_s)
            reason = str(answers[-1].reason)
            await decide_action(conn, case.case_id, candidate.number, Chosen.REJECTED, reason, answers[-1].inputs)
            continue
        await decide_action(conn, case.case_id, candidate.number, Chosen.CHOSEN, Why.BEST, {})
        assert carrier is not None  # else there is no candidate
        words = desk.playbook_of(subject, case.problem, alarms[0].kind, subject.language).what_to_say
        step = _waiting(replace(_step(case, subject, carrier, candidate, now_s), text=words), answers[-1])
        if await step_queries.insert_step(conn, step) and answers[-1].outcome is Outcome.ALLOW:
            await _send(conn, desk, case, subject, step, now_s=now_s)
        break
    await finish_round(conn, case.case_id, Why.NO_CRM if carrier is None else Why.NOT_THE_BEST)


async def release_due(conn: Connection, desk: Desk, step: Step, now_s: float) -> None:
    """Send a held step whose hour has come, if every gate still says yes; the transaction is about this alone."""
    case = await queries.lock_case(conn, step.case_id)
    held = await step_queries.lock_held_step(conn, step.step_id)
    if case is None or held is None:
        return
    subject = await find_subject(conn, step.tenant_id, case.device_id)
    answers = await ask_again(conn, desk, case, subject, held, now_s=now_s)
    about = DecisionAbout(subject, "step", held.channel, case.case_id)
    await queries.add_decisions(conn, [(about, answer) for answer in answers], now_s)
    answer = answers[-1]
    if answer.outcome is Outcome.HOLD:
        await put_off(conn, held, answer, message_id=held.message_id)
    elif answer.outcome is Outcome.REFUSE:
        await step_queries.settle_step(conn, held.step_id, "withdrawn", answer.reason, now_s)
        suppressed = Suppressed(subject, case.problem, answer, case.case_id)
        await announce.tell_suppressed(conn, desk.settings, suppressed, now_s)
    elif held.message_id is not None:  # it may have been taken: under the same id that does no harm
        await enqueue_again(conn, held.message_id)
        await step_queries.queue_step(conn, held.step_id, held.message_id, now_s)
    else:
        await _send(conn, desk, case, subject, held, now_s=now_s)


async def put_off(conn: Connection, step: Step, answer: GateAnswer, *, message_id: str | None) -> None:
    """Let a step wait for what a gate wants: its hour, or a person's yes."""
    assert answer.until_s is not None  # whoever says later says when
    if answer.gate is Gate.APPROVAL:
        await step_queries.propose_step(conn, step, answer.until_s, answer.people, message_id)
    else:
        await step_queries.hold_step(conn, step, answer.until_s, message_id)


async def ask_again(
    conn: Connection, desk: Desk, case: Case, subject: Subject, step: Step, *, now_s: float, at_send: bool = False
) -> list[GateAnswer]:
    """Every gate's answer about a step that exists, up to the first that is not yes."""
    answers = [still_wanted(case, subject, step)]
    if answers[-1].outcome is Outcome.ALLOW:
        waited_s, most_s = now_s - step.decided_at_s, desk.settings.outreach.waits_at_most
        if waited_s > most_s:
            inputs = {"waited_h": round(waited_s / 3600, 1), "at_most_h": round(most_s / 3600, 1)}
            return [*answers, GateAnswer(Gate.EXPIRY, Outcome.REFUSE, Reason.EXPIRED, inputs)]
        concern = desk.concern(subject, case.problem, await queries.alarms_of(conn, case.case_id))
        wanted = Outreach(
            subject,
            case,
            concern,
            step.channel,
            step.action,
            step.decided_at_s,
            step_id=step.step_id,
            approved_by=step.approved_by,
            at_send=at_send,
            purpose=purpose_of(step.kind),
        )
        answers += await outreach.ask(conn, desk.settings, wanted, now_s)
    return answers


def still_wanted(case: Case, subject: Subject, step: Step) -> GateAnswer:
    """Whether the reason for a step still holds: the case is live, and the product is still the same person's."""
    inputs = {"case_state": str(case.state)}
    if not case.state.is_live:
        return GateAnswer(Gate.STILL_TRUE, Outcome.REFUSE, Reason.CASE_CLOSED, inputs)
    if subject.owner_ref != step.owner_ref:
        return GateAnswer(Gate.STILL_TRUE, Outcome.REFUSE, Reason.OWNER_CHANGED, inputs)
    return GateAnswer(Gate.STILL_TRUE, Outcome.ALLOW, None, inputs)


def purpose_of(kind: str) -> str:
    """The purpose of a step of this kind, as grants name it."""
    return "marketing" if kind == ActionKind.OFFER else PURPOSE


def _candidates(playbook: Playbook, positions: Sequence[int]) -> tuple[_Candidate, ...]:
    """What the decision left to the gates, the best first."""
    actions = [(at, playbook.actions[at]) for at in positions if at < len(playbook.actions)]
    return tuple(_Candidate(at, action, action.channel) for at, action in actions if action.channel is not None)


async def _carrier(conn: Connection, desk: Desk, case: Case) -> str | None:
    knows = {each.endpoint for each in await hearers.announcements_of(conn, case.case_id) if each.is_heard}
    for endpoint in desk.settings.endpoints:
        if endpoint.name in knows and MessageType.CASE_UPDATED in endpoint.types:
            return endpoint.name
    return None


def _step(case: Case, subject: Subject, carrier: str, candidate: _Candidate, now_s: float) -> Step:
    assert subject.owner_ref is not None  # no owner, no grant
    return Step(
        step_id=step_id_of(case.case_id, candidate.number, case.relapses),
        tenant_id=case.tenant_id,
        case_id=case.case_id,
        endpoint=carrier,
        owner_ref=subject.owner_ref,
        kind=candidate.action.kind,
        channel=candidate.channel,
        template=candidate.action.template,
        text="",
        due_at_s=now_s,
        decided_at_s=now_s,
    )


def _waiting(step: Step, answer: GateAnswer) -> Step:
    """A new step as it begins: due now, due later, or waiting for a yes."""
    if answer.outcome is Outcome.ALLOW:
        return step
    assert answer.until_s is not None  # whoever says later says when
    if answer.gate is Gate.APPROVAL:
        return replace(step, state="proposed", expires_at_s=answer.until_s, people=answer.people)
    return replace(step, due_at_s=answer.until_s)


async def _send(conn: Connection, desk: Desk, case: Case, subject: Subject, step: Step, *, now_s: float) -> None:
    shown = {"step": step.step_id, "channel": step.channel, "template": step.template, "text": step.text}
    link = link_for(desk.settings.voice, desk.link_keys, step.tenant_id, step.case_id, step.owner_ref, now_s=now_s)
    if link is not None:
        shown["link"] = link
    news = News(MessageType.CASE_UPDATED, "outreach", shown, only=step.endpoint)
    _, messages = await announce.tell(conn, case, subject, news, now_s)
    if messages:
        await step_queries.queue_step(conn, step.step_id, messages[0].message_id, now_s)
    else:
        await step_queries.settle_step(conn, step.step_id, "withdrawn", Reason.NEVER_ANNOUNCED, now_s)
