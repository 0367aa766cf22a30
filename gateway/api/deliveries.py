"""Messages to CRMs and how far they have come, as the API shows them."""

from http import HTTPStatus

from fastapi import APIRouter, HTTPException, Request, Response
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from crm_sync.delivery.records import (
    DeliveryDetail,
    DeliveryFilter,
    DeliverySummary,
    EndpointStatus,
    MessageState,
    get_delivery,
    list_deliveries,
    list_endpoints,
)
from crm_sync.delivery.replay import Replayed, replay, resume_endpoint
from devices.errors import CareloopError
from gateway.api.fields import Name
from gateway.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor, page_of
from gateway.api.queries import Connection
from gateway.api.writes import Act, Done, Writing
from gateway.people.door import Operator, Viewer, people_of
from gateway.people.model import Role


class Again(BaseModel):
    """What asking for a message again did: `again`, `sooner` where it was pending, `parked` behind a dead one."""

    message_id: str
    result: Replayed


class Resumed(BaseModel):
    """An endpoint that is delivered to again."""

    endpoint: str


def deliveries_router(pool: AsyncConnectionPool[AsyncConnection[TupleRow]]) -> APIRouter:
    """``/deliveries`` and ``/endpoints``."""
    router = APIRouter(tags=["deliveries"])

    @router.get("/deliveries")
    async def deliveries(  # noqa: PLR0917 - each is a query parameter
        who: Viewer,
        request: Request,
        state: MessageState | None = None,
        endpoint: Name | None = None,
        case_id: Name | None = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[DeliverySummary]:
        """Messages to CRMs, newest first."""
        after = decode_cursor(cursor, int)
        which = DeliveryFilter(state=state, endpoint=endpoint, case_id=case_id)
        await people_of(request).note(who, "delivery.list", case_id or "", {"state": state})
        async with pool.connection() as conn:
            page = await list_deliveries(
                conn, who.tenant_id, which, cursor=int(after[0]) if after else None, limit=limit
            )
        return Page(items=list(page.items), next=None if page.next is None else encode_cursor(page.next))

    @router.get("/deliveries/{message_id}")
    async def delivery(message_id: Name, who: Viewer, request: Request) -> DeliveryDetail:
        """One message, every attempt and what was answered; for agents whose it is, and for nobody their link."""
        async with pool.connection() as conn:
            found = await get_delivery(conn, who.tenant_id, message_id, names_owner=who.role.may(Role.AGENT))
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no message {message_id}")
        await people_of(request).note(who, "delivery.read", message_id)
        return found

    @router.post("/deliveries/{message_id}/replay", response_model=Again, status_code=HTTPStatus.ACCEPTED)
    async def again(message_id: Name, who: Operator, write: Writing) -> Response:
        """Send a message again, under its old id; the contact policy is asked again before it leaves."""

        async def work(conn: Connection) -> Done:
            result = await replay(conn, who.tenant_id, message_id)
            if result is Replayed.UNKNOWN:
                raise CareloopError("unknown_message", f"no message {message_id}")
            return Done(Again(message_id=message_id, result=result), status=HTTPStatus.ACCEPTED)

        return await write.run(Act("delivery.replay", message_id), work)

    _add_endpoints(router, pool)
    return router


def _add_endpoints(router: APIRouter, pool: AsyncConnectionPool[Connection]) -> None:
    @router.get("/endpoints")
    async def endpoints(who: Viewer, cursor: Cursor = None, limit: Limit = 100) -> Page[EndpointStatus]:
        """Every endpoint that has ever been written to, and how it is doing."""
        async with pool.connection() as conn:
            found = await list_endpoints(conn, who.tenant_id)
        return page_of(found, lambda each: (each.endpoint,), cursor, limit)

    @router.post("/endpoints/{endpoint}/resume", response_model=Resumed)
    async def resume(endpoint: Name, who: Operator, write: Writing) -> Response:
        """Deliver again to an endpoint that was disabled or paused."""

        async def work(conn: Connection) -> Done:
            if not await resume_endpoint(conn, who.tenant_id, endpoint):
                raise CareloopError("unknown_endpoint", f"{endpoint} was neither disabled nor paused")
            return Done(Resumed(endpoint=endpoint))

        return await write.run(Act("endpoint.resume", endpoint), work)
