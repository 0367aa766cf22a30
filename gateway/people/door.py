"""Who a request is from: dependencies for routes, over the People that the composition root put into the application.

    @router.post("/cases/{case_id}/approve")
    async def approve(case_id: str, actor: Agent) -> ...:   # 401 without a sign-in, 403 below an agent

A session's cookie needs the session's CSRF token on every write, in the header ``X-CSRF-Token`` or in a form's field
``csrf``. A bearer token needs none, for no browser sends it by itself.
"""

import math
import secrets
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from gateway.people.model import Actor, Role, SignedIn
from gateway.people.people import People

COOKIE: Final = "careloop-session"
SECURE_COOKIE: Final = f"__Host-{COOKIE}"
CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "csrf"
_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


def install_people(app: FastAPI, people: People, public_url: str = "") -> None:
    """Let the dependencies of this module ask these people."""
    app.state.people = people
    app.state.public_url = public_url


def people_of(request: Request) -> People:
    """The people of the application that serves a request."""
    people = request.app.state.people
    assert isinstance(people, People)
    return people


async def visitor(request: Request) -> Actor | None:
    """Who a request is from, if anybody; their CSRF token is not asked for, so this is for looking only."""
    known = getattr(request.state, "actor", None)
    if known is None:
        known = await _find(request)
        request.state.actor = known
    return known


async def actor(request: Request) -> Actor:
    """Who a request is from. Raises HTTPException 401, 403 or 429."""
    found = await visitor(request)
    if found is None:
        raise HTTPException(
            HTTPStatus.UNAUTHORIZED,
            "sign in, or send a valid bearer token",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if getattr(request.state, "is_let_in", False):
        return found
    keep_pace(request, found)
    if found.csrf is not None and request.method not in _HARMLESS:
        await _check_csrf(request, found.csrf)
    request.state.is_let_in = True
    return found


def keep_pace(request: Request, found: Actor) -> None:
    """Count a request once against what somebody may ask for. Raises HTTPException 429."""
    if getattr(request.state, "is_counted", False):
        return
    wait_s = people_of(request).pace(found)
    if wait_s:
        headers = {"Retry-After": str(math.ceil(wait_s))}
        raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, "you ask faster than you may", headers=headers)
    request.state.is_counted = True


async def still(request: Request, found: Actor) -> bool:
    """Whether somebody who listens for long may still do so: signed in, with no less of a role."""
    now = await _find(request)
    return now is not None and now.tenant_id == found.tenant_id and now.role.may(found.role)


class AtLeast(SecurityBase):
    """A dependency: who a request is from, who may do what this role may. Raises HTTPException 401, 403 or 429.

    FastAPI tells of it in the document of the API under the role's name, from which `gateway.api.openapi` reads it.
    """

    def __init__(self, least: Role) -> None:
        self.least = least
        self.scheme_name = str(least)
        self.model = HTTPBearer()

    async def __call__(self, request: Request) -> Actor:
        """Who it is."""
        found = await actor(request)
        if found.must_change_password:
            raise HTTPException(HTTPStatus.FORBIDDEN, "change the one-time password first")
        if not found.role.may(self.least):
            raise HTTPException(HTTPStatus.FORBIDDEN, f"this needs the role {self.least}; yours is {found.role}")
        return found


async def may_call(request: Request) -> Actor:
    """The least that a route asks for, whatever else it asks for itself: a viewer's look, an agent's act."""
    return await AtLeast(Role.VIEWER if request.method in _HARMLESS else Role.AGENT)(request)


Viewer = Annotated[Actor, Depends(AtLeast(Role.VIEWER))]
Agent = Annotated[Actor, Depends(AtLeast(Role.AGENT))]
Operator = Annotated[Actor, Depends(AtLeast(Role.OPERATOR))]
Admin = Annotated[Actor, Depends(AtLeast(Role.ADMIN))]


def at_home(request: Request, found: Actor) -> None:
    """Let only the gateway's own tenant see what concerns the whole process. Raises HTTPException 403."""
    if found.tenant_id != people_of(request).tenant_id:
        raise HTTPException(HTTPStatus.FORBIDDEN, "this is for the tenant that the gateway runs for")


def keep_session(request: Request, response: Response, signed_in: SignedIn) -> None:
    """Give a browser its session."""
    secure = is_https(request)
    response.set_cookie(
        SECURE_COOKIE if secure else COOKIE,
        signed_in.token,
        max_age=int(people_of(request).settings.session_max),
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def drop_session(request: Request, response: Response) -> None:
    """Take a browser's session away."""
    secure = is_https(request)
    response.delete_cookie(SECURE_COOKIE if secure else COOKIE, path="/", secure=secure, httponly=True, samesite="lax")


def session_of(request: Request) -> str | None:
    """The session that a browser sends along."""
    return request.cookies.get(SECURE_COOKIE if is_https(request) else COOKIE)


def is_https(request: Request) -> bool:
    """Whether the browser speaks TLS, to us or to the proxy before us."""
    return request.url.scheme == "https" or str(request.app.state.public_url).startswith("https://")


def address_of(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client is not None else "nowhere"


async def _find(request: Request) -> Actor | None:
    people = people_of(request)
    authorization = request.headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        return await people.bearer(token.strip()) if scheme.lower() == "bearer" and token.strip() else None
    session = session_of(request)
    return None if session is None else await people.who(session)


async def _check_csrf(request: Request, expected: str) -> None:
    given = request.headers.get(CSRF_HEADER)
    if given is None and request.headers.get("content-type", "").startswith(_FORMS):
        field = (await request.form()).get(CSRF_FIELD)
        given = field if isinstance(field, str) else None
    foreign = request.headers.get("sec-fetch-site") == "cross-site"
    if foreign or given is None or not secrets.compare_digest(given.encode(errors="replace"), expected.encode()):
        raise HTTPException(HTTPStatus.FORBIDDEN, "the request does not carry this session's CSRF token")
