"""People and tokens: who may sign in or call, and what they may do; for admins."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final

from fastapi import HTTPException, Request, Response

from devices.errors import CareloopError
from gateway.api.router import Router
from gateway.console.forms import unusable
from gateway.console.parts import Desk, Refused, done
from gateway.people.administer import Office
from gateway.people.audit import AuditFilter, list_audit, record
from gateway.people.model import Actor, Role
from gateway.people.queries import list_people, list_tokens

MOST_ACTS: Final = 50
SIZE: Final = 50
MOST_PAGES: Final = 10_000
MOST_DIGITS: Final = 9
TERMS: Final[Mapping[str, timedelta | None]] = {
    "30": timedelta(days=30),
    "90": timedelta(days=90),
    "365": timedelta(days=365),
    "": None,
}
"""How long a token may be good for, in days; nothing is for ever."""

REFUSALS: Final = {
    "unusable_name": "A name has 1 to 100 letters, digits, and . @ + _ - or spaces between.",
    "name_taken": "That name is taken.",
    "last_admin": "The last admin stays: make somebody else one first.",
}
Told = Mapping[str, str]
"""What was just made, and is shown this once."""


def people_router(desk: Desk) -> Router:
    """``/people``, ``/tokens`` and what an admin does there."""
    router = Router()

    @router.get("/people")
    async def people(request: Request) -> Response:
        return await _show(desk, request, await desk.enter(request, Role.ADMIN))

    @router.post("/people")
    async def add(request: Request) -> Response:
        person, fields = await desk.write(request, Role.ADMIN)
        async with _office(desk, person) as office:
            password = await office.add_person(fields.get("name", ""), _role(fields))
        return await _show(desk, request, person, {"name": fields["name"].strip(), "password": password})

    _add_changes(router, desk)
    _add_tokens(router, desk)
    return router


def _add_changes(router: Router, desk: Desk) -> None:
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
        return await _show(desk, request, person, {"name": name, "password": password})

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


def _add_tokens(router: Router, desk: Desk) -> None:
    @router.post("/tokens")
    async def create(request: Request) -> Response:
        person, fields = await desk.write(request, Role.ADMIN)
        if fields.get("days", "") not in TERMS:
            raise unusable("days")
        term = TERMS[fields.get("days", "")]
        expires_at = None if term is None else datetime.now(UTC) + term
        async with _office(desk, person) as office:
            token = await office.create_token(fields.get("name", ""), _role(fields), expires_at)
        return await _show(desk, request, person, {"name": fields["name"].strip(), "token": token})

    @router.post("/tokens/{name}/revoke")
    async def revoke(request: Request, name: str) -> Response:
        person, _ = await desk.write(request, Role.ADMIN)
        async with _office(desk, person) as office:
            await office.revoke_token(name)
        return done(request, "/people")


async def _show(desk: Desk, request: Request, person: Actor, told: Told | None = None) -> Response:
    asked, words = request.query_params.get("page", ""), request.query_params.get("q", "").strip().lower()
    page = min(int(asked), MOST_PAGES) if asked.isdecimal() and len(asked) < MOST_DIGITS and int(asked) else 1
    async with desk.pool.connection() as conn:
        people = await list_people(conn, person.tenant_id)
        tokens = await list_tokens(conn, person.tenant_id)
        acts = await list_audit(conn, person.tenant_id, AuditFilter(), limit=MOST_ACTS)
    people = [each for each in people if words in each.name.lower()]
    return await desk.page(
        request,
        person,
        "people.html",
        people=people[(page - 1) * SIZE : page * SIZE],
        total=len(people),
        page=page,
        size=SIZE,
        tokens=[each for each in reversed(tokens) if each.revoked_at is None],
        revoked=sum(each.revoked_at is not None for each in tokens),
        acts=acts,
        roles=[str(each) for each in Role],
        terms=list(TERMS),
        now=datetime.now(UTC),
        told=told,
        **({} if told is None else {"at": "/people"}),
    )


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
        if error.reason in REFUSALS:
            raise Refused(REFUSALS[error.reason]) from error
        raise HTTPException(HTTPStatus.CONFLICT, error.detail) from error
