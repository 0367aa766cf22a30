"""What a process loads before it does what it is asked: no more than that takes."""

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import click
import pytest
from click.testing import CliRunner

from devices.installed import registered
from gateway.cli.main import careloop
from gateway.cli.summaries import SUMMARIES


def loaded(script: str) -> set[str]:
    """The modules of careloop that a process has imported when a script is done."""
    told = f"import sys\n{script}\nprint('loaded:', *sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", told], capture_output=True, text=True, check=True)
    names = done.stdout.rpartition("loaded:")[2].split()
    return {name for name in names if name.startswith(("gateway.", "crm_sync.", "simulators."))}


def test_help_is_told_without_loading_a_command() -> None:
    asked = "from gateway.cli.main import careloop\ncareloop(['--help'], standalone_mode=False)"
    assert loaded(asked) == {"gateway.cli", "gateway.cli.main", "gateway.cli.summaries", "gateway.garbage"}


def test_help_says_of_each_command_what_the_command_says_itself() -> None:
    commands = {entry.name: entry.load() for entry in registered("careloop.commands")}
    assert {name: each.get_short_help_str(62) for name, each in commands.items()} == dict(SUMMARIES)


@click.command(short_help="Count the kettles.")
def kettles() -> None:
    """A command of somebody else's."""


def test_a_command_of_another_package_is_asked_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs(group: str) -> EntryPoints:
        return EntryPoints([EntryPoint("kettles", f"{__name__}:kettles", group)])

    monkeypatch.setattr("gateway.cli.main.registered", theirs)
    told = CliRunner().invoke(careloop, ["--help"]).output
    assert "kettles  Count the kettles." in told


def test_a_gateway_that_knows_no_helpdesk_loads_no_adapter_of_one() -> None:
    names = loaded(
        "import gateway.cli.run\n"
        "from crm_sync.delivery.channels import open_channels\n"
        "open_channels([])"
    )  # fmt: skip
    assert "gateway.compose" in names
    assert not names & {"crm_sync.adapters.rest.spec", "crm_sync.adapters.rest.adapter", "crm_sync.adapters.zendesk"}


LOOKS = """
from importlib import metadata
look, looks = metadata.entry_points, []
def count(**of):
    if not of or "careloop" in of["group"]:  # libraries look for their own
        looks.append(of)
    return look(**of)
metadata.entry_points = count
from devices.payloads import load_codecs
from devices.profiles import load_profiles
print(len(load_codecs()), len(load_profiles()), len(looks))
"""


def test_installed_packages_are_looked_through_once() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", LOOKS], capture_output=True, text=True, check=True)
    codecs, profiles, looks = map(int, done.stdout.split())
    assert codecs > 1
    assert profiles > 1
    assert looks == 1
