"""Signing in and out, over HTTP."""

from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.router import Router
from gateway.people.door import actor, address_of, drop_session, keep_session, people_of, session_of
from gateway.people.model import Actor, Role, SignInRefused

STATUS_OF = {
    "throttled": HTTPStatus.TOO_MANY_REQUESTS,
    "busy": HTTPStatus.TOO_MANY_REQUESTS,
    "provider": HTTPStatus.BAD_GATEWAY,
    "weak_password": HTTPStatus.UNPROCESSABLE_ENTITY,
}


class SignIn(BaseModel):
    """A name and a password."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    password: Annotated[str, Field(min_length=1, max_length=1000)]


class NewPassword(BaseModel):
    """The present password, and the one that is to follow it."""

    model_config = ConfigDict(extra="forbid")

    old: Annotated[str, Field(min_length=1, max_length=1000)]
    new: Annotated[str, Field(min_length=1, max_length=1000)]


class Session(BaseModel):
    """Who is signed in; writes send `csrf` along as ``X-CSRF-Token``."""

    name: str
    role: Role
    kind: str
    tenant_id: str
    csrf: str | None
    must_change_password: bool


def session_router() -> Router:
    """``/session``: anybody may try to sign in."""
    router = Router(prefix="/session", tags=["session"])

    @router.post("", status_code=HTTPStatus.CREATED)
    async def sign_in(asked: SignIn, request: Request, response: Response) -> Session:
        """Sign in: the answer sets the session's cookie."""
        if request.headers.get("sec-fetch-site") == "cross-site":
            raise HTTPException(HTTPStatus.FORBIDDEN, "sign in from careloop's own pages")
        try:
            signed_in = await people_of(request).sign_in(asked.name, asked.password, address_of(request))
        except SignInRefused as error:
            raise refused(error) from error
        keep_session(request, response, signed_in)
        return _shown(signed_in.actor)

    @router.get("")
    async def session(found: Annotated[Actor, Depends(actor)]) -> Session:
        """Who is signed in."""
        return _shown(found)

    @router.delete("", status_code=HTTPStatus.NO_CONTENT)
    async def sign_out(request: Request, response: Response, _found: Annotated[Actor, Depends(actor)]) -> None:
        """Sign out."""
        token = session_of(request)
        if token is not None:
            await people_of(request).sign_out(token)
        drop_session(request, response)

    @router.post("/password")
    async def password(
        asked: NewPassword, request: Request, response: Response, found: Annotated[Actor, Depends(actor)]
    ) -> Session:
        """Change one's password; every session of before ends."""
        if found.kind != "person":
            raise HTTPException(HTTPStatus.FORBIDDEN, "a token has no password")
        try:
            signed_in = await people_of(request).change_password(found, asked.old, asked.new, address_of(request))
        except SignInRefused as error:
            raise refused(error) from error
        keep_session(request, response, signed_in)
        return _shown(signed_in.actor)

    return router


def refused(error: SignInRefused) -> HTTPException:
    """A refusal as HTTP says it."""
    headers = None if error.retry_after_s is None else {"Retry-After": str(int(error.retry_after_s))}
    return HTTPException(STATUS_OF.get(error.reason, HTTPStatus.UNAUTHORIZED), error.detail, headers)


def _shown(found: Actor) -> Session:
    return Session(
        name=found.name,
        role=found.role,
        kind=found.kind,
        tenant_id=found.tenant_id,
        csrf=found.csrf,
        must_change_password=found.must_change_password,
    )
