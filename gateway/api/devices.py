"""Devices and their readings, as the API shows them."""

import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, TypeAdapter

from gateway.api.device_habits import Born, DeviceHabits, find_habits
from gateway.api.device_queries import StoredReading, Stretch, find_held, list_readings, summarise_device
from gateway.api.fields import Instant, Name
from gateway.api.paging import Cursor, Limit, Page, cut, decode_cursor, encode_cursor, moment_of
from gateway.api.queries import Connection, Row, list_devices, tenant_of
from gateway.api.router import Router
from gateway.order.queries import order_of
from gateway.people.door import Viewer, at_home, people_of, still
from gateway.people.model import Actor
from gateway.pipeline.taps import PacketFate, Taps
from gateway.store.times import us_of


class Device(BaseModel):
    """A device of the registry."""

    device_id: str
    model: str | None
    region: str | None
    source: str
    registered_at: datetime
    firmware: str | None
    asset_id: str | None
    owner_ref: str | None


class DeviceOrder(BaseModel):
    """What a device's messages say of gaps and of its clock."""

    missing: int  # messages that never reached us
    restarts: int  # how often its counter started over
    is_numbered: bool  # whether it numbers its messages at all
    clock: Literal["unknown", "none", "right", "ahead", "behind"]
    offset_s: float | None  # of its clock; positive is ahead
    is_sure: bool
    moved_at: datetime | None  # when its clock was last set
    moved_by_s: float | None
    says: str
    rejudged_at: datetime | None  # when late readings were last judged in their place, and what came of it
    rejudged: Literal["same", "corrected", "unsure"] | None


class DeviceDetail(Device):
    """A device, and what the gateway holds of it."""

    order: DeviceOrder | None  # None until something is known
    habits: DeviceHabits | None  # None before its first reading

    connected: bool
    stored: int
    first_ts: datetime | None
    last_ts: datetime | None
    quarantined: int


class Reading(BaseModel):
    """One stored reading; `metrics` is left out when only the time was asked for."""

    ts: datetime
    received_at: datetime | None = None
    seq: int | None = None
    metrics: dict[str, object] | None = None


class _ReadingsPage(msgspec.Struct):
    """The same as a page of `Reading`, made to be written fast."""

    items: list[StoredReading]
    next: str | None


ASK_AGAIN_S: Final = 15.0
"""How often whoever watches a device is asked who they are, between its packets."""

_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_FIRST = datetime(1, 1, 2, tzinfo=UTC)
_ALWAYS = datetime(9999, 12, 31, tzinfo=UTC)


def devices_router(
    pool: AsyncConnectionPool[Connection],
    taps: Taps,
    is_connected: Callable[[str], bool],
    prior_of: Callable[[str], int],
) -> Router:
    """``/devices`` and what lies below it."""
    router = Router(tags=["devices"])

    async def find(who: Actor, device_id: str) -> Row:
        async with pool.connection() as conn:
            wanted = {"tenant_id": who.tenant_id, "device_id": device_id, "after": None, "limit": 1}
            rows = await list_devices(conn, wanted)
        if not rows:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no device {device_id}")
        return rows[0]

    @router.get("/devices")
    async def devices(  # noqa: PLR0917 - each is a query parameter
        who: Viewer,
        request: Request,
        model: Name | None = None,
        region: Name | None = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[Device]:
        """Registered devices, by id."""
        after = decode_cursor(cursor, str) or [None]
        async with pool.connection() as conn:
            wanted = {"tenant_id": who.tenant_id, "device_id": None, "after": after[0], "limit": limit + 1}
            wanted |= {"model": model, "region": region}
            rows, last = cut(await list_devices(conn, wanted), limit)
        await people_of(request).note(who, "device.list", "")
        end = None if last is None else encode_cursor(last["device_id"])
        return Page(items=[Device.model_validate(row) for row in rows], next=end)

    @router.get("/devices/{device_id}")
    async def device(device_id: Name, who: Viewer, request: Request) -> DeviceDetail:
        """One device, and what the gateway holds of it."""
        found = await find(who, device_id)
        await people_of(request).note(who, "device.read", device_id, {"owner": found["owner_ref"]})
        async with pool.connection() as conn:
            summary = await summarise_device(conn, await find_held(conn, device_id), who.tenant_id, device_id)
            order = (await order_of(conn, who.tenant_id, [device_id])).get(device_id)
            born = Born(who.tenant_id, device_id, found["model"], prior_of(device_id))
            habits = await find_habits(conn, born, summary.known_since, summary.last_ts)
        return DeviceDetail.model_validate(
            {**found, **summary._asdict(), "order": order, "habits": habits, "connected": is_connected(device_id)}
        )

    @router.get("/devices/{device_id}/readings", response_model=Page[Reading])
    async def readings(  # noqa: PLR0917 - each is a query parameter
        device_id: Name,
        who: Viewer,
        request: Request,
        fields: Annotated[Literal["all", "ts"], Query(description="`ts` leaves out all but the times.")] = "all",
        since: Annotated[Instant | None, Query(alias="from", description="At or after this device time.")] = None,
        until: Annotated[Instant | None, Query(alias="to", description="Before this device time.")] = None,
        cursor: Cursor = None,
        limit: Annotated[int, Query(ge=1, le=20_000)] = 1000,
    ) -> Response:
        """Stored readings of a device, oldest first."""
        found = await find(who, device_id)
        await people_of(request).note(who, "device.readings", device_id, {"owner": found["owner_ref"]})
        after = decode_cursor(cursor, int)
        start = (
            moment_of(int(after[0])) if after else max(since, _FIRST) - timedelta(microseconds=1) if since else _NEVER
        )
        asked = Stretch(device_id, start, until or _ALWAYS, limit + 1)
        async with pool.connection() as conn:
            rows = await list_readings(conn, await find_held(conn, device_id), asked, only_ts=fields == "ts")
        end = encode_cursor(us_of(rows[limit - 1].ts)) if len(rows) > limit else None
        body = msgspec.json.encode(_ReadingsPage(rows[:limit], end))
        return Response(body, media_type="application/json")  # thousands of rows: written once, not checked twice

    _add_tail(router, pool, taps)
    return router


_LINES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "One object a line.",
        "content": {"application/x-ndjson": {"schema": TypeAdapter(PacketFate).json_schema()}},
    }
}


def _add_tail(router: Router, pool: AsyncConnectionPool[Connection], taps: Taps) -> None:
    @router.get("/devices/{device_id}/tail", response_class=StreamingResponse, responses=_LINES)
    async def tail(device_id: Name, who: Viewer, request: Request) -> StreamingResponse:
        """What becomes of each of the device's packets, a JSON object a line, for as long as the caller listens.

        A device that is not registered may be watched by people of the gateway's own tenant: that is how one finds
        out why it is not.
        """
        async with pool.connection() as conn:
            owner = await tenant_of(conn, device_id)
        if owner is None:
            at_home(request, who)
        elif owner != who.tenant_id:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no device {device_id}")
        await people_of(request).note(who, "device.tail", device_id)

        async def lines() -> AsyncGenerator[bytes]:
            asked_s = time.monotonic()
            async for fate in taps.watch(device_id):
                if time.monotonic() - asked_s >= ASK_AGAIN_S:
                    if not await still(request, who):
                        return
                    asked_s = time.monotonic()
                yield msgspec.json.encode(fate) + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")
