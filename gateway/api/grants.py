"""What owners allow, over HTTP: their last words, their consent records as JSON-LD, and a new word."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from psycopg_pool import AsyncConnectionPool
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from crm_sync.owners.consents import Word, record_word
from crm_sync.settings import CrmSettings
from devices.clock import Clock, to_datetime
from devices.registry.consent import ConsentRecord, ConsentState, read_consents
from devices.registry.dpv import Controller, write_record
from devices.registry.records import Purpose, Recipient
from gateway.api.fields import Behalf, Name
from gateway.api.paging import Cursor, Limit, Page, page_of
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.api.writes import TAGGED, Act, Done, Writing, tag_of
from gateway.people.door import Agent, Viewer, people_of


class JsonLd(JSONResponse):
    """JSON-LD."""

    media_type = "application/ld+json"


Text = Annotated[str, Field(min_length=1, max_length=500)]


class GrantShown(BaseModel):
    """The last word on one purpose and recipient; `state` is null where it does not hold yet."""

    record_id: str
    purpose: str
    recipient: str
    state: ConsentState | None
    since: datetime


class WordAsked(BaseModel):
    """What an owner said, and how."""

    model_config = ConfigDict(extra="forbid")

    purpose: Purpose
    recipient: Recipient
    state: Literal["given", "refused", "revoked"]
    by: Behalf = None
    until: AwareDatetime | None = None
    basis: Text | None = None
    source: Text | None = None
    method: Text | None = None
    notice: Text | None = None
    notice_version: Text | None = None
    notice_language: Text | None = None
    personal_data: tuple[Text, ...] = ()


def grants_router(pool: AsyncConnectionPool[Connection], crm: CrmSettings, clock: Clock, controller: str) -> Router:
    """``/owners/{owner_ref}/grants`` and ``/owners/{owner_ref}/consents``; every look is recorded."""
    router = Router(tags=["grants"])

    @router.get("/owners/{owner_ref}/grants", responses=TAGGED)
    async def grants(  # noqa: PLR0917 - whose, who asks, and which page
        owner_ref: Name, who: Viewer, request: Request, response: Response, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[GrantShown]:
        """The owner's last word on each purpose and recipient; the ETag, of all, goes into a new word's If-Match."""
        async with pool.connection() as conn:
            records = await read_consents(conn, who.tenant_id, owner_ref)
        await people_of(request).note(who, "owner.grants", owner_ref)
        response.headers["ETag"] = _tag(records)
        shown = [_shown(record, clock.now_s()) for record in records]
        return page_of(shown, lambda each: (each.purpose, each.recipient, each.record_id), cursor, limit)

    @router.get(
        "/owners/{owner_ref}/consents",
        response_class=JsonLd,
        responses={200: {"content": {JsonLd.media_type: {"schema": {"type": "array", "items": {"type": "object"}}}}}},
    )
    async def consents(owner_ref: Name, who: Viewer, request: Request) -> JsonLd:
        """The owner's consent records with every word, as JSON-LD in the terms of DPV."""
        async with pool.connection() as conn:
            records = await read_consents(conn, who.tenant_id, owner_ref)
        await people_of(request).note(who, "owner.consents", owner_ref)
        now, named = to_datetime(clock.now_s()), Controller(who.tenant_id, controller)
        written = [write_record(record, named, now) for record in records]
        return JsonLd(written)

    @router.post("/owners/{owner_ref}/grants", response_model=GrantShown)
    async def say(owner_ref: Name, asked: WordAsked, who: Agent, write: Writing) -> Response:
        """A new word of the owner; it counts from now on."""
        said = asked.model_dump(exclude={"by"})
        word = Word(owner_ref, recorded_by=f"person:{who.signs_as(asked.by)}", **said)

        async def work(conn: Connection) -> Done:
            async def present() -> str:
                return _tag(await read_consents(conn, who.tenant_id, owner_ref))

            await write.check(conn, f"grants of {owner_ref}", present)
            record = await record_word(conn, crm, who.tenant_id, word, clock.now_s())
            return Done(_shown(record, clock.now_s()), await present())

        inputs = {"purpose": asked.purpose, "recipient": asked.recipient, "state": asked.state}
        return await write.run(Act("grant.record", owner_ref, inputs), work)

    return router


def _tag(records: Sequence[ConsentRecord]) -> str:
    return tag_of([(record.record_id, len(record.events), record.events[-1].at) for record in records])


def _shown(record: ConsentRecord, now_s: float) -> GrantShown:
    return GrantShown(
        record_id=str(record.record_id),
        purpose=record.purpose,
        recipient=record.recipient,
        state=record.state_at(to_datetime(now_s)),
        since=record.events[-1].at,
    )
