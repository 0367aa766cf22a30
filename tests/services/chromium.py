"""A real browser: Debian's Chromium through Playwright, which sees every request, console line and error of a page."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, expect, sync_playwright

from gateway.database.provisioned import cache_folder
from scripts.provision import ProvisionError
from scripts.provision_chromium import provision

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
WAIT_MS = 240_000.0
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
SERIOUS = {"moderate", "serious", "critical"}
LEGIBLE_PX = 9


@dataclass
class Window:
    """One person's browser window, and all that went wrong in it."""

    context: BrowserContext
    page: Page
    base_url: str
    asked: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])

    def go(self, path: str) -> None:
        """Open a page of the console."""
        self.page.goto(f"{self.base_url}{path}")

    def sign_in(self, name: str, password: str) -> None:
        """Sign in, and be where one wanted to be."""
        self.go("/")
        self.page.fill("[name=name]", name)
        self.page.fill("[name=password]", password)
        self.page.press("[name=password]", "Enter")
        self.page.wait_for_url(f"{self.base_url}/")

    def arrive(self, heading: str) -> None:
        """Be on the page of this heading, its script at work: it would not hear a key that was pressed before."""
        expect(self.page.locator("h1")).to_have_text(heading)
        self.page.wait_for_load_state()

    def wait_live(self) -> None:
        """Until the page is told of changes."""
        self.page.wait_for_selector("html[data-live=on]")

    def strangers(self) -> list[str]:
        """Requests that went elsewhere."""
        return [url for url in self.asked if urlsplit(url).netloc != urlsplit(self.base_url).netloc]

    def inaccessible(self) -> list[str]:
        """What axe finds serious on the present page."""
        self.context.set_offline(offline=False)
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{urlsplit(self.page.url).path} {each['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
            for each in found["violations"]
            if each["impact"] in SERIOUS
            for node in each["nodes"]
        ]

    def too_wide(self) -> list[str]:
        """The present page, where it has to be scrolled sideways."""
        page = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return [f"{urlsplit(self.page.url).path} is {page} px wider than its screen"] if page > 0 else []

    def ill_drawn(self) -> list[str]:
        """Charts of the present page that cannot be read, or that show anything but their newest end."""
        found = self.page.evaluate(
            """least => [...document.querySelectorAll('.chart')].filter(each => each.querySelector('text') && (
                Math.min(...[...each.querySelectorAll('text')].map(t => t.getBoundingClientRect().height)) < least
                || each.matches('.lines') && each.scrollWidth - each.clientWidth - each.scrollLeft > 2
               )).map(each => each.ariaLabel)""",
            LEGIBLE_PX,
        )
        return [f"{urlsplit(self.page.url).path} chart {each}" for each in found]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser, gone before the next file's tests: while it is there an event loop runs, and no other one can."""
    try:
        program = provision(cache_folder(os.environ))
    except ProvisionError as error:
        pytest.fail(f"Chromium could not be provisioned: {error}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


def open_window(browser: Browser, base_url: str, **options: object) -> Window:
    """A window with a fresh profile."""
    context = browser.new_context(**{"locale": "en-GB", "timezone_id": "Europe/Rome", **options})  # pyright: ignore[reportArgumentType]
    context.set_default_timeout(WAIT_MS)
    window = Window(context, context.new_page(), base_url)

    def on_request(request: Request) -> None:
        window.asked.append(request.url)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            window.faults.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def on_error(error: Error) -> None:
        window.faults.append(str(error))

    context.on("request", on_request)
    context.on("console", on_console)
    window.page.on("pageerror", on_error)
    return window
