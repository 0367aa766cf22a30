#!/usr/bin/env python3
"""Pictures of every page of a running console, in both themes and languages, for people to look at.

scripts/screenshots.py FOLDER                     of a demo that it plays first, and of a crowded house
scripts/screenshots.py FOLDER crowded             of a house with thousands of rows and very long names only
scripts/screenshots.py FOLDER URL NAME PASSWORD   of a console that runs
"""

import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

from playwright.sync_api import BrowserContext, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gateway.database.provisioned import cache_folder
from scripts.crowded_house import crowded
from scripts.provision_chromium import provision

WIDE: Final = (1280, 860)
NARROW: Final = (390, 844)
PAGES: Final = {
    "inbox": "/",
    "to-decide": "/?show=proposed",
    "nothing-found": "/?q=nothing-like-this",
    "contacts": "/contacts",
    "fleet": "/fleet",
    "devices": "/devices",
    "watches": "/watches",
    "silences": "/silences",
    "deliveries": "/deliveries",
    "quarantine": "/quarantine",
    "journey": "/journey?days=365",
    "health": "/health",
    "doctor": "/health/doctor",
    "people": "/people",
    "scorecard": "/scorecard",
    "not-there": "/nowhere",
}
FIRST: Final = {  # the first of a list: its page, and what leads there
    "case": ("/", ".row .what a"),
    "closed-case": ("/?show=closed", ".row .what a"),
    "device": ("/devices", "tbody a"),
    "owner": ("/", '.row a[href^="/owners"]'),
    "watch": ("/watches", "tbody a"),
    "delivery": ("/deliveries", "tbody a"),
    "quarantined": ("/quarantine", "tbody a"),
}
LOOKS: Final = (("light", "en", WIDE), ("dark", "en", WIDE), ("light", "it", WIDE), ("dark", "it", NARROW))


def main(folder: Path, *running: str) -> None:
    """Take them all."""
    if running[:1] != ("crowded",):
        with played() if not running else nullcontext(running) as (url, name, password):
            take_all(folder, url, name, password)
    if not running or running[0] == "crowded":
        with crowded() as (url, name, password):
            take_all(folder / "crowded", url, name, password)


@contextmanager
def played() -> Generator[tuple[str, str, str]]:
    """A demo that has been played: where its console is, and who may sign in."""
    command = [Path(sys.executable).with_name("careloop"), "demo", "--devices", "80", "--days", "21", "--serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield _opened(process)
    finally:
        process.terminate()
        process.wait(60)


def _opened(process: "subprocess.Popen[str]") -> tuple[str, str, str]:
    assert process.stdout is not None
    url = ""
    for line in process.stdout:
        if found := re.search(r"console +(http\S+)", line):
            url = found[1]
        if found := re.search(r"sign in +as (\S+) with the password (\S+)", line):
            return url, found[1], found[2]
    raise SystemExit("the demo has ended before its console was open")


def take_all(folder: Path, url: str, name: str, password: str) -> None:
    """Every page in every look."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        program = provision(cache_folder(os.environ))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for theme, language, (width, height) in LOOKS:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if theme == "dark" else "light",
                locale=language,
                timezone_id="Europe/Rome",
                base_url=url,
            )
            look = f"{theme}-{language}{'-narrow' if width < WIDE[0] else ''}"
            _sign_in(context, folder / f"sign-in-{look}.png", name, password)
            _take(context, folder, look)
            context.close()
        browser.close()


def _sign_in(context: BrowserContext, picture: Path, name: str, password: str) -> None:
    page = context.new_page()
    page.goto("/sign-in")
    page.screenshot(path=picture)
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.press("[name=password]", "Enter")
    page.wait_for_selector("aside.side")
    page.close()


def _take(context: BrowserContext, folder: Path, look: str) -> None:
    page = context.new_page()
    paths = dict(PAGES)
    for name, (where, link) in FIRST.items():
        page.goto(where)
        found = page.locator(link).first
        if found.count():
            paths[name] = str(found.get_attribute("href"))
    for name, path in paths.items():
        page.goto(path)
        page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)
    print(f"{len(paths) + 1} pictures, {look}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
