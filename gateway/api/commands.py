"""Commands to devices, as the API takes and shows them."""

from dataclasses import asdict, replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import HTTPException, Request, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from devices.clock import Clock
from devices.commands.model import CommandState, CommandView
from devices.commands.queries import cancel_command, find_command, list_commands
from gateway.api.fields import Behalf, Name
from gateway.api.paging import Cursor, Limit, Page, cut, decode_cursor, encode_cursor, moment_of
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.api.writes import TAGGED, Act, Done, Writing, tag_of
from gateway.commands.issue import Rules, Wish, issue
from gateway.people.door import Agent, Viewer, at_home, people_of
from gateway.store.times import us_of


class CommandRequest(BaseModel):
    """What a device is to do; with a `command_id` of the caller's own, asking twice asks once."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    data: dict[str, object] = {}
    expires_s: Annotated[float | None, Field(gt=0, le=366 * 86400)] = None
    command_id: Annotated[str, Field(max_length=200)] = ""
    by: Behalf = None


class DeviceCommand(BaseModel):
    """A command, and how far it has come."""

    command_id: str
    device_id: str
    name: str
    data: dict[str, object]
    issued_by: str
    state: CommandState
    detail: str
    issued_at: datetime
    expires_at: datetime
    tries: int
    sent_at: datetime | None
    delivered_at: datetime | None
    settled_at: datetime | None
    reached_at: datetime | None


def commands_router(pool: AsyncConnectionPool[Connection], rules: Rules, clock: Clock) -> Router:
    """``/devices/{device_id}/commands`` and what lies below it."""
    router = Router(tags=["commands"])

    @router.post(
        "/devices/{device_id}/commands",
        response_model=DeviceCommand,
        status_code=HTTPStatus.CREATED,
        responses={HTTPStatus.OK: {"model": DeviceCommand, "description": "It was told so before, under this id."}},
    )
    async def command(device_id: Name, asked: CommandRequest, who: Agent, request: Request, write: Writing) -> Response:
        """Tell a device to do something; 200 where it was told so before under this id."""
        at_home(request, who)
        wish = Wish(device_id, asked.name, who.signs_as(asked.by), asked.data, asked.expires_s, asked.command_id)
        told: dict[str, object] = {"name": asked.name}

        async def work(conn: Connection) -> Done:
            view, is_new = await issue(conn, replace(rules, tenant_id=who.tenant_id), wish, clock.now_s())
            told["command"] = view.command_id
            return Done(_shown(view), status=HTTPStatus.CREATED if is_new else HTTPStatus.OK)

        return await write.run(Act("device.command", device_id, told), work)

    @router.get("/devices/{device_id}/commands")
    async def commands(
        device_id: Name, who: Viewer, request: Request, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[DeviceCommand]:
        """What a device was told, newest first."""
        after = decode_cursor(cursor, int, str)
        before = (moment_of(int(after[0])), str(after[1])) if after else None
        async with pool.connection() as conn:
            found, last = cut(await list_commands(conn, who.tenant_id, device_id, limit + 1, before), limit)
        await people_of(request).note(who, "device.commands", device_id)
        end = None if last is None else encode_cursor(us_of(last.issued_at), last.command_id)
        return Page(items=[_shown(view) for view in found], next=end)

    @router.get("/devices/{device_id}/commands/{command_id}", responses=TAGGED)
    async def one(
        device_id: Name, command_id: Name, who: Viewer, request: Request, response: Response
    ) -> DeviceCommand:
        """One command; its ETag goes into the If-Match of its end."""
        async with pool.connection() as conn:
            view = await find_command(conn, who.tenant_id, command_id)
        if view is None or view.device_id != device_id:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no command {command_id}")
        await people_of(request).note(who, "device.commands", device_id)
        response.headers["ETag"] = _tag(view)
        return _shown(view)

    @router.post("/devices/{device_id}/commands/{command_id}/cancel", response_model=DeviceCommand)
    async def cancel(device_id: Name, command_id: Name, who: Agent, write: Writing) -> Response:
        """Send it no more; a device that has it already may still obey."""

        async def work(conn: Connection) -> Done:
            view = await find_command(conn, who.tenant_id, command_id)
            if view is None or view.device_id != device_id:
                raise HTTPException(HTTPStatus.NOT_FOUND, f"no command {command_id}")
            write.check_tag(_tag(view))
            if not await cancel_command(conn, who.tenant_id, command_id, f"cancelled by {who.signs_as()}"):
                raise HTTPException(HTTPStatus.CONFLICT, f"{command_id} is {view.state}: nothing is left to cancel")
            settled = await find_command(conn, who.tenant_id, command_id)
            assert settled is not None  # it was there a moment ago
            return Done(_shown(settled), _tag(settled))

        return await write.run(Act("device.cancel_command", device_id, {"command": command_id}), work)

    return router


def _tag(view: CommandView) -> str:
    return tag_of(view.command_id, view.state, view.tries, view.sent_at, view.delivered_at, view.settled_at)


def _shown(view: CommandView) -> DeviceCommand:
    return DeviceCommand.model_validate(asdict(view))
