"""What a CRM says about a case, applied to it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from crm_sync.brief import write_ending
from crm_sync.cases import announce, hearers, queries
from crm_sync.cases.announce import News, farewell
from crm_sync.cases.desk import find_subject
from crm_sync.cases.false_alarm import write_taken_back
from crm_sync.cases.lifecycle import close, move, observe
from crm_sync.cases.queries import Connection, Transition
from crm_sync.model import MOVES, Case, CaseState, Resolution
from crm_sync.settings import MessageType
from crm_sync.trust.verdicts import Said, has_said, say
from crm_sync.wording.wording import Wording

CallbackStatus = Literal["accepted", "in_progress", "waiting", "resolved", "rejected"]
AgentOutcome = Literal["true", "false", "unclear"]


@dataclass(frozen=True, slots=True)
class CaseCallback:
    """A verified and not repeated word of a CRM on one case."""

    tenant_id: str
    endpoint: str
    case_id: str
    status: CallbackStatus
    received_at_s: float  # the gateway's clock
    outcome: AgentOutcome | None = None  # whether the fault was real, in an agent's eyes
    version: int | None = None  # of the CRM's record; an older one than before has no effect
    note: str = ""
    customer_said: str = ""  # of the fault, in an agent's words


class CallbackEffect(StrEnum):
    """What came of a callback."""

    APPLIED = "applied"
    NO_CHANGE = "no_change"  # the case stands there already, or has ended for another reason
    OLD_VERSION = "old_version"
    OTHER_RECORD = "other_record"  # a duplicate of the case's record
    UNKNOWN_CASE = "unknown_case"  # or one that this endpoint was never told of


ApplyCallback = Callable[[Connection, CaseCallback], Awaitable[str]]
"""What is done with a callback."""


async def apply_callback(conn: Connection, callback: CaseCallback, *, wording: Wording) -> CallbackEffect:
    """Move a case as its CRM says, and pass the news on to the other CRMs that know it.

    A case that an agent resolved is closed though its alarm may be active still: the agent knows more. It is the
    alarm's next episode, not this one's further course, that can open it again.
    """
    case = await queries.lock_case(conn, callback.case_id)
    if case is None or case.tenant_id != callback.tenant_id:
        return CallbackEffect.UNKNOWN_CASE
    told = {each.endpoint for each in await hearers.announcements_of(conn, case.case_id) if each.state == "announced"}
    if callback.endpoint not in told:
        return CallbackEffect.UNKNOWN_CASE
    if callback.version is not None and not await hearers.raise_external_version(
        conn, case.case_id, callback.endpoint, callback.version
    ):
        return CallbackEffect.OLD_VERSION
    if not case.state.is_live:
        return await _hear_of_closed(conn, case, callback)
    if callback.outcome == "false":
        return await _take_back(conn, wording, case, callback)
    match callback.status:
        case "resolved":
            return await _end(conn, wording, case, callback, Resolution.RESOLVED_BY_AGENT)
        case "rejected":
            return await _end(conn, wording, case, callback, Resolution.REJECTED_BY_AGENT)
        case "waiting":
            return await _shift(conn, case, callback, CaseState.WAITING)
        case "accepted" | "in_progress":
            return await _shift(conn, case, callback, CaseState.OPEN)


async def _hear_of_closed(conn: Connection, case: Case, callback: CaseCallback) -> CallbackEffect:
    """An agent's judgement, and what the customer said, are worth keeping after telemetry has closed the case."""
    is_judged = callback.outcome is not None and callback.outcome != case.outcome
    if not is_judged and not await _is_new(conn, callback):
        return CallbackEffect.NO_CHANGE
    judged = replace(case, outcome=callback.outcome or case.outcome, updated_at_s=callback.received_at_s)
    await queries.update_case(conn, judged)
    await observe(conn, judged, _by(callback, "judged" if is_judged else "customer_said"), callback.received_at_s)
    await _say(conn, callback)
    return CallbackEffect.APPLIED


async def _end(
    conn: Connection, wording: Wording, case: Case, callback: CaseCallback, resolution: Resolution
) -> CallbackEffect:
    now_s = callback.received_at_s
    subject = await find_subject(conn, case.tenant_id, case.device_id)
    ended = replace(
        case,
        outcome=callback.outcome or "unclear",
        ending=write_ending(resolution, subject, now_s, now_s, wording),
    )
    closed = await close(conn, ended, resolution, _by(callback, resolution), now_s)
    await _say(conn, callback)
    await announce.tell(conn, closed, subject, farewell(closed, but=callback.endpoint), now_s)
    return CallbackEffect.APPLIED


async def _take_back(conn: Connection, wording: Wording, case: Case, callback: CaseCallback) -> CallbackEffect:
    """A false alarm, whatever state its record is in over there.

    The endpoint that says so hears of it, too, where its record is open still or somebody there should apologise.
    """
    now_s, resolution = callback.received_at_s, Resolution.CALLED_WRONG_BY_AGENT
    subject = await find_subject(conn, case.tenant_id, case.device_id)
    ending, is_to_apologise = await write_taken_back(conn, case, subject, now_s, wording)
    ended = replace(case, outcome="false", ending=ending)
    closed = await close(conn, ended, resolution, _by(callback, resolution), now_s)
    await _say(conn, callback)
    knows_all = callback.status in {"resolved", "rejected"} and not is_to_apologise
    await announce.tell(conn, closed, subject, farewell(closed, but=callback.endpoint if knows_all else None), now_s)
    return CallbackEffect.APPLIED


async def _shift(conn: Connection, case: Case, callback: CaseCallback, end: CaseState) -> CallbackEffect:
    now_s = callback.received_at_s
    if await _is_new(conn, callback):
        await _say(conn, callback)
    if end is case.state or end not in MOVES[case.state]:
        await observe(conn, case, _by(callback, callback.status), now_s)
        return CallbackEffect.NO_CHANGE
    moved = await move(conn, case, end, _by(callback, callback.status), now_s)
    subject = await find_subject(conn, case.tenant_id, case.device_id)
    news = News(MessageType.CASE_UPDATED, callback.status, but=callback.endpoint)
    await announce.tell(conn, moved, subject, news, now_s)
    return CallbackEffect.APPLIED


async def _say(conn: Connection, callback: CaseCallback) -> None:
    """An agent's word on whether the fault was real, and the customer's: the watch's track record."""
    words = callback.customer_said if await _is_new(conn, callback) else ""  # some tell them again with every change
    if callback.outcome is None and not words:
        return
    word = Said(
        callback.tenant_id,
        callback.outcome or "unclear",  # which counts nothing
        "agent",
        f"crm:{callback.endpoint}",
        callback.case_id,
        customer_said=words,
    )
    await say(conn, word, callback.received_at_s)


async def _is_new(conn: Connection, callback: CaseCallback) -> bool:
    """Whether the customer said something that is not kept yet."""
    words = callback.customer_said
    return bool(words.strip()) and not await has_said(conn, callback.case_id, words)


def _by(callback: CaseCallback, reason: str) -> Transition:
    # `move` and `observe` fill in the states
    return Transition(None, CaseState.OPEN, f"crm:{callback.endpoint}", reason, callback.note[:1000])
