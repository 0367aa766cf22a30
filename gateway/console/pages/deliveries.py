"""Messages to CRMs: how far they came, what was answered, which endpoint is in trouble, and another try."""

import json
from datetime import UTC, date, datetime, time
from http import HTTPStatus
from time import time as now_s
from typing import Final, cast, get_args

from fastapi import HTTPException, Request, Response

from crm_sync.delivery.records import DeliveryFilter, MessageState, get_delivery, list_deliveries, list_endpoints
from crm_sync.delivery.replay import Replayed, replay, resume_endpoint
from crm_sync.delivery.replay_range import MOST, PER_MINUTE, DeadLetters, count_dead, replay_range
from crm_sync.delivery.streams import list_streams
from gateway.api.router import Router
from gateway.console.parts import Desk, done
from gateway.console.queries import name_cases
from gateway.people.audit import record
from gateway.people.model import Role

SIZE: Final = 50
MOST_SUBJECT: Final = 100
MOST_PER_MINUTE: Final = 6000
STATES: Final[tuple[str, ...]] = get_args(MessageState)
SAID: Final = {
    Replayed.AGAIN: "It is sent again.",
    Replayed.SOONER: "It is tried at once.",
    Replayed.PARKED: "It waits behind a failed message, which must be sent again first.",
}


def deliveries_router(desk: Desk) -> Router:
    """``/deliveries`` and what an operator does there."""
    router = Router()

    @router.get("/deliveries")
    async def deliveries(  # noqa: PLR0917 - each is a query parameter
        request: Request,
        state: str = "",
        endpoint: str = "",
        case_id: str = "",
        since: str = "",
        until: str = "",
        cursor: int | None = None,
    ) -> Response:
        person = await desk.enter(request)
        which = DeliveryFilter(
            state=cast("MessageState", state) if state in STATES else None,
            endpoint=endpoint or None,
            case_id=case_id or None,
            since=day_of(since),
            until=day_of(until),
        )
        await desk.parts.people.note(person, "delivery.list", case_id[:MOST_SUBJECT], {"state": which.state})
        async with desk.pool.connection() as conn:
            page = await list_deliveries(conn, person.tenant_id, which, cursor=cursor, limit=SIZE)
            endpoints = await list_endpoints(conn, person.tenant_id)
            dead = await count_dead(conn, person.tenant_id, which) if which.state == "dead" else None
            cases = await name_cases(conn, person.tenant_id, {each.case_id for each in page.items})
        products = desk.products(request)
        return await desk.page(
            request,
            person,
            "deliveries.html",
            rows=page.items,
            next=page.next,
            endpoints=endpoints,
            states=STATES,
            dead=dead,
            at_once=MOST,
            per_minute=PER_MINUTE,
            cases=cases,
            titles={each.case_id: products.of(each.model).case(each.problem, each.title) for each in cases.values()},
        )

    @router.get("/deliveries/streams")
    async def streams(request: Request, case_id: str = "", endpoint: str = "", cursor: int | None = None) -> Response:
        person = await desk.enter(request)
        await desk.parts.people.note(person, "delivery.list", case_id[:MOST_SUBJECT])
        async with desk.pool.connection() as conn:
            page = await list_streams(conn, person.tenant_id, case_id or None, endpoint or None, cursor)
            cases = await name_cases(conn, person.tenant_id, {each.case_id for each in page.items})
        products = desk.products(request)
        titles = {each.case_id: products.of(each.model).case(each.problem, each.title) for each in cases.values()}
        context = {"streams": page.items, "next": page.next, "cases": cases, "titles": titles}
        return await desk.page(request, person, "streams.html", **context)

    @router.get("/deliveries/{message_id}")
    async def delivery(request: Request, message_id: str) -> Response:
        person = await desk.enter(request)
        async with desk.pool.connection() as conn:
            names_owner = person.role.may(Role.AGENT)
            found = await get_delivery(conn, person.tenant_id, message_id, names_owner=names_owner)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "message")
        await desk.parts.people.note(person, "delivery.read", message_id)
        return await desk.page(request, person, "delivery.html", message=found.summary, detail=found, pretty=pretty)

    _add_replays(router, desk)
    return router


def pretty(text: str | None) -> str:
    """A body as people can read it: JSON with a line for each of its parts, all else as it is."""
    try:
        return json.dumps(json.loads(text or ""), indent=2, ensure_ascii=False)
    except ValueError:
        return text or ""


def _add_replays(router: Router, desk: Desk) -> None:
    @router.post("/deliveries/{message_id}/replay")
    async def again(request: Request, message_id: str) -> Response:
        person, _ = await desk.write(request, Role.OPERATOR)
        async with desk.pool.connection() as conn, conn.transaction():
            became = await replay(conn, person.tenant_id, message_id)
            await record(conn, person, "delivery.replay", message_id, {"became": str(became)})
        if became is Replayed.UNKNOWN:
            raise HTTPException(HTTPStatus.NOT_FOUND, "message")
        return done(request, f"/deliveries/{message_id}", desk.renderer.words_of(request).say(SAID[became]))

    @router.post("/deliveries/replay")
    async def replay_all(request: Request) -> Response:
        person, fields = await desk.write(request, Role.OPERATOR)
        which = DeliveryFilter(
            "dead",
            fields.get("endpoint") or None,
            fields.get("case_id") or None,
            since=day_of(fields.get("since", "")),
            until=day_of(fields.get("until", "")),
        )
        count, up_to, pace = (_number(fields.get(name, "")) for name in ("count", "up_to", "per_minute"))
        if fields.get("sure") != "yes" or not 1 <= pace <= MOST_PER_MINUTE:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "sure")
        seen = DeadLetters(count, {}, None, None, up_to)
        told = {name: fields[name] for name in ("case_id", "since", "until") if fields.get(name)}
        subject = (which.endpoint or "")[:MOST_SUBJECT]
        inputs = {"count": count, "up_to": up_to, "per_minute": pace, **told}
        async with desk.decided(person, "delivery.replay_range", subject, **inputs) as conn:
            ranged = await replay_range(conn, person.tenant_id, which, seen, per_minute=pace, now_s=now_s())
        words = desk.renderer.words_of(request)
        says = words.say("{n} are sent again, {left} are left.").format(n=ranged.again, left=ranged.left)
        return done(request, "/deliveries?state=dead", says)

    @router.post("/deliveries/endpoints/{endpoint}/resume")
    async def resume(request: Request, endpoint: str) -> Response:
        person, _ = await desk.write(request, Role.OPERATOR)
        async with desk.pool.connection() as conn, conn.transaction():
            resumed = await resume_endpoint(conn, person.tenant_id, endpoint)
            await record(conn, person, "endpoint.resume", endpoint, {"resumed": resumed})
        return done(request, "/deliveries")


def day_of(text: str) -> datetime | None:
    """When a day begins, in UTC; None for what is none."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        return None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0  # noqa: PLR2004 - a bigint's digits
