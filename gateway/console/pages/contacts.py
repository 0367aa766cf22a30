"""Contacts that wait for a person: what would be sent to whom and why, until when, and a yes or a no to it."""

from dataclasses import replace
from typing import Final

from fastapi import Request, Response

from crm_sync.cases import step_approvals
from gateway.api.router import Router
from gateway.console.attention_queries import answered_contacts, count_contacts, waiting_contacts
from gateway.console.forms import needed_text
from gateway.console.pages.inbox import counted_tabs
from gateway.console.parts import Desk, done
from gateway.console.show import DAY_S
from gateway.people.model import Role

SIZE: Final = 50
MOST_PAGES: Final = 10_000
LATELY_S: Final = 14 * DAY_S


def contacts_router(desk: Desk) -> Router:
    """``GET /contacts``, and a person's answer to one."""
    router = Router()

    @router.get("/contacts")
    async def contacts(request: Request, page: int = 1) -> Response:
        person = await desk.enter(request)
        await desk.parts.people.note(person, "contact.list", "")
        words = desk.renderer.words_of(request)
        wording = desk.wordings.of(words.language)
        number = min(max(page, 1), MOST_PAGES)
        async with desk.pool.connection() as conn:
            total = await count_contacts(conn, person.tenant_id)
            rows = await waiting_contacts(conn, person.tenant_id, limit=SIZE, offset=(number - 1) * SIZE)
            lately = await answered_contacts(conn, person.tenant_id, desk.now_s() - LATELY_S)
            tabs = await counted_tabs(conn, person.tenant_id, words)
        return await desk.page(
            request,
            person,
            "contacts.html",
            rows=[replace(row, says=row.says and wording.phrase(row.says)) for row in rows],
            lately=lately,
            total=total,
            page=number,
            size=SIZE,
            tabs=tabs,
        )

    @router.post("/contacts/{step_id}/approve")
    async def approve(request: Request, step_id: str) -> Response:
        person, _ = await desk.write(request, Role.AGENT)
        async with desk.decided(person, "outreach.approve", step_id) as conn:
            by, now_s = person.signs_as(), desk.now_s()
            step = await step_approvals.approve(conn, person.tenant_id, step_id, by, now_s, account=person.account)
        words = desk.renderer.words_of(request)
        waits = words.say("Noted: somebody else has to say yes, too")
        goes = words.say("Allowed: it goes as soon as nothing else stands in its way")
        return done(request, "/contacts", goes if step.approved_by else waits)

    @router.post("/contacts/{step_id}/decline")
    async def decline(request: Request, step_id: str) -> Response:
        person, fields = await desk.write(request, Role.AGENT)
        why = needed_text(fields, "why")
        async with desk.decided(person, "outreach.decline", step_id, why=why) as conn:
            crm, by = desk.parts.crm, person.signs_as()
            await step_approvals.decline(conn, crm, person.tenant_id, step_id, by, why=why, now_s=desk.now_s())
        return done(request, "/contacts")

    return router
