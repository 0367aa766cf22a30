"""What could not be stored as readings, and why."""

from datetime import datetime
from typing import LiteralString

from fastapi import APIRouter
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from devices.errors import QuarantineReason
from gateway.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor


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


LIST_QUARANTINE: LiteralString = """
SELECT quarantine_id, device_id, topic, codec, reason, detail, encode(digest, 'hex') AS digest, length(raw) AS bytes,
       first_received_at, last_received_at, seen, replayed_at, outcome
FROM quarantine
WHERE tenant_id = %(tenant_id)s
  AND (%(device_id)s::text IS NULL OR device_id = %(device_id)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(before)s::bigint IS NULL OR quarantine_id < %(before)s)
ORDER BY quarantine_id DESC
LIMIT %(limit)s
"""


async def list_quarantine(conn: AsyncConnection[DictRow], wanted: dict[str, object]) -> list[DictRow]:
    """What lies in a tenant's quarantine, newest first."""
    return await (await conn.execute(LIST_QUARANTINE, wanted)).fetchall()


def quarantine_router(pool: AsyncConnectionPool[AsyncConnection[DictRow]], tenant_id: str) -> APIRouter:
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
            conn.row_factory = dict_row
            rows = await list_quarantine(conn, wanted)
        end = encode_cursor(rows[-1]["quarantine_id"]) if len(rows) == limit else None
        return Page(items=[Quarantined.model_validate(row) for row in rows], next=end)

    return router
