"""To the OpenID provider and back, over HTTP."""

import secrets
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import HTTPException, Query, Request
from fastapi.responses import RedirectResponse

from gateway.api.router import Router
from gateway.api.session import refused
from gateway.people.door import address_of, is_https, keep_session
from gateway.people.model import SignInRefused
from gateway.people.oidc import ATTEMPT_FOR, CALLBACK, OidcSignIn

_COOKIE: Final = "careloop-oidc"
_PATH: Final = "/v1/session/oidc"
Word = Annotated[str | None, Query(max_length=4096)]


def oidc_router(sign_in: OidcSignIn | None) -> Router:
    """``GET /session/oidc`` and its callback; 404 where no provider is configured."""
    router = Router(prefix="/session/oidc", tags=["session"])

    @router.get("", status_code=HTTPStatus.SEE_OTHER, response_class=RedirectResponse)
    async def begin(request: Request, return_to: Annotated[str, Query(max_length=2000)] = "/") -> RedirectResponse:
        """Go to the provider to sign in, and come back to `return_to`."""
        try:
            begun = await _configured(sign_in).begin(_here(request), return_to)
        except SignInRefused as error:
            raise refused(error) from error
        response = RedirectResponse(begun.url, HTTPStatus.SEE_OTHER)
        response.set_cookie(
            _COOKIE,
            begun.state,
            max_age=int(ATTEMPT_FOR.total_seconds()),
            path=_PATH,
            secure=is_https(request),
            httponly=True,
            samesite="lax",
        )
        return response

    @router.get("/callback", status_code=HTTPStatus.SEE_OTHER, response_class=RedirectResponse)
    async def callback(request: Request, state: Word = None, code: Word = None, error: Word = None) -> RedirectResponse:
        """The provider sends the browser back: its session begins."""
        found = _configured(sign_in)
        expected = request.cookies.get(_COOKIE, "")
        if not state or not secrets.compare_digest(state.encode(), expected.encode()):
            raise HTTPException(HTTPStatus.FORBIDDEN, "this sign-in was not begun in this browser; begin again")
        if error is not None or not code:
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "the provider did not sign you in")
        try:
            signed_in, return_to = await found.finish(state, code, _here(request), address_of(request))
        except SignInRefused as refusal:
            raise refused(refusal) from refusal
        response = RedirectResponse(return_to, HTTPStatus.SEE_OTHER)
        keep_session(request, response, signed_in)
        response.delete_cookie(_COOKIE, path=_PATH)
        return response

    return router


def _configured(sign_in: OidcSignIn | None) -> OidcSignIn:
    if sign_in is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no sign-in provider is configured")
    return sign_in


def _here(request: Request) -> str:
    base = str(request.app.state.public_url) or str(request.base_url).rstrip("/")
    return f"{base}{CALLBACK}"
