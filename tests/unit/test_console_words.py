"""The console's words: everything that pages say has Italian words, and they keep what is to be filled in."""

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

from crm_sync.explain import OF_THE_BUDGET
from crm_sync.explain import WORDS as REFUSALS
from crm_sync.model import Resolution
from crm_sync.playbooks.model import Why
from crm_sync.policy.model import Gate, Reason
from devices.errors import QuarantineReason
from devices.profiles.model import ActionKind, Severity, WatchMode
from gateway.console.app import TROUBLES
from gateway.console.gates import ALLOWED
from gateway.console.pages.deliveries import SAID
from gateway.console.pages.inbox import TABS
from gateway.console.pages.people import REFUSALS as REFUSALS_OF_PEOPLE
from gateway.console.render import PAGES
from gateway.console.words import choose_language, load_words
from gateway.doors.subscribe.renewal import NOT_TAKEN
from gateway.people.model import Role
from gateway.pipeline.troubles import WORDS as TROUBLES_OF_THE_DATABASE
from simulators.fleet.faults import FaultKind

CONSOLE = Path(__file__).resolve().parents[2] / "gateway" / "console"
WORDS_OF = load_words()
HOW_PARTS_ARE = (
    "open",
    "not reachable for devices",
    NOT_TAKEN,
    "stores and judges",
    "makes cases and delivers",
    "has room",
)
SAYS = {"t": 1, "n": 2}  # how many of the first arguments are texts


def said_by_templates() -> Iterator[str]:
    environment = Environment(autoescape=True)
    for path in sorted((CONSOLE / "templates").glob("*.html")):
        tree = environment.parse(path.read_text())
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name in SAYS:
                for argument in call.args[: SAYS[call.node.name]]:
                    if isinstance(argument, nodes.Const):
                        yield str(argument.value)


def said_by_code() -> Iterator[str]:
    for path in sorted(CONSOLE.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in {"say", "count"}
            ):
                texts = call.args[: 2 if call.func.attr == "count" else 1]
                yield from (
                    text.value for text in texts if isinstance(text, ast.Constant) and isinstance(text.value, str)
                )


def closed_words() -> Iterator[str]:
    """Words that come as codes, of whatever room."""
    rooms = (ActionKind, FaultKind, Gate, QuarantineReason, Reason, Resolution, Why)
    for kind in (Severity, Role, *rooms):
        yield from (str(each).replace("_", " ") for each in kind)
    yield from (f"mode {mode}" for mode in WatchMode)
    yield from WORDS_OF["en"].catalogue
    yield from (name for name, _ in TABS.values())
    yield from TROUBLES.values()
    yield from SAID.values()
    yield from (name for _, name, _ in PAGES)
    yield from (words for _, words in TROUBLES_OF_THE_DATABASE)
    yield from HOW_PARTS_ARE
    yield from REFUSALS.values()
    yield from OF_THE_BUDGET.values()
    yield from REFUSALS_OF_PEOPLE.values()
    yield from ALLOWED.values()


def wanted() -> set[str]:
    return {text for text in {*said_by_templates(), *said_by_code(), *closed_words()} if text.strip()}


def test_all_that_pages_say_has_italian_words() -> None:
    assert sorted(wanted() - set(WORDS_OF["it"].catalogue)) == []


@pytest.mark.parametrize("language", ["en", "it"])
def test_words_keep_what_is_to_be_filled_in(language: str) -> None:
    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    changed = {key for key, text in WORDS_OF[language].catalogue.items() if fields(key) != fields(text)}
    assert changed == set()


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "it-IT,it;q=0.9,en;q=0.8", "it"),
        (None, "de;q=1.0, en;q=0.4, it;q=0.5", "it"),
        (None, "de", "en"),
        (None, "it;q=nonsense, en;q=0.1", "en"),
        ("en", "it", "en"),
        ("klingon", "it", "it"),
    ],
)
def test_the_language_is_the_chosen_one_else_the_browsers(chosen: str | None, accepted: str, language: str) -> None:
    assert choose_language(chosen, accepted) == language


def test_numbers_are_written_as_each_language_does() -> None:
    assert (WORDS_OF["en"].number(12345.5, 1), WORDS_OF["it"].number(12345.5, 1)) == ("12,345.5", "12.345,5")


def test_no_page_asks_for_anything_from_elsewhere() -> None:
    """No address, no inline script, no inline style: the content policy would refuse them, and there may be no net."""
    files = [*(CONSOLE / "templates").glob("*.html"), *(CONSOLE / "assets").glob("*.[cj]s*")]
    found = {
        path.name: bad.group()
        for path in files
        if (bad := re.search(r"https?://(?!www\.w3\.org)|<script>|<style|style=|\son\w+=", path.read_text()))
    }
    assert found == {}
