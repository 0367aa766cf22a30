"""What could not be stored as readings, and why."""

from datetime import datetime

from fastapi import APIRouter
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from devices.errors import QuarantineReason
from gateway.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from gateway.api.queries import Connection, list_quarantine


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
    replayed_at: datetime | None
    outcome: str | None


def quarantine_router(pool: AsyncConnectionPool[Connection], tenant_id: str) -> APIRouter:
    """``GET /quarantine``."""
    router = APIRouter(tags=["quarantine"])

    @router.get("/quarantine")
    async def quarantine(
        device_id: str | None = None, reason: QuarantineReason | None = None, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[Quarantined]:
        """What could not be stored, newest first."""
        before = decode_cursor(cursor, int) or [None]
        wanted = {"tenant_id": tenant_id, "device_id": device_id, "reason": reason, "before": before[0], "limit": limit}
        async with pool.connection() as conn:
            rows = await list_quarantine(conn, wanted)
        end = encode_cursor(rows[-1]["quarantine_id"]) if len(rows) == limit else None
        return Page(items=[Quarantined.model_validate(row) for row in rows], next=end)

    return router
