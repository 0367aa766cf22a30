"""Messages to CRMs: how far they came, what was answered, which endpoint is in trouble, and another try."""

from http import HTTPStatus
from typing import Final, cast, get_args

from fastapi import APIRouter, HTTPException, Request, Response

from crm_sync.delivery.records import DeliveryFilter, MessageState, get_delivery, list_deliveries, list_endpoints
from crm_sync.delivery.replay import Replayed, replay, resume_endpoint
from gateway.console.parts import Desk, done
from gateway.people.audit import record
from gateway.people.model import Role

SIZE: Final = 50
MOST_SUBJECT: Final = 100
STATES: Final[tuple[str, ...]] = get_args(MessageState)
SAID: Final = {
    Replayed.AGAIN: "It is sent again.",
    Replayed.SOONER: "It is tried at once.",
    Replayed.PARKED: "It waits behind a failed message, which must be sent again first.",
}


def deliveries_router(desk: Desk) -> APIRouter:
    """``/deliveries`` and what an operator does there."""
    router = APIRouter()

    @router.get("/deliveries")
    async def deliveries(
        request: Request, state: str = "", endpoint: str = "", case_id: str = "", cursor: int | None = None
    ) -> Response:
        person = await desk.enter(request)
        which = DeliveryFilter(
            state=cast("MessageState", state) if state in STATES else None,
            endpoint=endpoint or None,
            case_id=case_id or None,
        )
        await desk.parts.people.note(person, "delivery.list", case_id[:MOST_SUBJECT], {"state": which.state})
        async with desk.pool.connection() as conn:
            page = await list_deliveries(conn, person.tenant_id, which, cursor=cursor, limit=SIZE)
            endpoints = await list_endpoints(conn, person.tenant_id)
        return await desk.page(
            request, person, "deliveries.html", rows=page.items, next=page.next, endpoints=endpoints, states=STATES
        )

    @router.get("/deliveries/{message_id}")
    async def delivery(request: Request, message_id: str) -> Response:
        person = await desk.enter(request)
        async with desk.pool.connection() as conn:
            names_owner = person.role.may(Role.AGENT)
            found = await get_delivery(conn, person.tenant_id, message_id, names_owner=names_owner)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "message")
        await desk.parts.people.note(person, "delivery.read", message_id)
        return await desk.page(request, person, "delivery.html", message=found.summary, detail=found)

    _add_replays(router, desk)
    return router


def _add_replays(router: APIRouter, desk: Desk) -> None:
    @router.post("/deliveries/{message_id}/replay")
    async def again(request: Request, message_id: str) -> Response:
        person, _ = await desk.write(request, Role.OPERATOR)
        async with desk.pool.connection() as conn, conn.transaction():
            became = await replay(conn, person.tenant_id, message_id)
            await record(conn, person, "delivery.replay", message_id, {"became": str(became)})
        if became is Replayed.UNKNOWN:
            raise HTTPException(HTTPStatus.NOT_FOUND, "message")
        return done(request, f"/deliveries/{message_id}", desk.renderer.words_of(request).say(SAID[became]))

    @router.post("/deliveries/endpoints/{endpoint}/resume")
    async def resume(request: Request, endpoint: str) -> Response:
        person, _ = await desk.write(request, Role.OPERATOR)
        async with desk.pool.connection() as conn, conn.transaction():
            resumed = await resume_endpoint(conn, person.tenant_id, endpoint)
            await record(conn, person, "endpoint.resume", endpoint, {"resumed": resumed})
        return done(request, "/deliveries")
