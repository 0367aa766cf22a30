#!/usr/bin/env python3
"""Pictures of every page of a running console, in both themes and languages, for people to look at.

scripts/screenshots.py URL NAME FOLDER    asks for the password on standard input
"""

import os
import sys
from pathlib import Path
from typing import Final

from playwright.sync_api import BrowserContext, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gateway.database.provisioned import cache_folder
from scripts.provision_chromium import provision

WIDE: Final = (1280, 860)
NARROW: Final = (390, 844)
PAGES: Final = {
    "inbox": "/",
    "to-decide": "/?show=proposed",
    "nothing-found": "/?q=nothing-like-this",
    "fleet": "/fleet",
    "devices": "/devices",
    "watches": "/watches",
    "deliveries": "/deliveries",
    "quarantine": "/quarantine",
    "journey": "/journey?days=365",
    "health": "/health",
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


def main(url: str, name: str, folder: Path) -> None:
    """Take them all."""
    password = sys.stdin.readline().rstrip("\n")
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
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
