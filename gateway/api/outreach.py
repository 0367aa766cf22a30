"""Contacts over HTTP: those that wait for a yes, switches that stop them, and owners who are left alone."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import HTTPException, Request, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from crm_sync import stopping
from crm_sync.cases import step_approvals, step_queries
from crm_sync.cases.step_queries import Step
from crm_sync.owners.holding import hold
from crm_sync.owners.standing import HoldView, holds_now
from crm_sync.owners.told import HoldKind, LeaveAlone
from crm_sync.policy import switches
from crm_sync.policy.switches import EVERY, Switch
from crm_sync.settings import CrmSettings
from devices.clock import Clock, to_datetime
from devices.errors import CareloopError
from devices.registry.consent import owner_exists
from gateway.api.fields import Behalf, Instant, Name, Reason, Why
from gateway.api.paging import Cursor, Limit, Page, cut, decode_cursor, encode_cursor, moment_of
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.api.writes import TAGGED, Act, Done, Write, Writing, tag_of
from gateway.people.door import Agent, Operator, Viewer, people_of
from gateway.people.model import Actor
from gateway.store.times import us_of


class WaitingStep(BaseModel):
    """A contact that waits for a person's yes."""

    step_id: str
    case_id: str
    owner_ref: str
    channel: str
    action: str
    text: str
    decided_at: datetime
    expires_at: datetime | None
    people: int  # how many must say yes
    first_yes_by: str | None  # who has, where another must, too


class Answer(BaseModel):
    """A person's yes or no."""

    model_config = ConfigDict(extra="forbid")

    why: Why = ""
    by: Behalf = None


class SwitchAsked(BaseModel):
    """What is to stop: everything, a watch, or a problem with its playbook."""

    model_config = ConfigDict(extra="forbid")

    scope: Literal["tenant", "watch", "problem"]
    model: Name = EVERY
    name: Name = EVERY
    why: Reason
    by: Behalf = None


class HoldAsked(BaseModel):
    """Why an owner is to be left alone, and until when."""

    model_config = ConfigDict(extra="forbid")

    kind: HoldKind
    until: Instant | None = None
    why: Reason
    by: Behalf = None


class Stopped(BaseModel):
    """What is stopped, and who is left alone."""

    kill_switch: Annotated[bool, Field(description="The setting crm.kill_switch.")]
    switches: list[Switch]
    holds: list[HoldView]


def outreach_router(pool: AsyncConnectionPool[Connection], crm: CrmSettings, clock: Clock) -> Router:
    """``/outreach`` and ``/owners/{owner_ref}/holds``."""
    router = Router(tags=["outreach"])
    _add_steps(router, pool, crm, clock)
    _add_switches(router, pool, crm, clock)
    _add_holds(router, clock)
    return router


def _add_steps(router: Router, pool: AsyncConnectionPool[Connection], crm: CrmSettings, clock: Clock) -> None:
    @router.get("/outreach/waiting")
    async def waiting(who: Viewer, request: Request, cursor: Cursor = None, limit: Limit = 100) -> Page[WaitingStep]:
        """Contacts that wait for a person's yes, those first that will not wait long."""
        await people_of(request).note(who, "contact.list", "")
        key = decode_cursor(cursor, int, str)
        after = step_queries.BEFORE_ALL if key is None else (_moment_of(int(key[0])), str(key[1]))
        async with pool.connection() as conn:
            found, last = cut(await step_queries.proposed_steps(conn, who.tenant_id, limit + 1, after=after), limit)
        end = None if last is None else encode_cursor(_expiry_us(last), last.step_id)
        return Page(items=[_shown(step) for step in found], next=end)

    @router.get("/outreach/waiting/{step_id}", responses=TAGGED)
    async def one(step_id: Name, who: Viewer, request: Request, response: Response) -> WaitingStep:
        """A contact that waits for a person's yes; its ETag goes into the If-Match of a yes or a no."""
        async with pool.connection() as conn:
            found = await step_queries.proposed_steps(conn, who.tenant_id, 1, step_id=step_id)
        if not found:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no contact {step_id} waits")
        await people_of(request).note(who, "contact.read", step_id, {"owner": found[0].owner_ref})
        response.headers["ETag"] = _tag(found[0])
        return _shown(found[0])

    @router.post("/outreach/{step_id}/approve", response_model=WaitingStep)
    async def approve(step_id: Name, asked: Answer, who: Agent, write: Writing) -> Response:
        """Yes: the owner is contacted as soon as every other gate lets it.

        Where `people` is 2 the yes of two accounts is needed; a token's is nobody's there.
        """

        async def work(conn: Connection) -> Done:
            by, now_s = who.signs_as(asked.by), clock.now_s()
            await _check(conn, who, step_id, write)
            step = await step_approvals.approve(conn, who.tenant_id, step_id, by, now_s, account=who.account)
            return Done(_shown(step))

        return await write.run(Act("outreach.approve", step_id), work)

    @router.post("/outreach/{step_id}/decline", response_model=WaitingStep)
    async def decline(step_id: Name, asked: Answer, who: Agent, write: Writing) -> Response:
        """No: the owner is not contacted."""

        async def work(conn: Connection) -> Done:
            by, now_s = who.signs_as(asked.by), clock.now_s()
            await _check(conn, who, step_id, write)
            step = await step_approvals.decline(conn, crm, who.tenant_id, step_id, by, why=asked.why, now_s=now_s)
            return Done(_shown(step))

        return await write.run(Act("outreach.decline", step_id, {"why": asked.why}), work)


