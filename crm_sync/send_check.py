"""The contact policy, asked once more right before a message leaves.

What was decided may no longer hold: the owner revoked a grant, the product recovered, the night began. A case that no
CRM can know of yet is then withdrawn in silence. One that a CRM may know of is taken back aloud, so that both sides
agree in the end.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec

from crm_sync.brief import write_ending
from crm_sync.cases import announce, hearers, major_queries, queries, step_queries, steps
from crm_sync.cases.announce import News, Suppressed
from crm_sync.cases.desk import Desk, find_subject
from crm_sync.cases.hearers import Announcement
from crm_sync.cases.lifecycle import close, observe
from crm_sync.cases.queries import Connection, DecisionAbout, Transition
from crm_sync.cases.step_queries import Step
from crm_sync.incidents import PREFIX
from crm_sync.model import Case, CaseAlarm, Resolution, Subject
from crm_sync.outbox import QueuedMessage
from crm_sync.policy import gates
from crm_sync.policy.contacts import alone_with
from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason, SendDecision, Verdict
from crm_sync.policy.switches import kill_switch
from crm_sync.settings import MessageType
from crm_sync.together import together

_SEND: Final = SendDecision(Verdict.SEND)
_OF_CASES: Final = frozenset(
    {MessageType.CASE_OPENED, MessageType.CASE_UPDATED, MessageType.CASE_RESOLVED, MessageType.CASE_RETRACTED}
)


class SendCheck:
    """Asks the gates again; its answers and what follows from them are written in the caller's transaction."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def may_send(self, conn: Connection, message: QueuedMessage, now_s: float, /) -> SendDecision:
        """Whether a message may leave at `now_s` on the gateway's clock."""
        if message.type not in _OF_CASES:
            return _SEND
        case, announced = await together(
            queries.read_case(conn, message.stream_key),
            hearers.announcement_of(conn, message.stream_key, message.endpoint),
        )
        if case is None:
            return _SEND  # of another life of this database; its receiver knows better than we do
        if announced is None:
            return SendDecision(Verdict.WITHDRAW, Reason.NEVER_ANNOUNCED)
        if message.type is MessageType.CASE_OPENED and announced.is_heard:
            return await self._may_open(conn, case, announced, now_s)
        if message.type is MessageType.CASE_UPDATED and announced.state == "announced":
            return await self._may_update(conn, case, message, announced, now_s)
        if message.type is not MessageType.CASE_UPDATED and announced.state in {"announced", "taken_back"}:
            if await _waits_for_children(conn, case, message):
                return SendDecision(Verdict.HOLD, Reason.INCIDENT)
            return _SEND  # a farewell names nobody, and keeps both sides in agreement
        return SendDecision(Verdict.WITHDRAW, Reason.NEVER_ANNOUNCED)

    async def _may_open(self, conn: Connection, case: Case, announced: Announcement, now_s: float) -> SendDecision:
        subject, alarms = await together(
            find_subject(conn, case.tenant_id, case.device_id), queries.alarms_of(conn, case.case_id)
        )
        may_be_known = announced.state == "announced"
        if not may_be_known and await self._is_stopped(conn, case, subject, alarms):
            return SendDecision(Verdict.HOLD, Reason.KILL_SWITCH)
        answer = _still_true(case, subject, may_be_known=may_be_known)
        if answer.outcome is Outcome.ALLOW:
            answer = await gates.case_grant(conn, subject, announced.endpoint, now_s)
        if answer.outcome is Outcome.ALLOW:
            if not may_be_known:
                await hearers.set_announcement(conn, case.case_id, announced.endpoint, "announced")
            return _SEND
        held = await queries.try_lock_case(conn, case.case_id)
        if held is None:
            return SendDecision(Verdict.HOLD, answer.reason)  # somebody is changing the case; ask again
        await self._withdraw(conn, held, announced, answer, now_s)
        return SendDecision(Verdict.WITHDRAW, answer.reason)

    async def _is_stopped(self, conn: Connection, case: Case, subject: Subject, alarms: Sequence[CaseAlarm]) -> bool:
        concern = self._desk.concern(subject, case.problem, alarms)
        return (await kill_switch(conn, self._desk.settings, concern)).outcome is not Outcome.ALLOW

    async def _withdraw(
        self, conn: Connection, case: Case, announced: Announcement, answer: GateAnswer, now_s: float
    ) -> None:
        """Take a held case back from one endpoint; from the last one, end it."""
        subject = await find_subject(conn, case.tenant_id, case.device_id)
        may_be_known = announced.state == "announced"
        state = "taken_back" if may_be_known else "withdrawn"
        await hearers.set_announcement(conn, case.case_id, announced.endpoint, state)
        await self._explain(conn, case, announced.endpoint, answer, now_s)
        by = Transition(None, case.state, "policy", str(answer.reason), announced.endpoint)
        heard_by = [each for each in await hearers.announcements_of(conn, case.case_id) if each.is_heard]
        if case.state.is_live and not heard_by:
            ended = replace(case, ending=write_ending(Resolution.WITHDRAWN, subject, now_s, now_s, self._desk.wording))
            case = await close(conn, ended, Resolution.WITHDRAWN, by, now_s)
        else:
            await observe(conn, case, by, now_s)
        if may_be_known:
            news = News(MessageType.CASE_RETRACTED, str(answer.reason), only=announced.endpoint)
            await announce.tell(conn, case, subject, news, now_s)

    async def _may_update(
        self, conn: Connection, case: Case, message: QueuedMessage, announced: Announcement, now_s: float
    ) -> SendDecision:
        step = await step_queries.lock_step_of_message(conn, message.message_id)
        change = msgspec.json.decode(message.body, type=_Change).data
        if step is not None:
            return await self._may_contact(conn, case, message, step, now_s)
        if change.outreach is not None:  # its step goes by another message by now
            return SendDecision(Verdict.WITHDRAW, Reason.EXPIRED)
        subject = await find_subject(conn, case.tenant_id, case.device_id)
        answer = _same_owner(case, subject)
        if answer.outcome is Outcome.ALLOW:
            answer = await gates.case_grant(conn, subject, message.endpoint, now_s)
        if answer.outcome is Outcome.ALLOW:
            return _SEND
        if change.change == "reopened":
            # The endpoint holds the case as closed, and will not hear otherwise: it must not live on here.
            held = await queries.try_lock_case(conn, case.case_id)
            if held is None:
                return SendDecision(Verdict.HOLD, answer.reason)
            await self._withdraw(conn, held, announced, answer, now_s)
        else:
            await self._explain(conn, case, message.endpoint, answer, now_s)
        return SendDecision(Verdict.WITHDRAW, answer.reason)

    async def _may_contact(
        self, conn: Connection, case: Case, message: QueuedMessage, step: Step, now_s: float
    ) -> SendDecision:
        """Whether a step may go now. One that has to wait leaves the queue: what is behind it is not to wait, too."""
        subject = await find_subject(conn, case.tenant_id, case.device_id)
        await alone_with(conn, subject)
        answer = _in_time(self._desk, step, now_s)
        if answer.outcome is Outcome.ALLOW:
            answers = await steps.ask_again(conn, self._desk, case, subject, step, now_s=now_s, at_send=True)
            answer = answers[-1]
        if answer.outcome is Outcome.ALLOW:
            answer = await gates.case_grant(conn, subject, message.endpoint, now_s)
        if answer.outcome is Outcome.ALLOW:
            await step_queries.settle_step(conn, step.step_id, "sent", None, now_s)
            return _SEND
        if answer.outcome is Outcome.HOLD:
            taken = await step_queries.may_be_taken(conn, message.message_id)
            await steps.put_off(conn, step, answer, message_id=message.message_id if taken else None)
            about = DecisionAbout(subject, "message", step.channel, case.case_id)
            await queries.add_decisions(conn, [(about, answer)], now_s)
        else:
            await self._explain(conn, case, step.channel, answer, now_s)
            await step_queries.settle_step(conn, step.step_id, "withdrawn", answer.reason, now_s)
        return SendDecision(Verdict.WITHDRAW, answer.reason, answer.until_s)

    async def _explain(self, conn: Connection, case: Case, recipient: str, answer: GateAnswer, now_s: float) -> None:
        """Keep why something did not leave, about the person whom it would have concerned."""
        subject = await find_subject(conn, case.tenant_id, case.device_id)
        concerned = replace(subject, owner_ref=case.owner_ref)
        about = DecisionAbout(concerned, "message", recipient, case.case_id)
        await queries.add_decisions(conn, [(about, answer)], now_s)
        suppressed = Suppressed(subject, case.problem, answer, case.case_id)
        await announce.tell_suppressed(conn, self._desk.settings, suppressed, now_s)


