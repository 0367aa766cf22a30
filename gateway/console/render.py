"""Templates with everything that each of them wants at hand: words, values as they are shown, who looks, and where."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from http import HTTPStatus
from importlib.resources import files
from typing import Final
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from devices.clock import Clock
from gateway.console.settings import ConsoleSettings
from gateway.console.show import Shown
from gateway.console.words import LANGUAGES, Words, choose_language, load_words
from gateway.people.model import Actor, Role

THEMES: Final = ("auto", "light", "dark")
ASSETS: Final = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}

PAGES: Final = (
    ("/", "Inbox", "cases"),
    ("/fleet", "Fleet", "fleet"),
    ("/devices", "Devices", "devices"),
    ("/watches", "Watches", "watches"),
    ("/silences", "Silences", "silences"),
    ("/deliveries", "Deliveries", "deliveries"),
    ("/quarantine", "Quarantine", "quarantine"),
    ("/journey", "Journey", "journey"),
    ("/health", "Health", "health"),
)
"""What the navigation offers: path, name, and the key of its number."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages load; its version is in their links, so that it may be kept for ever."""

    body: bytes
    media_type: str
    version: str


def load_assets() -> Mapping[str, Asset]:
    """Style, script and icon."""
    folder = files("gateway.console").joinpath("assets")
    found: dict[str, Asset] = {}
    for name, media_type in ASSETS.items():
        body = folder.joinpath(name).read_bytes()
        found[name] = Asset(body, media_type, blake2b(body, digest_size=6).hexdigest())
    return found


class Renderer:
    """Makes pages."""

    def __init__(self, clock: Clock, assets: Mapping[str, Asset], settings: ConsoleSettings) -> None:
        self._clock = clock
        self._words = load_words()
        self._settings = settings
        self._environment = Environment(
            loader=PackageLoader("gateway.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._always: Mapping[str, object] = {
            "asset": {name: f"/assets/{name}?v={each.version}" for name, each in assets.items()},
            "languages": LANGUAGES,
            "themes": THEMES,
            "pages": PAGES,
        }

    def words_of(self, request: Request) -> Words:
        """The words of the reader's language."""
        accepted = request.headers.get("accept-language", "")
        return self._words[choose_language(request.cookies.get("careloop_language"), accepted)]

    def shown(self, request: Request) -> Shown:
        """How values are shown to this reader now."""
        return Shown(self.words_of(request), self._clock.now_s())

    def page(
        self,
        request: Request,
        person: Actor | None,
        template: str,
        context: Mapping[str, object],
        status: int = HTTPStatus.OK,
    ) -> HTMLResponse:
        """One page, as an answer."""
        shown = self.shown(request)
        path = str(context.get("at", request.url.path))  # of the page itself, where a form's answer shows it
        theme = request.cookies.get("careloop_theme", "auto")
        body = self._environment.get_template(template).render(
            {
                **self._always,
                "t": shown.words.say,
                "n": shown.words.count,
                "w": shown.words.word,
                "show": shown,
                "language": shown.words.language,
                "theme": theme if theme in THEMES else "auto",
                "keys": request.cookies.get("careloop_keys", "on"),
                "person": person,
                "may": partial(_may, person),
                "at": None,
                "path": path,
                "here": path + (f"?{request.url.query}" if request.url.query else ""),
                "query": dict(request.query_params),
                "with_query": _with_query(path, dict(request.query_params)),
                "banner": self._settings.banner,
                "has_scorecard": bool(self._settings.scorecard),
                **context,
            }
        )
        headers = {"Cache-Control": "no-store", "Content-Language": shown.words.language, "Vary": "Accept-Language"}
        return HTMLResponse(body, status, headers)


def _may(person: Actor | None, role: str) -> bool:
    return person is not None and person.role.may(Role(role))


class _with_query:  # noqa: N801 - templates call it as a function
    """The address of this page with other parameters; None takes one out."""

    def __init__(self, path: str, known: Mapping[str, str]) -> None:
        self._path = path
        self._known = known

    def __call__(self, **changed: object) -> str:
        wanted = {**self._known, **changed}
        query = urlencode({name: value for name, value in wanted.items() if value not in {None, ""}})
        return f"{self._path}?{query}" if query else self._path
