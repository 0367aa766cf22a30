"""What a device signs in with: a new password, and taking the old ones away; for operators."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import HTTPException, Request, Response

from devices.clock import to_datetime
from devices.credentials import hash_generated, new_secret
from devices.registry.passwords import add_credentials, revoke_credentials, revoke_old_credentials
from gateway.api.router import Router
from gateway.console.fleet_queries import has_device
from gateway.console.pages.devices import show_device
from gateway.console.parts import Connection, Desk, done
from gateway.people.audit import record
from gateway.people.model import Actor, Role


def credentials_router(desk: Desk) -> Router:
    """``POST /devices/{device_id}/credentials/rotate`` and ``/revoke``."""
    router = Router()

    @router.post("/devices/{device_id}/credentials/rotate")
    async def rotate(request: Request, device_id: str) -> Response:
        person, fields = await desk.write(request, Role.OPERATOR)
        password, keeps_old = new_secret(), "keep_old" in fields
        async with desk.pool.connection() as conn, conn.transaction():
            await _must_have(conn, person, device_id)
            if not keeps_old:
                await revoke_credentials(conn, person.tenant_id, device_id, to_datetime(desk.now_s()))
            await add_credentials(conn, person.tenant_id, [(device_id, hash_generated(password))])
            await record(conn, person, "device.rotate_password", device_id, {"keeps_old": keeps_old})
        told: Mapping[str, str] = {"name": device_id, "password": password}
        return await show_device(desk, request, person, device_id, told=told)

    @router.post("/devices/{device_id}/credentials/revoke")
    async def revoke(request: Request, device_id: str) -> Response:
        person, fields = await desk.write(request, Role.OPERATOR)
        only_old = fields.get("which") == "old"
        take_away = revoke_old_credentials if only_old else revoke_credentials
        async with desk.pool.connection() as conn, conn.transaction():
            await _must_have(conn, person, device_id)
            count = await take_away(conn, person.tenant_id, device_id, to_datetime(desk.now_s()))
            await record(conn, person, "device.revoke_passwords", device_id, {"only_old": only_old, "revoked": count})
        return done(request, f"/devices/{device_id}")

    return router


async def _must_have(conn: Connection, person: Actor, device_id: str) -> None:
    if not await has_device(conn, person.tenant_id, device_id):
        raise HTTPException(HTTPStatus.NOT_FOUND, "device")
