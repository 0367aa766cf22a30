"""What the documents say of commands, files and settings is there, and what is there they say."""

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("devices/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def _commands(command: click.Command, path: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _commands(inner, f"{path} {name}")
    else:
        yield path


def test_every_command_is_in_the_documents() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    words = set(re.findall(r"[a-z][a-z-]*", text))
    for entry in entry_points(group="careloop.commands"):
        command: object = entry.load()
        assert isinstance(command, click.Command)
        for path in _commands(command, f"careloop {entry.name}"):
            head = " ".join(path.split()[:2])
            assert head in text, path
            assert set(path.split()) <= words, path


def test_every_command_is_in_the_table_of_the_page_for_those_who_run_it() -> None:
    table = (ROOT / "docs" / "operations.md").read_text().split("## Commands", 1)[1].split("\n## ", 1)[0]
    for entry in entry_points(group="careloop.commands"):
        command: object = entry.load()
        assert isinstance(command, click.Command)
        rows = "\n".join(row for row in table.splitlines() if row.startswith(f"| `careloop {entry.name}"))
        assert rows, entry.name
        for path in _commands(command, entry.name):
            assert set(path.split()) <= set(re.findall(r"[a-z]+", rows)), path


def test_every_dependency_says_why_it_is_there() -> None:
    said = (ROOT / "docs" / "dependencies.md").read_text()
    wanted = re.findall(r'^  "([a-z0-9-]+)', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert len(wanted) > 10
    assert [name for name in wanted if name not in said] == []


def test_help_lists_commands_in_whole_sentences() -> None:
    for entry in entry_points(group="careloop.commands"):
        command: object = entry.load()
        assert isinstance(command, click.Command)
        groups = [command] if isinstance(command, click.Group) else []
        for shown in [command, *(inner for group in groups for inner in group.commands.values())]:
            assert not shown.get_short_help_str(62).endswith("..."), f"{entry.name} {shown.name}"


def test_each_decision_has_a_number_of_its_own() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert page.read_text().startswith(f"# {int(page.name[:4])}. "), page.name
