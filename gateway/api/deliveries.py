"""Messages to CRMs and how far they have come, as the API shows them."""

from http import HTTPStatus

from fastapi import APIRouter, HTTPException
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from crm_sync.delivery.records import (
    DeliveryDetail,
    DeliveryFilter,
    DeliverySummary,
    MessageState,
    get_delivery,
    list_deliveries,
)
from gateway.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor


def deliveries_router(pool: AsyncConnectionPool[AsyncConnection[TupleRow]], tenant_id: str) -> APIRouter:
    """``GET /deliveries`` and ``GET /deliveries/{message_id}``."""
    router = APIRouter(tags=["deliveries"])

    @router.get("/deliveries")
    async def deliveries(
        state: MessageState | None = None,
        endpoint: str | None = None,
        case_id: str | None = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[DeliverySummary]:
        """Messages to CRMs, newest first."""
        after = decode_cursor(cursor, int)
        which = DeliveryFilter(state=state, endpoint=endpoint, case_id=case_id)
        async with pool.connection() as conn:
            page = await list_deliveries(conn, tenant_id, which, cursor=int(after[0]) if after else None, limit=limit)
        return Page(items=list(page.items), next=None if page.next is None else encode_cursor(page.next))

    @router.get("/deliveries/{message_id}")
    async def delivery(message_id: str) -> DeliveryDetail:
        """One message, with every attempt and what was answered."""
        async with pool.connection() as conn:
            found = await get_delivery(conn, tenant_id, message_id)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no message {message_id}")
        return found

    return router