class _ChangeData(msgspec.Struct):
    change: str = ""
    outreach: dict[str, str | None] | None = None


class _Change(msgspec.Struct):
    data: _ChangeData


def _in_time(desk: Desk, step: Step, now_s: float) -> GateAnswer:
    """Whether a step left its decision so short a time ago that it still stands; else it is decided anew, at once."""
    waited_s = 0.0 if step.queued_at_s is None else now_s - step.queued_at_s
    if waited_s <= desk.settings.outreach.expires_after:
        return GateAnswer(Gate.EXPIRY, Outcome.ALLOW)
    inputs = {"waited_h": round(waited_s / 3600, 1)}
    return GateAnswer(Gate.EXPIRY, Outcome.HOLD, Reason.EXPIRED, inputs, now_s)


async def _waits_for_children(conn: Connection, case: Case, message: QueuedMessage) -> bool:
    """Whether a major case's end waits until its CRM knows which children go on: some close them together with it."""
    if not case.asset_id.startswith(PREFIX):
        return False
    return await major_queries.is_leaving(conn, case.case_id, message.endpoint, message.created_at)


def _still_true(case: Case, subject: Subject, *, may_be_known: bool) -> GateAnswer:
    """Whether what a case's opening says still holds; one that a CRM may know of is closed by what follows it."""
    if not case.state.is_live and not may_be_known:
        recovered = case.resolution is Resolution.RECOVERED_IN_TELEMETRY
        reason = Reason.RECOVERED if recovered else Reason.CASE_CLOSED
        return GateAnswer(Gate.STILL_TRUE, Outcome.REFUSE, reason, {"case_state": str(case.state)})
    return _same_owner(case, subject)


def _same_owner(case: Case, subject: Subject) -> GateAnswer:
    if case.belongs_to_another(subject):
        return GateAnswer(Gate.STILL_TRUE, Outcome.REFUSE, Reason.OWNER_CHANGED)
    return GateAnswer(Gate.STILL_TRUE, Outcome.ALLOW)
