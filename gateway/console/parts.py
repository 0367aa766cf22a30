"""What the console looks at, and how its pages answer."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

from fastapi import HTTPException, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from crm_sync.settings import CrmSettings
from crm_sync.trust.rules import TrustRules
from crm_sync.wording.catalogue import Wordings
from devices.clock import Clock
from devices.errors import CareloopError
from devices.profiles.model import Profile
from gateway.api.health import ReadinessProbe
from gateway.backtest.jobs import Backtests, Ground
from gateway.captures.captures import Captures
from gateway.commands.issue import Rules
from gateway.console.live import Pulse
from gateway.console.products import Products
from gateway.console.queries import LIVE
from gateway.console.render import Renderer
from gateway.console.settings import ConsoleSettings
from gateway.doctor.finding import Finding
from gateway.people.audit import record
from gateway.people.door import actor, keep_pace, visitor
from gateway.people.model import Actor, Role
from gateway.people.people import People
from gateway.pipeline.pipeline import Pipeline
from gateway.store.tallies import read_tallies

Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]

MOST_BODY_BYTES: Final = 64 * 1024
MOST_STREAMS: Final = 1000
MOST_OF_ONE: Final = 20
"""Pages that one person has in sight at once; a page that nobody sees gives its stream back."""


@dataclass(frozen=True, slots=True)
class ConsoleParts:
    """What the console looks at."""

    pool: Pool
    clock: Clock
    pipeline: Pipeline
    crm: CrmSettings
    trust: TrustRules
    profiles: Mapping[str, Profile]
    probe: ReadinessProbe
    is_connected: Callable[[str], bool]
    database: str
    people: People
    settings: ConsoleSettings
    examine: Callable[[], Awaitable[Sequence[Finding]]]
    public_url: str
    commands: Rules
    backtests: Backtests
    history: Ground
    captures: Captures


@dataclass(frozen=True, slots=True)
class Desk:
    """What a page has at hand."""

    parts: ConsoleParts
    renderer: Renderer
    pulse: Pulse
    wordings: Wordings
    streams: Counter[str] = field(default_factory=Counter[str])  # that are open, by person

    @property
    def pool(self) -> Pool:
        """Connections."""
        return self.parts.pool

    def now_s(self) -> float:
        """The gateway's clock."""
        return self.parts.clock.now_s()

    def products(self, request: Request) -> Products:
        """Product models in the reader's language."""
        language = self.renderer.words_of(request).language
        return Products(self.parts.profiles, self.wordings.of(language), language)

    async def enter(self, request: Request, least: Role = Role.VIEWER) -> Actor:
        """Whoever has asked. Raises SentAway where they must sign in first, HTTPException where they may not."""
        found = await visitor(request)
        if found is None:
            raise SentAway("/sign-in", request)
        keep_pace(request, found)
        if found.must_change_password:
            raise SentAway("/password", request)
        if not found.role.may(least):
            raise HTTPException(HTTPStatus.FORBIDDEN, f"this needs the role {least}")
        return found

    async def write(self, request: Request, least: Role) -> tuple[Actor, dict[str, str]]:
        """Whoever wants to change something, and the form that they sent. Raises HTTPException, SentAway."""
        await self.enter(request, least)
        fields = await read_form(request)
        return await actor(request), fields

    def stream(self, person: Actor, events: AsyncGenerator[bytes]) -> Response:
        """Server-sent events to a page. Raises HTTPException 429 where this person, or all, have too many open."""
        name = f"{person.tenant_id}/{person}"
        if self.streams.total() >= MOST_STREAMS or self.streams[name] >= MOST_OF_ONE:
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, "streams", {"Retry-After": "30"})
        return StreamingResponse(
            self._counted(name, events),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _counted(self, name: str, events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        self.streams[name] += 1
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
        finally:
            self.streams[name] -= 1
            if not self.streams[name]:
                del self.streams[name]

    @asynccontextmanager
    async def decided(self, person: Actor, what: str, subject: str, **inputs: object) -> AsyncGenerator[Connection]:
        """A transaction in which somebody decides something, with its record in the audit trail."""
        try:
            async with self.pool.connection() as conn, conn.transaction():
                yield conn
                await record(conn, person, what, subject, inputs)
        except CareloopError as error:
            status = HTTPStatus.NOT_FOUND if error.reason == "unknown_case" else HTTPStatus.CONFLICT
            raise HTTPException(status, error.detail) from error

    def refuse(self, request: Request, person: Actor, text: str, back: str = "") -> Response:
        """What was asked for cannot be done, and why."""
        words = self.renderer.words_of(request)
        context: dict[str, object] = {"title": words.say("That did not work"), "text": text, "back": back, "badges": {}}
        return self.renderer.page(request, person, "trouble.html", context, HTTPStatus.UNPROCESSABLE_ENTITY)

    async def page(self, request: Request, person: Actor, template: str, **context: object) -> Response:
        """A page, with the numbers that the navigation shows."""
        async with self.pool.connection() as conn:
            tallies = await read_tallies(conn, person.tenant_id)
        live = sum(tallies.cases.get(str(state), 0) for state in LIVE)
        badges = {"cases": live, "deliveries": tallies.outbox.get("dead", 0)}
        return self.renderer.page(
            request, person, template, {"badges": badges, "named": self.products(request), **context}
        )


class Refused(HTTPException):
    """What was asked for cannot be done, and why: a text that the console has in every language."""

    def __init__(self, says: str) -> None:
        super().__init__(HTTPStatus.CONFLICT, says)


class SentAway(Exception):
    """Nobody is signed in, or not wholly: they go to `page`, and come back afterwards."""

    def __init__(self, page: str, request: Request) -> None:
        super().__init__(page)
        query = f"?{request.url.query}" if request.url.query else ""
        back = f"{request.url.path}{query}" if request.method == "GET" else "/"
        self.to = f"{page}?next={quote(back)}"


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form. Raises HTTPException where it is too long."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MOST_BODY_BYTES:
        raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the form is too long")
    form = await request.form(max_files=0, max_fields=100)
    return {name: value for name, value in form.items() if isinstance(value, str)}


def done(request: Request, back: str, says: str = "") -> Response:
    """The answer to a form: back to a page, or only a word where the page stays."""
    if request.headers.get("x-careloop-live"):
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"X-Careloop-Says": quote(says)} if says else None)
    return RedirectResponse(back, HTTPStatus.SEE_OTHER)


def safe_path(text: str) -> str:
    """A path of this console, whatever somebody has written into a form."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return "/"
    is_ours = not parts.scheme and not parts.netloc and text.startswith("/") and not text.startswith(("//", "/\\"))
    return text if is_ours else "/"
