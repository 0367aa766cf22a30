"""Watches: how far each is trusted, what that rests on, and a person's word on it."""

from http import HTTPStatus

from fastapi import HTTPException, Request, Response

from crm_sync.trust.queries import ModeSet, WatchKey, set_mode
from crm_sync.trust.shown import audit_of, customers_of, list_watches, show_budget
from devices.profiles.model import Severity, WatchMode
from gateway.api.router import Router
from gateway.console.pages.backtests import SPANS, knobs_of, watch_of
from gateway.console.parts import Desk, done
from gateway.people.audit import record
from gateway.people.model import Role


def watches_router(desk: Desk) -> Router:
    """``/watches`` and what an operator does there."""
    router = Router()
    trust = desk.parts.trust

    @router.get("/watches")
    async def watches(request: Request, model: str = "") -> Response:
        person = await desk.enter(request)
        async with desk.pool.connection() as conn:
            found = await list_watches(conn, person.tenant_id, trust, desk.now_s())
            budget = await show_budget(conn, person.tenant_id, trust, desk.now_s())
        return await desk.page(
            request,
            person,
            "watches.html",
            rows=[each for each in found if not model or each.model == model],
            models=sorted({each.model for each in found}),
            budget=budget,
        )

    @router.get("/watches/{model}/{watch}")
    async def watch(request: Request, model: str, watch: str) -> Response:
        person = await desk.enter(request)
        key = WatchKey(person.tenant_id, model, watch)
        async with desk.pool.connection() as conn:
            found = await list_watches(conn, person.tenant_id, trust, desk.now_s(), model=model, watch=watch)
            if not found:
                raise HTTPException(HTTPStatus.NOT_FOUND, "watch")
            audit = await audit_of(conn, key)
            customers_said = await customers_of(conn, key)
        profile = desk.parts.profiles.get(model)
        declared = watch_of(profile, watch)
        told = watch_of(desk.products(request).of(model).told, watch)
        knobs = knobs_of(profile, declared, desk.parts.history.detect) if profile and declared else []
        return await desk.page(
            request,
            person,
            "watch.html",
            watch=found[0],
            audit=audit,
            customers_said=customers_said,
            declared=declared,
            about=told.description if told else "",
            modes=[str(each) for each in WatchMode],
            severities=[str(each) for each in Severity],
            knobs=knobs,
            spans=list(SPANS),
            backtests=desk.parts.backtests.of(person.tenant_id, model, watch),
        )

    @router.post("/watches/{model}/{watch}/mode")
    async def mode(request: Request, model: str, watch: str) -> Response:
        person, fields = await desk.write(request, Role.OPERATOR)
        why = fields.get("why", "").strip()[:1000]
        if fields.get("mode") not in set(WatchMode) or not why:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "mode, why")
        change = ModeSet(WatchMode(fields["mode"]), f"person:{person.signs_as()}", why, held="hold" in fields)
        async with desk.pool.connection() as conn, conn.transaction():
            if not await set_mode(conn, WatchKey(person.tenant_id, model, watch), change, desk.now_s()):
                raise HTTPException(HTTPStatus.NOT_FOUND, "watch")
            await record(conn, person, "watch.mode", f"{model}/{watch}", {"mode": str(change.mode), "why": why})
        return done(request, f"/watches/{model}/{watch}")

    return router
