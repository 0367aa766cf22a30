"""Contacts over HTTP: those that wait for a yes, switches that stop them, and owners who are left alone."""

from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Request, Response
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
from gateway.api.paging import Limit
from gateway.api.queries import Connection
from gateway.api.writes import Act, Done, Writing
from gateway.people.door import Agent, Operator, Viewer, people_of


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


def outreach_router(pool: AsyncConnectionPool[Connection], crm: CrmSettings, clock: Clock) -> APIRouter:
    """``/outreach`` and ``/owners/{owner_ref}/holds``."""
    router = APIRouter(tags=["outreach"])
    router.include_router(_steps_router(pool, crm, clock))
    router.include_router(_switches_router(pool, crm, clock))
    router.include_router(_holds_router(clock))
    return router


def _steps_router(pool: AsyncConnectionPool[Connection], crm: CrmSettings, clock: Clock) -> APIRouter:
    router = APIRouter()

    @router.get("/outreach/waiting")
    async def waiting(who: Viewer, request: Request, limit: Limit = 100) -> list[WaitingStep]:
        """Contacts that wait for a person's yes, those first that will not wait long."""
        await people_of(request).note(who, "contact.list", "")
        async with pool.connection() as conn:
            return [_shown(step) for step in await step_queries.proposed_steps(conn, who.tenant_id, limit)]

    @router.post("/outreach/{step_id}/approve", response_model=WaitingStep)
    async def approve(step_id: Name, asked: Answer, who: Agent, write: Writing) -> Response:
        """Yes: the owner is contacted as soon as every other gate lets it.

        Where `people` is 2 the yes of two accounts is needed; a token's is nobody's there.
        """

        async def work(conn: Connection) -> Done:
            by, now_s = who.signs_as(asked.by), clock.now_s()
            step = await step_approvals.approve(conn, who.tenant_id, step_id, by, now_s, account=who.account)
            return Done(_shown(step))

        return await write.run(Act("outreach.approve", step_id), work)

    @router.post("/outreach/{step_id}/decline", response_model=WaitingStep)
    async def decline(step_id: Name, asked: Answer, who: Agent, write: Writing) -> Response:
        """No: the owner is not contacted."""

        async def work(conn: Connection) -> Done:
            by, now_s = who.signs_as(asked.by), clock.now_s()
            step = await step_approvals.decline(conn, crm, who.tenant_id, step_id, by, why=asked.why, now_s=now_s)
            return Done(_shown(step))

        return await write.run(Act("outreach.decline", step_id, {"why": asked.why}), work)

    return router


def _switches_router(pool: AsyncConnectionPool[Connection], crm: CrmSettings, clock: Clock) -> APIRouter:
    router = APIRouter()

    @router.get("/outreach/stopped")
    async def stopped(who: Viewer) -> Stopped:
        """The kill switches that are thrown, and owners who are to be left alone."""
        async with pool.connection() as conn:
            return await _stopped(conn, crm, who.tenant_id, clock.now_s())

    @router.post("/outreach/stopped", response_model=Stopped)
    async def stop(asked: SwitchAsked, who: Operator, write: Writing) -> Response:
        """Throw a kill switch: no case opens, no owner is contacted, and no playbook tells a product to mend itself."""
        if (asked.scope == "tenant") != (asked.name == EVERY):
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "name says which watch or problem; a tenant has none")

        async def work(conn: Connection) -> Done:
            by, now = f"person:{who.signs_as(asked.by)}", to_datetime(clock.now_s())
            switch = Switch(asked.scope, asked.model, asked.name, by, asked.why, now)
            if not await stopping.stop(conn, who.tenant_id, switch):
                raise CareloopError("stopped_already", "it is stopped already")
            return Done(await _stopped(conn, crm, who.tenant_id, clock.now_s()))

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
            if not await switches.release(conn, who.tenant_id, (scope, model, name), by, clock.now_s()):
                raise CareloopError("unknown_switch", "that is not stopped")
            return Done(None)

        return await write.run(Act("outreach.resume", name, {"scope": scope, "model": model}), work)

    return router


def _holds_router(clock: Clock) -> APIRouter:
    router = APIRouter()

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

    return router


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