def _add_switches(router: Router, pool: AsyncConnectionPool[Connection], crm: CrmSettings, clock: Clock) -> None:
    @router.get("/outreach/stopped", responses=TAGGED)
    async def stopped(who: Viewer, response: Response) -> Stopped:
        """The kill switches that are thrown, and owners who are to be left alone; the ETag is that of the switches."""
        async with pool.connection() as conn:
            found = await _stopped(conn, crm, who.tenant_id, clock.now_s())
        response.headers["ETag"] = _tag_of_switches(found.switches)
        return found

    @router.post("/outreach/stopped", response_model=Stopped)
    async def stop(asked: SwitchAsked, who: Operator, write: Writing) -> Response:
        """Throw a kill switch: no case opens, no owner is contacted, and no playbook tells a product to mend itself."""
        if (asked.scope == "tenant") != (asked.name == EVERY):
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "name says which watch or problem; a tenant has none")

        async def work(conn: Connection) -> Done:
            by, now = f"person:{who.signs_as(asked.by)}", to_datetime(clock.now_s())
            switch = Switch(asked.scope, asked.model, asked.name, by, asked.why, now)
            await _check_switches(conn, who, write)
            if not await stopping.stop(conn, who.tenant_id, switch):
                raise CareloopError("stopped_already", "it is stopped already")
            found = await _stopped(conn, crm, who.tenant_id, clock.now_s())
            return Done(found, _tag_of_switches(found.switches))

        inputs = {"scope": asked.scope, "model": asked.model, "why": asked.why}
        return await write.run(Act("outreach.stop", asked.name, inputs), work)

    @router.delete(
        "/outreach/stopped/{scope}/{model}/{name}", status_code=HTTPStatus.NO_CONTENT, response_class=Response
    )
    async def resume(
        scope: Literal["tenant", "watch", "problem"], model: Name, name: Name, who: Operator, write: Writing
    ) -> Response:
        """Release a kill switch; `*` where it was thrown for every model, or for everything."""

        async def work(conn: Connection) -> Done:
            by = f"person:{who.signs_as()}"
            await _check_switches(conn, who, write)
            if not await switches.release(conn, who.tenant_id, (scope, model, name), by, clock.now_s()):
                raise CareloopError("unknown_switch", "that is not stopped")
            return Done(None)

        return await write.run(Act("outreach.resume", name, {"scope": scope, "model": model}), work)


def _add_holds(router: Router, clock: Clock) -> None:
    @router.post("/owners/{owner_ref}/holds", status_code=HTTPStatus.NO_CONTENT, response_class=Response)
    async def leave_alone(owner_ref: Name, asked: HoldAsked, who: Agent, write: Writing) -> Response:
        """Leave an owner alone: no step that they would see is sent."""

        async def work(conn: Connection) -> Done:
            if not await owner_exists(conn, who.tenant_id, owner_ref):
                raise CareloopError("unknown_owner", f"no owner {owner_ref}")
            until_s = None if asked.until is None else asked.until.timestamp()
            news = LeaveAlone(owner_ref, asked.kind, is_on=True, until_s=until_s, why=asked.why)
            await hold(conn, who.tenant_id, news, f"person:{who.signs_as(asked.by)}", clock.now_s())
            return Done(None)

        return await write.run(Act("owner.hold", owner_ref, {"kind": asked.kind, "why": asked.why}), work)

    @router.delete("/owners/{owner_ref}/holds/{kind}", status_code=HTTPStatus.NO_CONTENT, response_class=Response)
    async def let_go(owner_ref: Name, kind: HoldKind, who: Agent, write: Writing) -> Response:
        """Leave an owner alone no longer for this reason."""

        async def work(conn: Connection) -> Done:
            news = LeaveAlone(owner_ref, kind, is_on=False)
            if not await hold(conn, who.tenant_id, news, f"person:{who.signs_as()}", clock.now_s()):
                raise CareloopError("unknown_hold", f"{owner_ref} is not held as {kind}")
            return Done(None)

        return await write.run(Act("owner.release", owner_ref, {"kind": kind}), work)


async def _check(conn: Connection, who: Actor, step_id: str, write: Write) -> None:
    """Raises CareloopError where the caller saw another state of a contact than there is."""

    async def present() -> str:
        found = await step_queries.proposed_steps(conn, who.tenant_id, 1, step_id=step_id)
        return _tag(found[0]) if found else ""

    await write.check(conn, f"contact {step_id}", present)


def _tag(step: Step) -> str:
    return tag_of(step.step_id, step.state, step.people, step.first_yes_by, step.expires_at_s)


async def _check_switches(conn: Connection, who: Actor, write: Write) -> None:
    async def present() -> str:
        return _tag_of_switches(await switches.thrown_now(conn, who.tenant_id))

    await write.check(conn, "kill switches", present)


def _tag_of_switches(thrown: Sequence[Switch]) -> str:
    return tag_of([(each.scope, each.model, each.name, each.since) for each in thrown])


_FOR_EVER: Final = 2**62
"""In a cursor, the microseconds of a contact that waits for ever."""


def _expiry_us(step: Step) -> int:
    return _FOR_EVER if step.expires_at_s is None else us_of(to_datetime(step.expires_at_s))


def _moment_of(us: int) -> datetime | str:
    return "infinity" if us == _FOR_EVER else moment_of(us)


async def _stopped(conn: Connection, crm: CrmSettings, tenant_id: str, now_s: float) -> Stopped:
    thrown = await switches.thrown_now(conn, tenant_id)
    return Stopped(kill_switch=crm.kill_switch, switches=thrown, holds=list(await holds_now(conn, tenant_id, now_s)))


def _shown(step: Step) -> WaitingStep:
    values = asdict(step) | {
        "action": step.action,
        "decided_at": to_datetime(step.decided_at_s),
        "expires_at": None if step.expires_at_s is None else to_datetime(step.expires_at_s),
    }
    return WaitingStep.model_validate(values)
