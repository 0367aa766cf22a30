"""Quarantine: what could not be stored, why, its bytes, and another try after a fix."""

from http import HTTPStatus
from typing import Final

from fastapi import HTTPException, Request, Response

from devices.errors import QuarantineReason
from gateway.api.router import Router
from gateway.console.parts import Desk, done
from gateway.console.readable import readable
from gateway.people.audit import record
from gateway.people.model import Role
from gateway.store.quarantine import Stage, Wanted, list_entries, list_newest, request_replay
from gateway.store.tallies import read_tallies

SIZE: Final = 50


def quarantine_router(desk: Desk) -> Router:
    """``/quarantine`` and what an operator does there."""
    router = Router()

    @router.get("/quarantine")
    async def quarantine(
        request: Request, reason: str = "", stage: str = "", q: str = "", cursor: int | None = None
    ) -> Response:
        person = await desk.enter(request)
        wanted = Wanted(
            tenant_id=person.tenant_id,
            reason=reason if reason in set(QuarantineReason) else None,
            device_id=q.strip() or None,
            stage=Stage(stage) if stage in set(Stage) else None,
            before=cursor,
            limit=SIZE + 1,
        )
        async with desk.pool.connection() as conn:
            rows = await list_newest(conn, wanted)
            by_reason = (await read_tallies(conn, person.tenant_id)).quarantined
        words = desk.renderer.words_of(request)
        return await desk.page(
            request,
            person,
            "quarantine.html",
            rows=[{**row, "says": words.refused(str(row["detail"]))} for row in rows[:SIZE]],
            next=rows[SIZE - 1]["quarantine_id"] if len(rows) > SIZE else None,
            by_reason=by_reason,
            stages=[str(each) for each in Stage],
        )

    @router.get("/quarantine/{quarantine_id}")
    async def entry(request: Request, quarantine_id: int) -> Response:
        person = await desk.enter(request)
        async with desk.pool.connection() as conn:
            found = await list_entries(conn, Wanted(tenant_id=person.tenant_id, ids=(quarantine_id,), limit=1))
        if not found:
            raise HTTPException(HTTPStatus.NOT_FOUND, "entry")
        text, device = None, {"device": found[0].device_id}
        if not person.role.may(Role.OPERATOR):
            await desk.parts.people.note(person, "quarantine.look", str(quarantine_id), device)
        else:
            await desk.parts.people.note(person, "quarantine.read", str(quarantine_id), device)
            text = readable(found[0].raw)
        says = desk.renderer.words_of(request).refused(found[0].detail)
        return await desk.page(request, person, "quarantined.html", entry=found[0], text=text, says=says)

    @router.post("/quarantine/{quarantine_id}/replay")
    async def again(request: Request, quarantine_id: int) -> Response:
        person, _ = await desk.write(request, Role.OPERATOR)
        async with desk.pool.connection() as conn, conn.transaction():
            ids = await request_replay(conn, Wanted(tenant_id=person.tenant_id, ids=(quarantine_id,)))
            await record(conn, person, "quarantine.replay", str(quarantine_id), {})
        if not ids:
            raise HTTPException(HTTPStatus.NOT_FOUND, "entry")
        return done(request, f"/quarantine/{quarantine_id}")

    return router
