"""An owner's own word on a case: solved, not solved, or nothing was wrong."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, LiteralString

from crm_sync.brief import write_ending
from crm_sync.cases import announce, hearers, queries
from crm_sync.cases.announce import News, farewell
from crm_sync.cases.desk import find_subject
from crm_sync.cases.lifecycle import close, move, observe
from crm_sync.cases.queries import Connection, Transition
from crm_sync.model import AlarmState, Case, CaseState, Resolution
from crm_sync.owner_link import OwnerLink
from crm_sync.playbooks.fixes import learn_from_relapse
from crm_sync.settings import MessageType
from crm_sync.trust.verdicts import OWNERS, Said, Truth, say
from crm_sync.voice_settings import VoiceSettings
from crm_sync.wording.wording import Wording
from devices.clock import to_datetime
from devices.profiles.model import Severity

ACTOR: Final = "owner"


class Answer(StrEnum):
    """What an owner can say."""

    SOLVED = "solved"
    NOT_SOLVED = "not_solved"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class AnswerPolicy:
    """What answers may do, and the words in which agents are told."""

    settings: VoiceSettings
    wording: Wording


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of an answer."""

    answer: Answer  # the one that counts: the first
    is_new: bool  # False: the link was answered before, and nothing was done now


async def is_open(conn: Connection, tenant_id: str, link: OwnerLink) -> bool:
    """Whether a link leads to a case of the owner to whom it was given."""
    case = await queries.read_case(conn, link.case_id)
    return case is not None and case.tenant_id == tenant_id and link.is_for(case.owner_ref)


async def take_answer(
    conn: Connection, policy: AnswerPolicy, tenant_id: str, link: OwnerLink, answer: Answer, *, now_s: float
) -> Answered | None:
    """Take an owner at their word, once for each link; None where the link leads to no case of theirs."""
    case = await queries.lock_case(conn, link.case_id)
    if case is None or case.tenant_id != tenant_id or not link.is_for(case.owner_ref):
        return None
    first = await _keep(conn, tenant_id, link, answer, now_s)
    if first is not None:
        return Answered(first, is_new=False)
    truth: Truth = "false" if answer is Answer.WRONG else "true"
    said = Said(tenant_id, truth, "owner", ACTOR, case_id=case.case_id, weight=OWNERS)
    await say(conn, said, now_s)
    match answer:
        case Answer.SOLVED:
            await _solved(conn, policy, case, now_s)
        case Answer.NOT_SOLVED:
            await _not_solved(conn, case, now_s)
        case Answer.WRONG:
            await _wrong(conn, policy, case, now_s)
    return Answered(answer, is_new=True)


_KEEP: Final[LiteralString] = """
INSERT INTO owner_answer (tenant_id, case_id, expires_at, answer, answered_at) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
RETURNING answer
"""
_KEPT: Final[LiteralString] = """
SELECT answer FROM owner_answer WHERE tenant_id = %s AND case_id = %s AND expires_at = %s
"""


async def _keep(conn: Connection, tenant_id: str, link: OwnerLink, answer: Answer, now_s: float) -> Answer | None:
    """Keep a link's first answer; the earlier one, where there is one. The case is held, so nobody comes between."""
    key = [tenant_id, link.case_id, to_datetime(link.expires_at_s)]
    if await (await conn.execute(_KEEP, [*key, answer, to_datetime(now_s)])).fetchone() is not None:
        return None
    row = await (await conn.execute(_KEPT, key)).fetchone()
    assert row is not None  # it was in the way
    return Answer(row[0])


async def _solved(conn: Connection, policy: AnswerPolicy, case: Case, now_s: float) -> None:
    """Resolved, unless telemetry still shows the fault: then the agents hear it, and telemetry has the last word."""
    alarms = await queries.alarms_of(conn, case.case_id)
    if not case.state.is_live or any(alarm.state is AlarmState.ACTIVE for alarm in alarms):
        await _tell(conn, case, Answer.SOLVED, now_s)
    else:
        await _end(conn, policy, case, Resolution.SOLVED_BY_OWNER, now_s)


async def _not_solved(conn: Connection, case: Case, now_s: float) -> None:
    """The agents hear it; a case that was taken to be resolved is opened again, unless another one goes on already."""
    if case.state is not CaseState.RESOLVED:
        await _tell(conn, case, Answer.NOT_SOLVED, now_s)
        return
    live = await queries.lock_live_case(conn, case.tenant_id, case.asset_id, case.problem)
    if live is not None:
        await _tell(conn, case, Answer.NOT_SOLVED, now_s)
        if live.owner_ref == case.owner_ref:
            await _tell(conn, live, Answer.NOT_SOLVED, now_s)
        return
    again = replace(
        case,
        relapses=case.relapses + 1,
        sla_due_at_s=None if case.sla_due_at_s is None else now_s + (case.sla_due_at_s - case.opened_at_s),
        resolution=None,
        outcome=None,
        ending=None,
    )
    by = Transition(None, CaseState.OPEN, ACTOR, _reason(Answer.NOT_SOLVED))
    opened = await move(conn, again, CaseState.OPEN, by, now_s)
    await hearers.forget_seen(conn, opened)
    await learn_from_relapse(conn, opened, now_s)
    subject = await find_subject(conn, case.tenant_id, case.device_id)
    news = News(MessageType.CASE_UPDATED, "reopened", owner_answer=Answer.NOT_SOLVED)
    await announce.tell(conn, opened, subject, news, now_s)


async def _wrong(conn: Connection, policy: AnswerPolicy, case: Case, now_s: float) -> None:
    """Taken back with an apology, where that is the policy; what is critical is looked at all the same."""
    if not case.state.is_live or policy.settings.wrong == "note" or case.severity is Severity.CRITICAL:
        await _tell(conn, case, Answer.WRONG, now_s)
    else:
        await _end(conn, policy, replace(case, outcome="false"), Resolution.CALLED_WRONG_BY_OWNER, now_s)


async def _tell(conn: Connection, case: Case, answer: Answer, now_s: float) -> None:
    """Note an answer on the case, and tell the agents while they still have it."""
    await observe(conn, case, Transition(None, case.state, ACTOR, _reason(answer)), now_s)
    if case.state in {CaseState.OPEN, CaseState.WAITING}:
        subject = await find_subject(conn, case.tenant_id, case.device_id)
        news = News(MessageType.CASE_UPDATED, _reason(answer), owner_answer=answer)
        await announce.tell(conn, case, subject, news, now_s)


async def _end(conn: Connection, policy: AnswerPolicy, case: Case, resolution: Resolution, now_s: float) -> None:
    subject = await find_subject(conn, case.tenant_id, case.device_id)
    ended = replace(case, ending=write_ending(resolution, subject, now_s, now_s, policy.wording))
    closed = await close(conn, ended, resolution, Transition(None, case.state, ACTOR, resolution), now_s)
    await announce.tell(conn, closed, subject, farewell(closed), now_s)


def _reason(answer: Answer) -> str:
    return f"owner_says_{answer}"
