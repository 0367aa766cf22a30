"""What people tell a device to do, and what they take back again."""

import json
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import cast

from fastapi import HTTPException, Request, Response

from devices.commands.queries import cancel_command, find_command
from devices.errors import CareloopError
from devices.profiles.model import Profile
from gateway.api.router import Router
from gateway.commands.issue import Wish, issue
from gateway.console.forms import MOST_NAME, needed_text, text_of, unusable
from gateway.console.parts import Desk, done, safe_path
from gateway.people.audit import record
from gateway.people.door import at_home
from gateway.people.model import Role


def commands_router(desk: Desk) -> Router:
    """``POST /devices/{device_id}/commands`` and what takes one back."""
    router = Router()

    @router.post("/devices/{device_id}/commands")
    async def tell(request: Request, device_id: str) -> Response:
        person, fields = await desk.write(request, Role.AGENT)
        at_home(request, person)
        wish = Wish(device_id, needed_text(fields, "name", MOST_NAME), person.signs_as(), _data_of(fields))
        rules = replace(desk.parts.commands, tenant_id=person.tenant_id)
        try:
            async with desk.pool.connection() as conn, conn.transaction():
                view, _ = await issue(conn, rules, wish, desk.now_s())
                told = {"name": wish.name, "command": view.command_id}
                await record(conn, person, "device.command", device_id, told)
        except CareloopError as error:
            is_unknown = error.reason == "unknown_device"
            status = HTTPStatus.NOT_FOUND if is_unknown else HTTPStatus.CONFLICT
            raise HTTPException(status, error.detail) from error
        return done(request, safe_path(fields.get("back", f"/devices/{device_id}")))

    @router.post("/devices/{device_id}/commands/{command_id}/cancel")
    async def cancel(request: Request, device_id: str, command_id: str) -> Response:
        person, fields = await desk.write(request, Role.AGENT)
        async with desk.pool.connection() as conn, conn.transaction():
            view = await find_command(conn, person.tenant_id, command_id)
            if view is None or view.device_id != device_id:
                raise HTTPException(HTTPStatus.NOT_FOUND, "command")
            if not await cancel_command(conn, person.tenant_id, command_id, f"cancelled by {person.signs_as()}"):
                raise HTTPException(HTTPStatus.CONFLICT, "nothing is left to cancel")
            await record(conn, person, "device.cancel_command", device_id, {"command": command_id})
        return done(request, safe_path(fields.get("back", f"/devices/{device_id}")))

    return router


def offered_by(profile: Profile | None) -> Mapping[str, str] | None:
    """The commands that a product obeys, with what each does; None where any name may be tried."""
    if profile is None or profile.automatic:
        return None
    return {name: command.description for name, command in profile.commands.items()}


def _data_of(fields: Mapping[str, str]) -> Mapping[str, object]:
    text = text_of(fields, "data", 8192)
    try:
        found: object = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise unusable("data") from error
    if not isinstance(found, dict):
        raise unusable("data")
    return cast("dict[str, object]", found)
