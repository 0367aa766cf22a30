"""Signing in and out, another password, and what a browser remembers for its reader: language, colours, keys."""

from http import HTTPStatus
from typing import Final

from fastapi import HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from gateway.api.router import Router
from gateway.console.parts import Desk, SentAway, read_form, safe_path
from gateway.console.render import THEMES
from gateway.console.words import LANGUAGES, Words
from gateway.people.door import actor, address_of, drop_session, keep_session, session_of, visitor
from gateway.people.model import SignInRefused

A_YEAR_S: Final = 365 * 86_400
CHOICES: Final = {"language": tuple(LANGUAGES), "theme": THEMES, "keys": ("on", "off")}


def signing_in_router(desk: Desk) -> Router:
    """``/sign-in``, ``/sign-out``, ``/password`` and ``/preferences``."""
    router = Router()

    @router.get("/sign-in")
    async def show(request: Request) -> Response:
        back = safe_path(request.query_params.get("next", "/"))
        if await visitor(request) is not None:
            return RedirectResponse(back, HTTPStatus.SEE_OTHER)
        return _sign_in_page(desk, request, back)

    @router.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        if request.headers.get("sec-fetch-site") == "cross-site":
            raise HTTPException(HTTPStatus.FORBIDDEN, "sign in from careloop's own pages")
        fields = await read_form(request)
        back, name = safe_path(fields.get("next", "/")), fields.get("name", "")
        try:
            signed_in = await desk.parts.people.sign_in(name, fields.get("password", ""), address_of(request))
        except SignInRefused as refused:
            page = _sign_in_page(desk, request, back, _told(desk.renderer.words_of(request), refused), name)
            if refused.retry_after_s is not None:
                page.status_code = HTTPStatus.TOO_MANY_REQUESTS
                page.headers["Retry-After"] = f"{refused.retry_after_s:.0f}"
            return page
        answer = RedirectResponse(back, HTTPStatus.SEE_OTHER)
        keep_session(request, answer, signed_in)
        return answer

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        await read_form(request)
        await actor(request)
        session = session_of(request)
        if session is not None:
            await desk.parts.people.sign_out(session)
        answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
        drop_session(request, answer)
        return answer

    _add_password(router, desk)
    _add_preferences(router)
    return router


def _add_password(router: Router, desk: Desk) -> None:
    @router.get("/password")
    async def show(request: Request) -> Response:
        return await _password_page(desk, request, safe_path(request.query_params.get("next", "/")))

    @router.post("/password")
    async def change(request: Request) -> Response:
        fields = await read_form(request)
        person = await actor(request)
        back = safe_path(fields.get("next", "/"))
        try:
            signed_in = await desk.parts.people.change_password(
                person, fields.get("old", ""), fields.get("new", ""), address_of(request)
            )
        except SignInRefused as refused:
            return await _password_page(desk, request, back, _told(desk.renderer.words_of(request), refused))
        answer = RedirectResponse(back, HTTPStatus.SEE_OTHER)
        keep_session(request, answer, signed_in)
        return answer


def _add_preferences(router: Router) -> None:
    @router.post("/preferences")
    async def prefer(request: Request) -> Response:
        fields = await read_form(request)
        await actor(request)
        answer = RedirectResponse(safe_path(fields.get("back", "/")), HTTPStatus.SEE_OTHER)
        for name, allowed in CHOICES.items():
            if fields.get(name) in allowed:
                answer.set_cookie(f"careloop_{name}", fields[name], A_YEAR_S, samesite="lax", httponly=True)
        return answer


def _told(words: Words, refused: SignInRefused) -> str:
    match refused.reason:
        case "throttled" | "busy":
            return words.say("Too many tries. Please wait a minute.")
        case "weak_password":
            return words.say("Please choose another password: {why}.", why=words.say(refused.detail))
        case _:
            return words.say("That name and password do not go together.")


def _sign_in_page(desk: Desk, request: Request, back: str, told: str = "", name: str = "") -> Response:
    status = HTTPStatus.UNAUTHORIZED if told else HTTPStatus.OK
    provider = bool(desk.parts.people.settings.oidc.issuer)
    context = {"next": back, "told": told, "name": name, "provider": provider}
    return desk.renderer.page(request, None, "sign_in.html", context, status)


async def _password_page(desk: Desk, request: Request, back: str, told: str = "") -> Response:
    person = await visitor(request)
    if person is None:
        raise SentAway("/sign-in", request)
    status = HTTPStatus.UNPROCESSABLE_ENTITY if told else HTTPStatus.OK
    context = {"next": back, "told": told, "csrf": person.csrf or "", "must": person.must_change_password}
    return desk.renderer.page(request, None, "password.html", context, status)
