"""Cases, as the API shows them: each with its evidence, its moves, the decisions about it and what CRMs call it."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final, Literal

import msgspec
from fastapi import HTTPException, Request, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from crm_sync.cases import by_hand, proposals
from crm_sync.cases.by_hand import Hand
from crm_sync.cases.queries import lock_case
from crm_sync.journey.episode import Reached, read_episode
from crm_sync.model import AlarmState, CaseAlarm, CaseState, Resolution
from crm_sync.model import Case as ShownCase
from crm_sync.playbooks.shown import ActionView
from crm_sync.policy.shown import DecisionView, StepView
from crm_sync.queries import CaseFilter, CaseView, EndpointView, TransitionView, WordView, get_case, list_cases
from crm_sync.trust.verdicts import MOST_SAID
from crm_sync.wording.wording import Wording
from devices.clock import Clock, to_datetime
from devices.errors import CareloopError
from devices.profiles.model import Severity
from gateway.api.fields import Behalf, Name, Reason, Text, Why
from gateway.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.api.writes import TAGGED, Act, Done, Write, Writing, tag_of
from gateway.people.door import Agent, Viewer, people_of
from gateway.people.model import Actor


class Evidence(BaseModel):
    """An alarm that a case rests on; `evidence` is pairs of epoch seconds and value."""

    alarm_id: str
    watch: str
    kind: str
    metric: str | None
    severity: Severity
    state: AlarmState
    started_at: datetime
    decided_ts: datetime
    text: str
    expected: str
    observed: str
    evidence: tuple[tuple[float, float], ...]


class Case(BaseModel):
    """A case with all that explains it; its instants are the gateway's clock, those of its evidence the device's."""

    case_id: str
    asset_id: str
    device_id: str
    problem: str
    state: CaseState
    severity: Severity
    title: str
    brief: str
    ending: str | None
    team: str
    assignee: str | None
    owner_ref: str | None
    account_ref: str | None
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    sla_due_at: datetime | None
    resolution: Resolution | None
    outcome: str | None
    version: int
    relapses: int
    relapse_of: str | None
    parent_id: str | None
    alarms: list[Evidence]
    endpoints: tuple[EndpointView, ...]
    transitions: tuple[TransitionView, ...]
    decisions: tuple[DecisionView, ...]
    steps: tuple[StepView, ...]
    actions: tuple[ActionView, ...]
    words: tuple[WordView, ...]


def cases_router(pool: AsyncConnectionPool[Connection], clock: Clock, wording: Wording) -> Router:
    """``/cases``, and what a person does to one of them."""
    router = Router(tags=["cases"])

    @router.get("/cases", response_model=Page[Case])
    async def cases(  # noqa: PLR0917 - each is a query parameter
        who: Viewer,
        request: Request,
        state: CaseState | None = None,
        device_id: Name | None = None,
        owner_ref: Name | None = None,
        severity: Severity | None = None,
        team: Name | None = None,
        assignee: Name | None = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        """Cases, newest first."""
        after = decode_cursor(cursor, str)
        which = CaseFilter(state, device_id, owner_ref, severity, team, assignee)
        async with pool.connection() as conn:
            page = await list_cases(conn, who.tenant_id, which, str(after[0]) if after else None, limit)
        await people_of(request).note(who, "case.list", owner_ref or device_id or "", {"state": state})
        end = None if page.next is None else encode_cursor(page.next)
        body = msgspec.json.encode({"items": [_columns(view) for view in page.items], "next": end})
        return Response(body, media_type="application/json")  # hundreds of parts: written once, not checked twice

    @router.get("/cases/{case_id}", responses=TAGGED)
    async def case(case_id: Name, who: Viewer, request: Request, response: Response) -> Case:
        """One case; its ETag goes into the If-Match of what is done to it."""
        async with pool.connection() as conn:
            view = await get_case(conn, who.tenant_id, case_id)
        if view is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no case {case_id}")
        await people_of(request).note(who, "case.read", case_id, {"owner": view.case.owner_ref})
        response.headers["ETag"] = _tag(view)
        return _shown(view)

    @router.get("/cases/{case_id}/journey")
    async def journey(
        case_id: Name, who: Viewer, request: Request, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[Reached]:
        """When a case reached each stage of the journey, from the first sign to the proof that it is gone."""
        after = decode_cursor(cursor, int)
        start = max(int(after[0]), 0) if after else 0
        async with pool.connection() as conn:
            stages = await read_episode(conn, who.tenant_id, case_id)
        if not stages:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no case {case_id}")
        await people_of(request).note(who, "case.read", case_id)
        end = start + limit
        return Page(items=list(stages[start:end]), next=encode_cursor(end) if end < len(stages) else None)

    _add_decisions(router, clock, wording)
    _add_work(router, clock, wording)
    return router


class Decision(BaseModel):
    """A person's yes."""

    model_config = ConfigDict(extra="forbid")

    why: Why = ""
    by: Behalf = None


