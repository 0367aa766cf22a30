"""People: who may sign in and what they may do; for admins."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response

from devices.errors import CareloopError
from gateway.console.parts import Desk, done
from gateway.people.administer import Office
from gateway.people.audit import AuditFilter, list_audit, record
from gateway.people.model import Actor, Role
from gateway.people.queries import list_people

MOST_ACTS: Final = 100


def people_router(desk: Desk) -> APIRouter:
    """``/people`` and what an admin does there."""
    router = APIRouter()

    async def shown(request: Request, person: Actor, told: Mapping[str, str] | None = None) -> Response:
        async with desk.pool.connection() as conn:
            people = await list_people(conn, person.tenant_id)
            acts = await list_audit(conn, person.tenant_id, AuditFilter(), limit=MOST_ACTS)
        roles = [str(each) for each in Role]
        return await desk.page(request, person, "people.html", people=people, acts=acts, roles=roles, told=told)

    @router.get("/people")
    async def people(request: Request) -> Response:
        return await shown(request, await desk.enter(request, Role.ADMIN))

    @router.post("/people")
    async def add(request: Request) -> Response:
        person, fields = await desk.write(request, Role.ADMIN)
        async with _office(desk, person) as office:
            password = await office.add_person(fields.get("name", ""), _role(fields))
        return await shown(request, person, {"name": fields["name"].strip(), "password": password})

    @router.post("/people/{name}/role")
    async def role(request: Request, name: str) -> Response:
        person, fields = await desk.write(request, Role.ADMIN)
        async with _office(desk, person) as office:
            await office.set_role(name, _role(fields))
        return done(request, "/people")

    @router.post("/people/{name}/password")
    async def password(request: Request, name: str) -> Response:
        person, _ = await desk.write(request, Role.ADMIN)
        async with _office(desk, person) as office:
            password = await office.reset_password(name)
        return await shown(request, person, {"name": name, "password": password})

    @router.post("/people/{name}/{what}")
    async def let(request: Request, name: str, what: str) -> Response:
        person, _ = await desk.write(request, Role.ADMIN)
        async with _office(desk, person) as office:
            match what:
                case "disable":
                    await office.disable(name)
                case "enable":
                    await office.enable(name)
                case _:
                    raise HTTPException(HTTPStatus.NOT_FOUND, what)
        return done(request, "/people")

    return router


def _role(fields: Mapping[str, str]) -> Role:
    try:
        return Role(fields.get("role", ""))
    except ValueError as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "role") from error


@asynccontextmanager
async def _office(desk: Desk, person: Actor) -> AsyncGenerator[Office]:
    try:
        async with desk.pool.connection() as conn, conn.transaction():

            async def keep(what: str, subject: str, inputs: dict[str, object]) -> None:
                await record(conn, person, what, subject, inputs)

            yield Office(conn, person.tenant_id, datetime.now(UTC), keep)
    except CareloopError as error:
        raise HTTPException(HTTPStatus.CONFLICT, error.detail) from error
