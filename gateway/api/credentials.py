"""What devices sign in with, over HTTP: which passwords are in force, another one, and none any more; for operators."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Query, Request, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict

from devices.clock import Clock, to_datetime
from devices.credentials import hash_generated, new_secret
from devices.errors import CareloopError
from devices.registry.passwords import (
    CredentialView,
    add_credentials,
    list_credentials,
    revoke_credentials,
    revoke_old_credentials,
)
from gateway.api.fields import Name
from gateway.api.paging import Cursor, Limit, Page, page_of
from gateway.api.queries import Connection, list_devices
from gateway.api.router import Router
from gateway.api.writes import GIVEN_ONCE, TAGGED, Act, Done, Write, Writing, tag_of
from gateway.people.door import Operator, Viewer, people_of
from gateway.people.model import Actor


class CredentialShown(BaseModel):
    """A password of a device, never its text: only its digest is kept."""

    credential_id: int
    scheme: str
    created_at: datetime
    revoked_at: datetime | None


class Rotation(BaseModel):
    """Whether the passwords of before go on working until they are revoked."""

    model_config = ConfigDict(extra="forbid")

    keep_old: bool = True


class DevicePassword(BaseModel):
    """A device's new password, shown this once."""

    device_id: str
    password: str


class Revoked(BaseModel):
    """How many passwords were taken away."""

    device_id: str
    revoked: int


def credentials_router(pool: AsyncConnectionPool[Connection], clock: Clock) -> Router:
    """``/devices/{device_id}/credentials``."""
    router = Router(tags=["devices"])

    @router.get("/devices/{device_id}/credentials", responses=TAGGED)
    async def credentials(  # noqa: PLR0917 - whose, who asks, and which page
        device_id: Name, who: Viewer, request: Request, response: Response, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[CredentialShown]:
        """Every password that a device had, the oldest first; the ETag, of all, goes into a change's If-Match."""
        async with pool.connection() as conn:
            found = await _find(conn, who, device_id)
        await people_of(request).note(who, "device.credentials", device_id)
        response.headers["ETag"] = _tag(found)
        shown = [CredentialShown.model_validate(asdict(each)) for each in found]
        return page_of(shown, lambda each: (each.credential_id,), cursor, limit)

    _add_changes(router, clock)
    return router


def _add_changes(router: Router, clock: Clock) -> None:
    @router.post(
        "/devices/{device_id}/credentials",
        response_model=DevicePassword,
        status_code=HTTPStatus.CREATED,
        responses=GIVEN_ONCE,
    )
    async def rotate(device_id: Name, asked: Rotation, who: Operator, write: Writing) -> Response:
        """Give a device another password; the answer holds it, this once."""

        async def work(conn: Connection) -> Done:
            password = new_secret()
            await _check(conn, who, device_id, write)
            if not asked.keep_old:
                await revoke_credentials(conn, who.tenant_id, device_id, to_datetime(clock.now_s()))
            await add_credentials(conn, who.tenant_id, [(device_id, hash_generated(password))])
            tag = _tag(await _find(conn, who, device_id))
            return Done(DevicePassword(device_id=device_id, password=password), tag, HTTPStatus.CREATED)

        act = Act("device.rotate_password", device_id, {"keeps_old": asked.keep_old})
        return await write.run(act, work, keep_answer=False)

    @router.delete("/devices/{device_id}/credentials", response_model=Revoked)
    async def revoke(
        device_id: Name,
        who: Operator,
        write: Writing,
        which: Annotated[Literal["old", "all"], Query(description="All but the newest, or every one.")],
    ) -> Response:
        """Take passwords away; where none is left the device is disconnected at once, and not let in again."""
        inputs: dict[str, object] = {"only_old": which == "old"}

        async def work(conn: Connection) -> Done:
            await _check(conn, who, device_id, write)
            take_away = revoke_old_credentials if which == "old" else revoke_credentials
            inputs["revoked"] = count = await take_away(conn, who.tenant_id, device_id, to_datetime(clock.now_s()))
            return Done(Revoked(device_id=device_id, revoked=count), _tag(await _find(conn, who, device_id)))

        return await write.run(Act("device.revoke_passwords", device_id, inputs), work)


async def _find(conn: Connection, who: Actor, device_id: str) -> list[CredentialView]:
    wanted = {"tenant_id": who.tenant_id, "device_id": device_id, "after": None, "limit": 1}
    if not await list_devices(conn, wanted):
        raise CareloopError("unknown_device", f"no device {device_id}")
    return await list_credentials(conn, who.tenant_id, device_id)


async def _check(conn: Connection, who: Actor, device_id: str, write: Write) -> None:
    """Raises CareloopError where there is no such device, or its passwords are others than the caller saw."""

    async def present() -> str:
        return _tag(await _find(conn, who, device_id))

    await _find(conn, who, device_id)
    await write.check(conn, f"credentials of {device_id}", present)


def _tag(found: Sequence[CredentialView]) -> str:
    return tag_of([(each.credential_id, each.revoked_at) for each in found])
