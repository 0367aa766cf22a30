"""Raw messages of a device: an operator has them kept for a while; nobody else sees them."""

from collections.abc import Mapping
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any, Final

from fastapi import HTTPException, Request, Response

from gateway.api.router import Router
from gateway.captures.queries import drop_messages, list_messages
from gateway.console.fleet_queries import has_device
from gateway.console.forms import seconds_of
from gateway.console.parts import Connection, Desk, done
from gateway.console.readable import readable
from gateway.people.door import at_home
from gateway.people.model import Actor, Role

MINUTE_S: Final = 60.0
SPANS: Final[Mapping[str, float]] = {"5": 5 * MINUTE_S, "15": 15 * MINUTE_S, "60": 60 * MINUTE_S}
"""For how many minutes they may be kept."""


def captures_router(desk: Desk) -> Router:
    """``POST /devices/{device_id}/capture`` and ``/devices/{device_id}/capture/stop``."""
    router = Router()

    @router.post("/devices/{device_id}/capture")
    async def begin(request: Request, device_id: str) -> Response:
        person, fields = await desk.write(request, Role.OPERATOR)
        at_home(request, person)  # whose gateway hears the devices
        seconds = seconds_of(fields, "minutes", SPANS)
        with ExitStack() as booked:  # begins when all of it is on record
            async with desk.decided(person, "device.capture", device_id, minutes=fields["minutes"]) as conn:
                if not await has_device(conn, person.tenant_id, device_id):
                    raise HTTPException(HTTPStatus.NOT_FOUND, "device")
                await drop_messages(conn, person.tenant_id, device_id)
                captures = desk.parts.captures
                booked.enter_context(captures.booked(person.tenant_id, device_id, person.signs_as(), seconds))
        return done(request, f"/devices/{device_id}")

    @router.post("/devices/{device_id}/capture/stop")
    async def stop(request: Request, device_id: str) -> Response:
        person, _ = await desk.write(request, Role.OPERATOR)
        if not await desk.parts.captures.stop(person.tenant_id, device_id):
            raise HTTPException(HTTPStatus.CONFLICT, "it is over")
        async with desk.decided(person, "device.capture_stop", device_id):
            pass
        return done(request, f"/devices/{device_id}")

    return router


async def captured(desk: Desk, conn: Connection, person: Actor, device_id: str) -> Mapping[str, Any]:
    """What a page shows of a device's raw messages: nothing to whoever is no operator; the caller notes the look."""
    if not person.role.may(Role.OPERATOR):
        return {"capture": None, "captured": []}
    found = await list_messages(conn, person.tenant_id, device_id)
    shown = [(message, readable(message.payload)) for message in found]
    return {"capture": desk.parts.captures.find(person.tenant_id, device_id), "captured": shown, "minutes": list(SPANS)}
