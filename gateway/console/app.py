"""The console's application, put together from its pages."""

from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from psycopg import DataError, OperationalError
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException

from crm_sync.wording.catalogue import load_wordings
from gateway.api.problems import problem
from gateway.console.live import Pulse
from gateway.console.pages.backtests import backtests_router
from gateway.console.pages.captures import captures_router
from gateway.console.pages.case import case_router
from gateway.console.pages.commands import commands_router
from gateway.console.pages.contacts import contacts_router
from gateway.console.pages.credentials import credentials_router
from gateway.console.pages.deliveries import deliveries_router
from gateway.console.pages.devices import devices_router
from gateway.console.pages.fleet import fleet_router
from gateway.console.pages.health import health_router
from gateway.console.pages.inbox import inbox_router
from gateway.console.pages.journey import journey_router
from gateway.console.pages.owner import owner_router
from gateway.console.pages.people import people_router
from gateway.console.pages.playbooks import playbooks_router
from gateway.console.pages.quarantine import quarantine_router
from gateway.console.pages.quiet import quiet_router
from gateway.console.pages.scorecard import scorecard_router
from gateway.console.pages.signing_in import signing_in_router
from gateway.console.pages.watches import watches_router
from gateway.console.parts import ConsoleParts, Desk, Refused, SentAway
from gateway.console.render import Asset, Renderer, load_assets
from gateway.people.door import install_people, session_of, visitor

ROUTERS: Final = (
    signing_in_router,
    inbox_router,
    contacts_router,
    case_router,
    quiet_router,
    devices_router,
    commands_router,
    credentials_router,
    captures_router,
    owner_router,
    fleet_router,
    deliveries_router,
    quarantine_router,
    watches_router,
    playbooks_router,
    backtests_router,
    health_router,
    journey_router,
    people_router,
    scorecard_router,
)

FOR_EVER: Final = "public, max-age=31536000, immutable"


def build_console(parts: ConsoleParts) -> FastAPI:
    """The console over the parts of a running gateway; it answers everything that no other application does."""
    assets = load_assets()
    wordings = load_wordings(parts.crm.language, parts.crm.wording_folder)
    desk = Desk(parts, Renderer(parts.clock, assets, parts.settings), Pulse(parts.pool), wordings)
    app = FastAPI(title="careloop", docs_url=None, redoc_url=None, openapi_url=None)
    install_people(app, parts.people, parts.public_url)
    for make in ROUTERS:
        make(desk).install(app)
    _add_assets(app, assets)
    _add_live(app, desk)
    _add_troubles(app, desk)
    return app


def _add_assets(app: FastAPI, assets: Mapping[str, Asset]) -> None:
    @app.get("/assets/{name}")
    async def asset(name: str, v: str = "") -> Response:
        found = assets.get(name)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "asset")
        cached = FOR_EVER if v == found.version else "no-cache"
        return Response(found.body, media_type=found.media_type, headers={"Cache-Control": cached})

    @app.get("/favicon.ico")
    async def icon() -> Response:
        found = assets["icon.svg"]
        return Response(found.body, media_type=found.media_type, headers={"Cache-Control": "public, max-age=86400"})


def _add_live(app: FastAPI, desk: Desk) -> None:
    @app.get("/live")
    async def live(request: Request, topics: str = "") -> Response:
        person = await desk.enter(request)
        session = session_of(request)
        wanted = frozenset(topics.split(","))

        async def events() -> AsyncGenerator[bytes]:
            yield b"retry: 2000\n\n"
            async for changed in desk.pulse.listen(person.tenant_id):
                if session is None or await desk.parts.people.who(session) is None:
                    return  # signed out, or shut out, meanwhile
                if not changed or changed & wanted:
                    yield b"event: changed\ndata: \n\n"

        return desk.stream(person, events())


def _add_troubles(app: FastAPI, desk: Desk) -> None:
    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        says = error.detail if isinstance(error, Refused) else None
        answer = await _trouble(desk, request, error.status_code, str(error.detail), says)
        answer.headers.update(error.headers or {})
        return answer

    async def on_sent_away(request: Request, error: Exception) -> Response:
        assert isinstance(error, SentAway)
        if request.url.path == "/live":
            return Response(status_code=HTTPStatus.UNAUTHORIZED)
        return RedirectResponse(error.to, HTTPStatus.SEE_OTHER)

    async def on_bad_request(request: Request, _error: Exception) -> Response:
        return await _trouble(desk, request, HTTPStatus.UNPROCESSABLE_ENTITY, "")

    async def on_database_down(request: Request, _error: Exception) -> Response:
        answer = await _trouble(desk, request, HTTPStatus.SERVICE_UNAVAILABLE, "")
        answer.headers["Retry-After"] = "5"
        return answer

    async def on_trouble_of_ours(request: Request, _error: Exception) -> Response:
        return await _trouble(desk, request, HTTPStatus.INTERNAL_SERVER_ERROR, "")

    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_trouble_of_ours)  # it is raised again afterwards, and logged
    app.add_exception_handler(SentAway, on_sent_away)
    app.add_exception_handler(RequestValidationError, on_bad_request)
    app.add_exception_handler(DataError, on_bad_request)  # a NUL, or a number that no column holds
    app.add_exception_handler(OperationalError, on_database_down)
    app.add_exception_handler(PoolTimeout, on_database_down)


TROUBLES: Final = {
    HTTPStatus.FORBIDDEN: "You may not do that here. Somebody with another role can.",
    HTTPStatus.NOT_FOUND: "There is nothing at this address, or there is no more.",
    HTTPStatus.CONFLICT: "Somebody was faster: this has changed meanwhile. Look at it again.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "This address says something that cannot be understood.",
    HTTPStatus.TOO_MANY_REQUESTS: "That was too much at once. Wait a moment, or close some pages.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something went wrong here; the gateway's log says what.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database does not answer. Nothing is lost; this page will be back by itself.",
}


async def _trouble(desk: Desk, request: Request, status: int, detail: str, says: str | None = None) -> Response:
    """What went wrong, as a page, in our words for the status or in those that were thrown.

    As a problem document where a program asked for what the API does not have.
    """
    if request.url.path.startswith("/v1"):
        return problem(status, detail)
    words = desk.renderer.words_of(request)
    known = says or TROUBLES.get(HTTPStatus(status))
    text = words.say(known) if known else HTTPStatus(status).phrase
    if request.headers.get("x-careloop-live") and request.method == "POST":
        return Response(status_code=status, headers={"X-Careloop-Says": quote(text)})
    person = None
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        person = await visitor(request)
    context: dict[str, object] = {"title": words.say("That did not work"), "text": text, "badges": {}}
    return desk.renderer.page(request, person, "trouble.html", context, status)
