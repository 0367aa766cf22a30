"""One view of an owner: products, cases, contacts and grants. No name, no address: those stay in the CRM."""

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response

from crm_sync.explain import explain_owner
from crm_sync.queries import CaseFilter, list_cases, list_decisions, steps_of_owner
from devices.registry.queries import grants_of
from gateway.console.fleet_queries import get_owner, products_of
from gateway.console.pages.case import gated
from gateway.console.parts import Desk

MOST: Final = 100


def owner_router(desk: Desk) -> APIRouter:
    """``GET /owners/{owner_ref}``; who looked is kept."""
    router = APIRouter()

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
        return await desk.page(
            request,
            person,
            "owner.html",
            owner=found,
            products=products,
            cases=cases.items,
            steps=steps,
            grants=grants,
            answer=explain_owner(owner_ref, decisions, steps).answer,
            decisions=[(each.decided_at, each.device_id, gated(each, shown)) for each in decisions],
        )

    return router
