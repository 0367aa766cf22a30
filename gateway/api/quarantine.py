"""What could not be stored as readings, and why."""

from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import HTTPException, Query, Request, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field, model_validator

from devices.errors import QuarantineReason
from gateway.api.fields import BigNumber, Instant, Name
from gateway.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.api.writes import Act, Done, Writing
from gateway.people.door import Operator, Viewer, people_of
from gateway.store.quarantine import Stage, Wanted, list_entries, list_newest, request_replay


class Quarantined(BaseModel):
    """A reading or packet in quarantine; `digest` is the SHA-256 of its raw bytes, in hexadecimal."""

    quarantine_id: int
    device_id: str | None
    topic: str
    codec: str
    reason: QuarantineReason
    detail: str
    digest: str
    bytes: int
    first_received_at: datetime
    last_received_at: datetime
    seen: int
    replay_requested_at: datetime | None
    replayed_at: datetime | None
    outcome: str | None


class QuarantinedBytes(Quarantined):
    """An entry with its bytes, as text; those that are none stand as escapes."""

    raw: str


class ReplayAsked(BaseModel):
    """Which entries are to be taken through the pipeline again: by number, or all open ones that fit."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[tuple[BigNumber, ...], Field(max_length=1000)] = ()
    device_id: Name | None = None
    reason: QuarantineReason | None = None
    topic: Name | None = None

    @model_validator(mode="after")
    def _names_something(self) -> "ReplayAsked":
        if not (self.ids or self.device_id or self.reason or self.topic):
            message = "name entries by their ids, or a device, reason or topic"
            raise ValueError(message)
        return self


class Replay(BaseModel):
    """The entries whose replay was asked for; each says in `outcome` what came of it, soon."""

    ids: list[int]


def quarantine_router(pool: AsyncConnectionPool[Connection]) -> Router:
    """``/quarantine``."""
    router = Router(tags=["quarantine"])

    @router.get("/quarantine")
    async def quarantine(  # noqa: PLR0917 - each is a query parameter
        who: Viewer,
        device_id: Name | None = None,
        reason: QuarantineReason | None = None,
        topic: Annotated[Name | None, Query(description="A topic, or a filter with MQTT's wildcards.")] = None,
        since: Annotated[Instant | None, Query(description="Last received at or after this.")] = None,
        until: Annotated[Instant | None, Query(description="Last received before this.")] = None,
        stage: Annotated[Stage | None, Query(description="`open`: no replay has brought it in.")] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[Quarantined]:
        """What could not be stored, newest first."""
        key = decode_cursor(cursor, int)
        wanted = Wanted(
            tenant_id=who.tenant_id,
            device_id=device_id,
            reason=reason,
            topic=topic,
            since=since,
            until=until,
            stage=stage,
            before=int(key[0]) if key else None,
            limit=limit + 1,
        )
        async with pool.connection() as conn:
            rows = await list_newest(conn, wanted)
        items = [Quarantined.model_validate(row) for row in rows[:limit]]
        return Page(items=items, next=encode_cursor(items[-1].quarantine_id) if len(rows) > limit else None)

    @router.get("/quarantine/{quarantine_id}")
    async def entry(quarantine_id: BigNumber, who: Operator, request: Request) -> QuarantinedBytes:
        """One entry, with the bytes as they came."""
        async with pool.connection() as conn:
            found = await list_entries(conn, Wanted(tenant_id=who.tenant_id, ids=(quarantine_id,)))
        if not found:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"nothing in quarantine has the number {quarantine_id}")
        await people_of(request).note(who, "quarantine.read", str(quarantine_id), {"device": found[0].device_id})
        raw = found[0].raw
        return QuarantinedBytes.model_validate(
            {**asdict(found[0]), "bytes": len(raw), "raw": raw.decode(errors="backslashreplace")}
        )

    @router.post("/quarantine/replay", response_model=Replay, status_code=HTTPStatus.ACCEPTED)
    async def replay(asked: ReplayAsked, who: Operator, write: Writing) -> Response:
        """Have entries taken through the pipeline again, by the gateway that runs."""

        async def work(conn: Connection) -> Done:
            wanted = Wanted(
                tenant_id=who.tenant_id,
                ids=asked.ids,
                device_id=asked.device_id,
                reason=asked.reason,
                topic=asked.topic,
                stage=None if asked.ids else Stage.OPEN,
            )
            return Done(Replay(ids=await request_replay(conn, wanted)), status=HTTPStatus.ACCEPTED)

        inputs = {"ids": list(asked.ids), "reason": asked.reason, "topic": asked.topic}
        return await write.run(Act("quarantine.replay", asked.device_id or "", inputs), work)

    return router
