"""Messages to CRMs and how far they have come, as the API shows them."""

import time
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from fastapi import HTTPException, Query, Request, Response
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

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
from crm_sync.delivery.replay_range import PER_MINUTE, DeadLetters, count_dead, replay_range
from devices.errors import CareloopError
from gateway.api.fields import BigNumber, Instant, Name
from gateway.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor, page_of
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.api.writes import Act, Done, Writing
from gateway.people.door import Operator, Viewer, people_of
from gateway.people.model import Role


class Again(BaseModel):
    """What asking for a message again did: `again`, `sooner` where it was pending, `parked` behind a dead one."""

    message_id: str
    result: Replayed


class RangeAsked(BaseModel):
    """Which dead letters are to be sent again, as they were counted before."""

    model_config = ConfigDict(extra="forbid")

    endpoint: Name | None = None
    case_id: Name | None = None
    type: Name | None = None
    since: Annotated[Instant | None, Field(description="Written at or after.")] = None
    until: Annotated[Instant | None, Field(description="Written before.")] = None
    count: Annotated[BigNumber, Field(description="As `GET /deliveries/dead` counted them: what is confirmed.")]
    up_to: Annotated[BigNumber, Field(description="As `GET /deliveries/dead` said it.")]
    per_minute: Annotated[int, Field(ge=1, le=6000)] = PER_MINUTE


class RangedAnswer(BaseModel):
    """What sending a range again did."""

    again: int
    left: Annotated[int, Field(description="More than one call takes: count anew, and ask for the next.")]
    lasts_s: Annotated[float, Field(description="Seconds until the last of them is due.")]


class Resumed(BaseModel):
    """An endpoint that is delivered to again."""

    endpoint: str


def deliveries_router(pool: AsyncConnectionPool[AsyncConnection[TupleRow]]) -> Router:
    """``/deliveries`` and ``/endpoints``."""
    router = Router(tags=["deliveries"])

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

    _add_range(router, pool)

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


def _add_range(router: Router, pool: AsyncConnectionPool[Connection]) -> None:
    @router.get("/deliveries/dead")
    async def dead(  # noqa: PLR0917 - each is a query parameter
        who: Viewer,
        endpoint: Name | None = None,
        case_id: Name | None = None,
        kind: Annotated[Name | None, Query(alias="type")] = None,
        since: Instant | None = None,
        until: Instant | None = None,
    ) -> DeadLetters:
        """How many dead letters there are in a range: to be looked at before they are sent again."""
        async with pool.connection() as conn:
            return await count_dead(conn, who.tenant_id, DeliveryFilter("dead", endpoint, case_id, kind, since, until))

    @router.post("/deliveries/replay", response_model=RangedAnswer, status_code=HTTPStatus.ACCEPTED)
    async def replay_all(asked: RangeAsked, who: Operator, write: Writing) -> Response:
        """Send a range of dead letters again, as they were counted, so many a minute and at most 1000 at once.

        409 where they are not as many any more; the contact policy is asked again before each leaves.
        """
        which = DeliveryFilter("dead", asked.endpoint, asked.case_id, asked.type, asked.since, asked.until)
        seen = DeadLetters(asked.count, {}, None, None, asked.up_to)

        async def work(conn: Connection) -> Done:
            ranged = await replay_range(
                conn, who.tenant_id, which, seen, per_minute=asked.per_minute, now_s=time.time()
            )
            return Done(RangedAnswer.model_validate(asdict(ranged)), status=HTTPStatus.ACCEPTED)

        inputs = asked.model_dump(mode="json", exclude_none=True)
        return await write.run(Act("delivery.replay_range", asked.endpoint or "", inputs), work)


def _add_endpoints(router: Router, pool: AsyncConnectionPool[Connection]) -> None:
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