class Rejection(BaseModel):
    """A person's no, and why."""

    model_config = ConfigDict(extra="forbid")

    why: Reason
    by: Behalf = None


class Assignment(BaseModel):
    """Who looks after a case; without a team it stays where it is, without an assignee it is anybody's."""

    model_config = ConfigDict(extra="forbid")

    team: Name | None = None
    assignee: Name | None = None
    why: Why = ""
    by: Behalf = None


class Note(BaseModel):
    """What somebody writes down about a case; it stays here."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[Text, Field(min_length=1, max_length=by_hand.MAX_NOTE)]
    by: Behalf = None


class Ending(BaseModel):
    """How a fault was dealt with, and whether there was one."""

    model_config = ConfigDict(extra="forbid")

    outcome: Literal["true", "false", "unclear"]
    why: Why = ""
    customer_said: Annotated[Text, Field(max_length=MOST_SAID)] = ""
    by: Behalf = None


Work = Callable[[Connection, Hand], Awaitable[object]]


async def _do(write: Write, who: Actor, hand: Hand, what: str, work: Work, **inputs: object) -> Response:
    """Do something to a case, if it stands as the caller saw it, and answer with the case."""

    async def do(conn: Connection) -> Done:
        await lock_case(conn, hand.case_id)  # so that what is compared is what is changed
        seen = await get_case(conn, who.tenant_id, hand.case_id)
        if seen is None:
            raise CareloopError("unknown_case", f"no case {hand.case_id}")
        write.check_tag(_tag(seen))
        await work(conn, hand)
        view = await get_case(conn, who.tenant_id, hand.case_id)
        assert view is not None  # nobody removes cases
        return Done(_shown(view), _tag(view))

    return await write.run(Act(f"case.{what}", hand.case_id, inputs), do)


def _add_decisions(router: Router, clock: Clock, wording: Wording) -> None:
    @router.post("/cases/{case_id}/approve", response_model=Case)
    async def approve(case_id: Name, asked: Decision, who: Agent, write: Writing) -> Response:
        """Say yes to a proposed case; it opens soon."""
        hand = Hand(who.tenant_id, case_id, who.signs_as(asked.by), clock.now_s(), wording)

        async def work(conn: Connection, hand: Hand) -> object:
            return await proposals.approve(conn, hand.tenant_id, case_id, hand.person, hand.now_s)

        return await _do(write, who, hand, "approve", work, why=asked.why)

    @router.post("/cases/{case_id}/decline", response_model=Case)
    async def decline(case_id: Name, asked: Rejection, who: Agent, write: Writing) -> Response:
        """Say no to a proposed case, which also says that its alarm was false."""
        hand = Hand(who.tenant_id, case_id, who.signs_as(asked.by), clock.now_s(), wording)

        async def work(conn: Connection, hand: Hand) -> object:
            return await proposals.decline(conn, hand.tenant_id, case_id, hand.person, hand.now_s, why=asked.why)

        return await _do(write, who, hand, "decline", work, why=asked.why)

    @router.post("/cases/{case_id}/reject", response_model=Case)
    async def reject(case_id: Name, asked: Rejection, who: Agent, write: Writing) -> Response:
        """Say that there is no fault: a proposed case is not opened, an open one ends; its watch learns from it."""
        hand = Hand(who.tenant_id, case_id, who.signs_as(asked.by), clock.now_s(), wording)
        return await _do(
            write, who, hand, "reject", lambda conn, hand: by_hand.reject(conn, hand, asked.why), why=asked.why
        )


def _add_work(router: Router, clock: Clock, wording: Wording) -> None:
    @router.post("/cases/{case_id}/assign", response_model=Case)
    async def assign(case_id: Name, asked: Assignment, who: Agent, write: Writing) -> Response:
        """Say who looks after a case; CRMs hear of another team."""
        hand = Hand(who.tenant_id, case_id, who.signs_as(asked.by), clock.now_s(), wording)

        async def work(conn: Connection, hand: Hand) -> object:
            return await by_hand.assign(conn, hand, team=asked.team, assignee=asked.assignee, why=asked.why)

        return await _do(write, who, hand, "assign", work, team=asked.team, assignee=asked.assignee)

    @router.post("/cases/{case_id}/note", response_model=Case)
    async def note(case_id: Name, asked: Note, who: Agent, write: Writing) -> Response:
        """Write something down about a case."""
        hand = Hand(who.tenant_id, case_id, who.signs_as(asked.by), clock.now_s(), wording)
        return await _do(write, who, hand, "note", lambda conn, hand: by_hand.note(conn, hand, asked.text))

    @router.post("/cases/{case_id}/resolve", response_model=Case)
    async def resolve(case_id: Name, asked: Ending, who: Agent, write: Writing) -> Response:
        """Say that the fault is dealt with, and whether there was one; CRMs that know the case hear of it."""
        hand = Hand(who.tenant_id, case_id, who.signs_as(asked.by), clock.now_s(), wording)

        async def work(conn: Connection, hand: Hand) -> object:
            return await by_hand.resolve(conn, hand, asked.outcome, asked.why, asked.customer_said)

        return await _do(write, who, hand, "resolve", work, outcome=asked.outcome, why=asked.why)

    @router.post("/cases/{case_id}/retract", response_model=Case)
    async def retract(case_id: Name, asked: Rejection, who: Agent, write: Writing) -> Response:
        """Take a case back wherever it was told; this says nothing about its watch."""
        hand = Hand(who.tenant_id, case_id, who.signs_as(asked.by), clock.now_s(), wording)
        return await _do(
            write, who, hand, "retract", lambda conn, hand: by_hand.retract(conn, hand, asked.why), why=asked.why
        )


def _tag(view: CaseView) -> str:
    """What changes with everything that is done to a case."""
    case = view.case
    return tag_of(case.case_id, case.version, case.updated_at_s, case.state, len(view.transitions))


def _shown(view: CaseView) -> Case:
    return Case.model_validate(_columns(view))


def _columns(view: CaseView) -> dict[str, object]:
    """A case's parts by the names under which they are shown."""
    return _named(view.case, _OF_CASE) | {
        "alarms": [_named(alarm, _OF_EVIDENCE) for alarm in view.alarms],
        "endpoints": view.endpoints,
        "transitions": view.transitions,
        "decisions": view.decisions,
        "steps": view.steps,
        "actions": view.actions,
        "words": view.words,
    }


_PARTS: Final = frozenset({"alarms", "endpoints", "transitions", "decisions", "steps", "actions", "words"})
_OF_CASE: Final = tuple(name for name in Case.model_fields if name not in _PARTS)
_OF_EVIDENCE: Final = tuple(Evidence.model_fields)


def _named(shown: ShownCase | CaseAlarm, names: Sequence[str]) -> dict[str, object]:
    """The columns of these names; those that end in `_at` or `_ts` are kept as epoch seconds, and shown as instants."""
    return {name: _instant(shown, name) if name.endswith(("_at", "_ts")) else getattr(shown, name) for name in names}


def _instant(shown: ShownCase | CaseAlarm, name: str) -> datetime | None:
    epoch_s: float | None = getattr(shown, f"{name}_s")
    return None if epoch_s is None else to_datetime(epoch_s)
