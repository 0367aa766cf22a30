"""What a person does to a case: looks after it, notes something, ends it. CRMs that know the case hear of it.

Each function works in the caller's transaction and raises CareloopError where the case does not allow it.
"""

from dataclasses import dataclass, replace

from crm_sync.brief import write_ending
from crm_sync.cases import announce, proposals, queries
from crm_sync.cases.announce import News, farewell
from crm_sync.cases.desk import find_subject
from crm_sync.cases.false_alarm import write_taken_back
from crm_sync.cases.lifecycle import close, observe
from crm_sync.cases.queries import Connection, Transition
from crm_sync.model import Case, CaseState, Resolution
from crm_sync.settings import MessageType
from crm_sync.trust.verdicts import Said, Truth, say
from crm_sync.wording.wording import Wording
from devices.errors import CareloopError

MAX_NOTE = 4000


@dataclass(frozen=True, slots=True)
class Hand:
    """Who does something to which case, and when."""

    tenant_id: str
    case_id: str
    person: str
    now_s: float
    wording: Wording  # in which agents are told of an ending

    def by(self, reason: str, note: str = "") -> Transition:
        """The record of it; `move` and `observe` fill in the states."""
        return Transition(None, CaseState.OPEN, f"person:{self.person}", reason, note[:MAX_NOTE])


async def assign(conn: Connection, hand: Hand, *, team: str | None, assignee: str | None, why: str = "") -> Case:
    """Say who looks after a live case; CRMs hear of another team."""
    case = await _live(conn, hand)
    given = replace(case, team=team or case.team, assignee=assignee, updated_at_s=hand.now_s)
    await queries.update_case(conn, given)
    said = f"{given.team}: {assignee or 'anybody'}{f'. {why}' if why else ''}"
    await observe(conn, given, hand.by("assigned", said), hand.now_s)
    if given.team == case.team or given.state in {CaseState.PROPOSED, CaseState.APPROVED}:
        return given
    subject = await find_subject(conn, case.tenant_id, case.device_id)
    told, _ = await announce.tell(conn, given, subject, News(MessageType.CASE_UPDATED, "assigned"), hand.now_s)
    return told


async def note(conn: Connection, hand: Hand, text: str) -> Case:
    """Write something down about a case, live or not; it stays here."""
    case = await _held(conn, hand)
    noted = replace(case, updated_at_s=hand.now_s)
    await queries.update_case(conn, noted)
    await observe(conn, noted, hand.by("note", text), hand.now_s)
    return noted


async def resolve(conn: Connection, hand: Hand, outcome: Truth, why: str, customer_said: str = "") -> Case:
    """The fault is dealt with; `outcome` says whether there was one, from which the watch learns.

    If there was none, it is a false alarm, and taken back. What the customer said of it is kept beside the outcome.
    """
    resolution = Resolution.CALLED_WRONG_BY_AGENT if outcome == "false" else Resolution.RESOLVED_BY_AGENT
    word = Said(hand.tenant_id, outcome, "person", f"person:{hand.person}", hand.case_id, customer_said=customer_said)
    return await _end(conn, hand, resolution, word, why)


async def reject(conn: Connection, hand: Hand, why: str) -> Case:
    """There is no fault: a proposed case is not opened, an open one is taken back."""
    case = await _live(conn, hand)
    if case.state is CaseState.PROPOSED:
        return await proposals.decline(conn, hand.tenant_id, hand.case_id, hand.person, hand.now_s, why=why)
    word = Said(hand.tenant_id, "false", "person", f"person:{hand.person}", hand.case_id)
    return await _end(conn, hand, Resolution.CALLED_WRONG_BY_AGENT, word, why)


async def retract(conn: Connection, hand: Hand, why: str) -> Case:
    """The case should not be: it is taken back wherever it was told. This says nothing about its watch."""
    return await _end(conn, hand, Resolution.DECLINED, None, why)


async def _end(conn: Connection, hand: Hand, resolution: Resolution, word: Said | None, why: str) -> Case:
    case = await _live(conn, hand)
    subject = await find_subject(conn, case.tenant_id, case.device_id)
    if resolution is Resolution.CALLED_WRONG_BY_AGENT:
        ending, _ = await write_taken_back(conn, case, subject, hand.now_s, hand.wording)
    else:
        ending = write_ending(resolution, subject, hand.now_s, hand.now_s, hand.wording)
    judged = replace(case, outcome=None if word is None else word.verdict, ending=ending)
    ended = await close(conn, judged, resolution, hand.by(resolution, why), hand.now_s)
    if word is not None:
        await say(conn, word, hand.now_s)
    told, _ = await announce.tell(conn, ended, subject, farewell(ended), hand.now_s)
    return told


async def _live(conn: Connection, hand: Hand) -> Case:
    case = await _held(conn, hand)
    if not case.state.is_live:
        raise CareloopError("case_closed", f"{case.case_id} is {case.state}: it has ended already")
    return case


async def _held(conn: Connection, hand: Hand) -> Case:
    case = await queries.lock_case(conn, hand.case_id)
    if case is None or case.tenant_id != hand.tenant_id:
        raise CareloopError("unknown_case", f"there is no case {hand.case_id}")
    return case
