"""What the documents print to be copied is of use as it stands: commands have those options, settings are settings."""

import configparser
import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import click
import pytest

from devices.profiles import load_profiles
from gateway.backtest.proposal import propose_watches
from gateway.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))
FENCE = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(careloop [a-z][^`]*)`")
SECRET = "whsec_" + "c2VjcmV0" * 4  # what stands where the documents have dots
UNTRIED = re.compile(r"\[[^\]\n]*[A-Z│|…-][^\]\n]*\]|…")  # [--limit N] in a synopsis


class Block(NamedTuple):
    """A code block of a page."""

    page: str
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    """Every code block of the README and of docs/, and what stands in a sentence as a command."""
    for page in PAGES:
        text, name = page.read_text(), str(page.relative_to(ROOT))
        for found in FENCE.finditer(text):
            yield Block(name, text.count("\n", 0, found.start()) + 1, found[2], found[3], dedent(found[4]))
        for found in INLINE.finditer(FENCE.sub("", text)):
            yield Block(name, 0, "inline", "", " ".join(found[1].split()))


BLOCKS = tuple(blocks())
COMMANDS = [
    (block, line.strip().split("#", 1)[0])
    for block in BLOCKS
    if block.language in {"sh", "", "inline"}
    for line in block.text.splitlines()
    if re.match(r"\s*(\.venv/bin/)?careloop [a-z]", line)
]


def test_there_are_many_of_them() -> None:
    assert len(COMMANDS) > 200
    assert len([block for block in BLOCKS if block.line]) > 110


def command_of(words: Sequence[str]) -> click.Command:
    """The command that such words begin with the name of."""
    (entry,) = entry_points(group="careloop.commands", name=words[0])
    command: object = entry.load()
    for word in words[1:]:
        if isinstance(command, click.Group):
            command = command.commands[word]
    assert isinstance(command, click.Command)
    return command


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=[f"{block}-{n}" for n, (block, _) in enumerate(COMMANDS)])
def test_a_printed_command_has_those_options(block: Block, line: str) -> None:
    del block
    command = command_of(shlex.split(re.sub(r"[|<>│].*", "", UNTRIED.sub(" ", line)))[1:])
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    given = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", line))
    assert given - known == set()


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=str)
def test_printed_settings_are_settings(block: Block, tmp_path: Path) -> None:
    parsed = tomllib.loads(block.text)
    if not set(parsed) <= set(Settings.model_fields):  # of a profile, a helpdesk's file, a package
        return
    (tmp_path / "careloop.toml").write_text(block.text.replace("whsec_…", SECRET))
    load_settings(tmp_path / "careloop.toml", {})


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "json"], ids=str)
def test_printed_json_is_json(block: Block) -> None:
    for text in block.text.splitlines() if "ndjson" in block.title else [block.text]:
        json.loads(text)


def test_the_printed_service_runs_a_command_that_there_is() -> None:
    (unit,) = (block.text for block in BLOCKS if block.language == "ini")
    service = configparser.ConfigParser(interpolation=None)
    service.read_string(unit)
    assert service["Service"]["KillMode"] == "mixed"  # a signal for the gateway alone
    program, *rest = shlex.split(service["Service"]["ExecStart"])
    assert Path(program).name == "careloop"
    assert command_of(rest).name == "run"


def test_the_printed_watches_are_of_a_product_that_comes_along(tmp_path: Path) -> None:
    (printed,) = (block for block in BLOCKS if block.page == "docs/detection.md" and block.language == "toml")
    (tmp_path / "hotter.toml").write_text(printed.text)
    assert len(propose_watches(load_profiles(()), tmp_path / "hotter.toml").says) == 2


def test_every_target_of_make_that_is_named_is_one() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(), re.MULTILINE)}
    assert {"setup", "demo", "test"} <= named
    assert named - targets == set()
