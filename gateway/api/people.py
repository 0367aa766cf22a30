"""People, tokens and the audit trail, for admins."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Query, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict

from devices.errors import CareloopError
from gateway.api.fields import Instant, Name
from gateway.api.paging import Cursor, Limit, Page, cut, decode_cursor, encode_cursor, page_of
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.api.writes import GIVEN_ONCE, TAGGED, Act, Done, Write, Writing, tag_of
from gateway.people.administer import Office
from gateway.people.audit import AuditFilter, list_audit
from gateway.people.door import Admin
from gateway.people.model import Actor, Role
from gateway.people.queries import list_people, list_tokens


class PersonShown(BaseModel):
    """Somebody who may sign in."""

    person_id: str
    name: str
    role: Role
    signs_in: Literal["password", "one-time password", "provider", "not yet"]
    created_at: datetime
    disabled_at: datetime | None


class PersonAsked(BaseModel):
    """Somebody who is to sign in."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    role: Role


class PersonChange(BaseModel):
    """Another role, or shut out or let in again."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    disabled: bool | None = None


class OneTime(BaseModel):
    """A password that lets somebody choose their own, shown this once."""

    name: str
    one_time_password: str


class TokenShown(BaseModel):
    """A token, never its text."""

    token_id: int
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class TokenAsked(BaseModel):
    """A token that is to be made."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    role: Role
    expires_at: Instant | None = None


class NewToken(BaseModel):
    """A token's text, shown this once."""

    name: str
    token: str


class AuditShown(BaseModel):
    """Who did what, or looked at what."""

    audit_id: int
    at: datetime
    who: str
    what: str
    subject: str
    inputs: dict[str, object]


async def _administer(write: Write, who: Actor, act: Act, work: Callable[[Office], Awaitable[Done]]) -> Response:
    """Do something at the office; the write itself keeps the record of it."""

    async def already_kept(_what: str, _subject: str, _inputs: dict[str, object]) -> None:
        return None

    async def do(conn: Connection) -> Done:
        return await work(Office(conn, who.tenant_id, datetime.now(UTC), already_kept))

    return await write.run(act, do, keep_answer=False)


