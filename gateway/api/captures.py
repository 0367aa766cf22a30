"""Raw messages of one device, kept because an operator wants to look at them, as the API does it."""

import asyncio
import base64
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import HTTPException, Request, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from devices.clock import to_datetime
from gateway.api.fields import Name
from gateway.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from gateway.api.queries import Connection, list_devices
from gateway.api.router import Router
from gateway.api.writes import Act, Done, Writing
from gateway.captures.captures import Capture, Captures
from gateway.captures.queries import RawMessage, drop_messages, list_messages
from gateway.people.door import Operator, at_home, people_of

LONGEST_MIN: Final = 60
_MINUTE_S: Final = 60.0


class CaptureAsked(BaseModel):
    """For how long."""

    model_config = ConfigDict(extra="forbid")

    minutes: Annotated[int, Field(ge=1, le=LONGEST_MIN, description="For so many minutes.")] = 5


class CaptureShown(BaseModel):
    """A capture that goes on."""

    device_id: str
    by: Annotated[str, Field(description="Who asked for it.")]
    until: Annotated[datetime, Field(description="When it is over, by the gateway's clock.")]


class CapturedMessage(BaseModel):
    """A message as it came, and what became of it."""

    number: Annotated[int, Field(description="Its number in the capture, from 0 on, in the order of arrival.")]
    received_at: datetime
    topic: str
    payload: Annotated[str, Field(description="Its first 2,000 bytes, in Base64.")]
    payload_bytes: Annotated[int, Field(description="How many bytes it has in all.")]
    stored: Annotated[int, Field(description="How many of its readings were stored.")]
    duplicates: Annotated[int, Field(description="How many of its readings were known already.")]
    quarantined: Annotated[int, Field(description="How many of its parts were refused.")]
    reason: str | None


def captures_router(pool: AsyncConnectionPool[Connection], captures: Captures) -> Router:  # noqa: C901 - its calls
    """``/devices/{device_id}/capture`` and ``/devices/{device_id}/captured``."""
    router = Router(tags=["devices"])
    to_the_end = ToTheEnd()

    @router.get("/devices/{device_id}/capture")
    async def capture(device_id: Name, who: Operator, request: Request) -> CaptureShown:
        """The capture that goes on; 404 where none does."""
        at_home(request, who)
        found = captures.find(who.tenant_id, device_id)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no messages of {device_id} are being kept")
        return _shown(found)

    @router.post("/devices/{device_id}/capture", response_model=CaptureShown, status_code=HTTPStatus.CREATED)
    async def begin_capture(
        device_id: Name, asked: CaptureAsked, who: Operator, request: Request, write: Writing
    ) -> Response:
        """Keep the newest hundred messages of a device from now on; those of the capture before are let go."""
        at_home(request, who)
        booked = ExitStack()  # begins when all of it is on record

        async def work(conn: Connection) -> Done:
            await _know(conn, who.tenant_id, device_id)
            await drop_messages(conn, who.tenant_id, device_id)
            begun = captures.booked(who.tenant_id, device_id, who.signs_as(), asked.minutes * _MINUTE_S)
            return Done(_shown(booked.enter_context(begun)), status=HTTPStatus.CREATED)

        async def begin() -> Response:
            with booked:
                return await write.run(Act("device.capture", device_id, {"minutes": asked.minutes}), work)

        return await to_the_end(begin())

    @router.delete("/devices/{device_id}/capture", status_code=HTTPStatus.NO_CONTENT)
    async def end_capture(device_id: Name, who: Operator, request: Request, write: Writing) -> Response:
        """End it before its time; what was kept stays for a day."""
        at_home(request, who)

        ended: list[Capture] = []  # none where it is the answer of before that is given again

        async def work(_: Connection) -> Done:
            found = captures.find(who.tenant_id, device_id)
            if found is None:
                raise HTTPException(HTTPStatus.NOT_FOUND, f"no messages of {device_id} are being kept")
            ended.append(found)
            return Done(None, status=HTTPStatus.NO_CONTENT)

        async def end() -> Response:
            answer = await write.run(Act("device.capture_stop", device_id), work)
            for capture in ended:  # whose last messages want a connection, of which this one has been given back
                await captures.end(capture)
            return answer

        return await to_the_end(end())

    @router.get("/devices/{device_id}/captured")
    async def captured(
        device_id: Name, who: Operator, request: Request, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[CapturedMessage]:
        """What was kept of a device, newest first, a capture that is over included for a day; each look is recorded."""
        at_home(request, who)
        after = decode_cursor(cursor, int)
        async with pool.connection() as conn:
            await _know(conn, who.tenant_id, device_id)
            found = await list_messages(conn, who.tenant_id, device_id)
        await people_of(request).note(who, "device.raw", device_id)
        rest = [each for each in found if after is None or each.number < int(after[0])]
        end = encode_cursor(rest[limit - 1].number) if len(rest) > limit else None
        return Page(items=[_message(each) for each in rest[:limit]], next=end)

    return router


class ToTheEnd:
    """Does what was begun although its client goes away: what is on record as done is not left undone."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Response]] = set()

    async def __call__(self, work: Coroutine[None, None, Response]) -> Response:
        """Do it, and give its answer to whoever is still there."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Response]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # which the client would have been told, where there is none any more


async def _know(conn: Connection, tenant_id: str, device_id: str) -> None:
    wanted = {"tenant_id": tenant_id, "device_id": device_id, "after": None, "limit": 1}
    if not await list_devices(conn, wanted):
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no device {device_id}")


def _shown(capture: Capture) -> CaptureShown:
    return CaptureShown(device_id=capture.device_id, by=capture.by, until=to_datetime(capture.until_s))


def _message(message: RawMessage) -> CapturedMessage:
    payload = base64.b64encode(message.payload).decode()
    return CapturedMessage.model_validate({**asdict(message), "payload": payload})
