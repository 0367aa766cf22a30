"""What could not be stored as readings, and why."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from devices.errors import QuarantineReason
from gateway.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from gateway.api.queries import Connection
from gateway.store.quarantine import Stage, Wanted, list_newest


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


def quarantine_router(pool: AsyncConnectionPool[Connection], tenant_id: str) -> APIRouter:
    """``GET /quarantine``."""
    router = APIRouter(tags=["quarantine"])

    @router.get("/quarantine")
    async def quarantine(  # noqa: PLR0917 - each is a query parameter
        device_id: str | None = None,
        reason: QuarantineReason | None = None,
        topic: Annotated[str | None, Query(description="A topic, or a filter with MQTT's wildcards.")] = None,
        since: Annotated[datetime | None, Query(description="Last received at or after this.")] = None,
        until: Annotated[datetime | None, Query(description="Last received before this.")] = None,
        stage: Annotated[Stage | None, Query(description="`open`: no replay has brought it in.")] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[Quarantined]:
        """What could not be stored, newest first."""
        key = decode_cursor(cursor, int)
        wanted = Wanted(
            tenant_id=tenant_id,
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

    return router