def people_router(pool: AsyncConnectionPool[Connection]) -> Router:
    """``/people``, ``/tokens`` and ``/audit``."""
    router = Router(tags=["people"])
    _add_people(router, pool)
    _add_tokens(router, pool)

    @router.get("/audit")
    async def audit(  # noqa: PLR0917 - each is a query parameter
        who: Admin,
        by: Annotated[Name | None, Query(description="Only acts of this one: person:ada, token:erp.")] = None,
        what: Annotated[Name | None, Query(description="Only such acts: case.approve.")] = None,
        subject: Name | None = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[AuditShown]:
        """Who did what, and who looked at an owner's data; the newest first."""
        before = decode_cursor(cursor, int)
        async with pool.connection() as conn:
            found = await list_audit(
                conn,
                who.tenant_id,
                AuditFilter(by, what, subject),
                before=int(before[0]) if before else None,
                limit=limit + 1,
            )
        found, last = cut(found, limit)
        end = None if last is None else encode_cursor(last.audit_id)
        return Page(items=[AuditShown.model_validate(asdict(each)) for each in found], next=end)

    return router


def _add_people(router: Router, pool: AsyncConnectionPool[Connection]) -> None:
    @router.get("/people")
    async def people(who: Admin, cursor: Cursor = None, limit: Limit = 100) -> Page[PersonShown]:
        """Everybody, by name."""
        async with pool.connection() as conn:
            found = [PersonShown.model_validate(asdict(each)) for each in await list_people(conn, who.tenant_id)]
        return page_of(found, lambda each: (each.name.lower(), each.person_id), cursor, limit)

    @router.get("/people/{name}", responses=TAGGED)
    async def person(name: Name, who: Admin, response: Response) -> PersonShown:
        """Somebody; the ETag goes into the If-Match of what is changed about them."""
        async with pool.connection() as conn:
            found = await _person(conn, who, name)
        response.headers["ETag"] = _tag(found)
        return found

    _add_changes(router)


def _add_changes(router: Router) -> None:
    @router.post("/people", response_model=OneTime, status_code=HTTPStatus.CREATED, responses=GIVEN_ONCE)
    async def add(asked: PersonAsked, who: Admin, write: Writing) -> Response:
        """Add somebody; the answer holds their one-time password, this once."""

        async def work(office: Office) -> Done:
            password = await office.add_person(asked.name, asked.role)
            return Done(OneTime(name=asked.name, one_time_password=password), status=HTTPStatus.CREATED)

        return await _administer(write, who, Act("person.add", asked.name, {"role": str(asked.role)}), work)

    @router.patch("/people/{name}", status_code=HTTPStatus.NO_CONTENT, response_class=Response)
    async def change(name: Name, asked: PersonChange, who: Admin, write: Writing) -> Response:
        """Let somebody do more or less, shut them out, or let them in again."""

        async def work(office: Office) -> Done:
            await _check_person(office.conn, who, name, write)
            if asked.role is not None:
                await office.set_role(name, asked.role)
            if asked.disabled is not None:
                await (office.disable(name) if asked.disabled else office.enable(name))
            return Done(None, _tag(await _person(office.conn, who, name)), HTTPStatus.NO_CONTENT)

        inputs = {"role": asked.role, "disabled": asked.disabled}
        return await _administer(write, who, Act("person.change", name, inputs), work)

    @router.post("/people/{name}/password", response_model=OneTime, responses=GIVEN_ONCE)
    async def reset(name: Name, who: Admin, write: Writing) -> Response:
        """Give somebody a one-time password, shown this once, and end their sessions."""

        async def work(office: Office) -> Done:
            await _check_person(office.conn, who, name, write)
            return Done(OneTime(name=name, one_time_password=await office.reset_password(name)))

        return await _administer(write, who, Act("person.reset_password", name), work)


def _add_tokens(router: Router, pool: AsyncConnectionPool[Connection]) -> None:
    @router.get("/tokens")
    async def tokens(who: Admin, cursor: Cursor = None, limit: Limit = 100) -> Page[TokenShown]:
        """Every token that there was, the oldest first."""
        async with pool.connection() as conn:
            found = [TokenShown.model_validate(asdict(each)) for each in await list_tokens(conn, who.tenant_id)]
        return page_of(found, lambda each: (each.token_id,), cursor, limit)

    @router.get("/tokens/{name}", responses=TAGGED)
    async def token(name: Name, who: Admin, response: Response) -> TokenShown:
        """The live token of a name; the ETag goes into the If-Match of its end."""
        async with pool.connection() as conn:
            found = await _token(conn, who, name)
        response.headers["ETag"] = _tag(found)
        return found

    @router.post("/tokens", response_model=NewToken, status_code=HTTPStatus.CREATED, responses=GIVEN_ONCE)
    async def create(asked: TokenAsked, who: Admin, write: Writing) -> Response:
        """Make a token; the answer holds its text, this once."""

        async def work(office: Office) -> Done:
            token = await office.create_token(asked.name, asked.role, asked.expires_at)
            return Done(NewToken(name=asked.name, token=token), status=HTTPStatus.CREATED)

        return await _administer(write, who, Act("token.create", asked.name, {"role": str(asked.role)}), work)

    @router.delete("/tokens/{name}", status_code=HTTPStatus.NO_CONTENT, response_class=Response)
    async def revoke(name: Name, who: Admin, write: Writing) -> Response:
        """Take a token back at once."""

        async def work(office: Office) -> Done:
            write.check_tag(_tag(await _token(office.conn, who, name)))
            await office.revoke_token(name)
            return Done(None, status=HTTPStatus.NO_CONTENT)

        return await _administer(write, who, Act("token.revoke", name), work)


async def _person(conn: Connection, who: Actor, name: str) -> PersonShown:
    people = await list_people(conn, who.tenant_id)
    found = next((each for each in people if each.name.lower() == name.lower()), None)
    if found is None:
        raise CareloopError("unknown_person", f"there is nobody of the name {name}")
    return PersonShown.model_validate(asdict(found))


async def _check_person(conn: Connection, who: Actor, name: str, write: Write) -> None:
    async def present() -> str:
        return _tag(await _person(conn, who, name))

    await write.check(conn, f"person {name.lower()}", present)


async def _token(conn: Connection, who: Actor, name: str) -> TokenShown:
    tokens = await list_tokens(conn, who.tenant_id)
    found = next((each for each in tokens if each.name == name and each.revoked_at is None), None)
    if found is None:
        raise CareloopError("unknown_token", f"there is no live token of the name {name}")
    return TokenShown.model_validate(asdict(found))


def _tag(shown: PersonShown | TokenShown) -> str:
    return tag_of(shown.model_dump(mode="json"))
