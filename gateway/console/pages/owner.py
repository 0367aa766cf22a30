"""One view of an owner: products, alarms, cases, contacts and grants. No name, no address: those stay in the CRM."""

from http import HTTPStatus
from typing import Final, cast, get_args
from urllib.parse import quote

from fastapi import HTTPException, Request, Response

from crm_sync.owners.holding import hold
from crm_sync.owners.standing import standing_of
from crm_sync.owners.told import HoldKind, LeaveAlone
from crm_sync.policy.shown import list_decisions, steps_of_owner
from crm_sync.queries import CaseFilter, list_cases
from devices.registry.consent import owner_exists
from devices.registry.queries import grants_of
from gateway.api.router import Router
from gateway.console.attention_queries import alarms_of_owner
from gateway.console.fleet_queries import get_owner, products_of
from gateway.console.forms import moment_of, needed_text, unusable
from gateway.console.gates import gated
from gateway.console.parts import Desk, done
from gateway.console.said import say_owner
from gateway.people.audit import record
from gateway.people.model import Role

MOST: Final = 100


def owner_router(desk: Desk) -> Router:
    """``GET /owners/{owner_ref}``; who looked is kept."""
    router = Router()

    @router.get("/owners/{owner_ref:path}")
    async def owner(request: Request, owner_ref: str) -> Response:
        person = await desk.enter(request)
        shown = desk.renderer.shown(request)
        await desk.parts.people.note(person, "owner.read", owner_ref)
        async with desk.pool.connection() as conn:
            found = await get_owner(conn, person.tenant_id, owner_ref)
            if found is None:
                raise HTTPException(HTTPStatus.NOT_FOUND, "owner")
            cases = await list_cases(conn, person.tenant_id, CaseFilter(owner_ref=owner_ref), None, MOST)
            decisions = await list_decisions(conn, person.tenant_id, owner_ref=owner_ref, limit=MOST)
            steps = await steps_of_owner(conn, person.tenant_id, owner_ref, MOST)
            products = await products_of(conn, person.tenant_id, owner_ref)
            grants = await grants_of(conn, person.tenant_id, owner_ref)
            alarms = await alarms_of_owner(conn, person.tenant_id, owner_ref)
            standing = await standing_of(conn, person.tenant_id, owner_ref, shown.now_s)
        return await desk.page(
            request,
            person,
            "owner.html",
            owner=found,
            products=products,
            cases=cases.items,
            steps=steps,
            grants=grants,
            alarms=alarms,
            models={each.device_id: each.model for each in products},
            standing=standing,
            hold_kinds=get_args(HoldKind),
            answer=say_owner(owner_ref, decisions, steps, standing, shown),
            decisions=[(each.decided_at, each.device_id, gated(each, shown)) for each in decisions],
        )

    _add_holds(router, desk)
    return router


def _add_holds(router: Router, desk: Desk) -> None:
    async def put(request: Request, owner_ref: str, what: str) -> Response:
        person, fields = await desk.write(request, Role.AGENT)
        is_on, kind = what == "owner.hold", fields.get("kind", "")
        if kind not in get_args(HoldKind):
            raise unusable("kind")
        until = moment_of(fields, "until") if is_on else None
        why = needed_text(fields, "why") if is_on else ""
        until_s = None if until is None else until.timestamp()
        news = LeaveAlone(owner_ref, cast("HoldKind", kind), is_on=is_on, until_s=until_s, why=why)
        async with desk.pool.connection() as conn, conn.transaction():
            if not await owner_exists(conn, person.tenant_id, owner_ref):
                raise HTTPException(HTTPStatus.NOT_FOUND, "owner")
            if not await hold(conn, person.tenant_id, news, f"person:{person.signs_as()}", desk.now_s()):
                raise HTTPException(HTTPStatus.CONFLICT, "it is so already, or somebody else has ordered it")
            await record(conn, person, what, owner_ref, {"kind": kind, "why": why})
        return done(request, f"/owners/{quote(owner_ref)}")

    @router.post("/owners/{owner_ref:path}/holds")
    async def leave_alone(request: Request, owner_ref: str) -> Response:
        return await put(request, owner_ref, "owner.hold")

    @router.post("/owners/{owner_ref:path}/release")
    async def let_go(request: Request, owner_ref: str) -> Response:
        return await put(request, owner_ref, "owner.release")
