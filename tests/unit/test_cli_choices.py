"""What commands offer: each option says what it is for; of a choice what is shown is what is typed."""

from collections.abc import Iterator
from enum import Enum

import click
import pytest
from click.testing import CliRunner

from gateway.cli.main import careloop

Place = tuple[str, click.Command]


def commands() -> Iterator[Place]:
    """All commands, with how they are called."""
    yield from _commands_of(careloop, click.Context(careloop, info_name="careloop"))


def _commands_of(command: click.Command, context: click.Context) -> Iterator[Place]:
    yield context.command_path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands_of(found, click.Context(found, context, name))


COMMANDS = list(commands())
CHOICES = [
    pytest.param(path, command, each, each.type, id=f"{path} {each.name}")
    for path, command in COMMANDS
    for each in command.params
    if isinstance(each.type, click.Choice)
]


def test_every_option_says_what_it_is_for() -> None:
    options = [(path, each) for path, command in COMMANDS for each in command.params if isinstance(each, click.Option)]
    assert [(path, each.name) for path, each in options if not each.help and not each.hidden] == []
    assert [path for path, command in COMMANDS[1:] if command.get_short_help_str(62).endswith("...")] == []


@pytest.mark.parametrize(("path", "command", "parameter", "choice"), CHOICES)
def test_what_help_shows_is_what_is_typed(
    path: str, command: click.Command, parameter: click.Parameter, choice: click.Choice[object]
) -> None:
    """Of a list of names Click shows the names, where the values may be others: `hourly` was `hourly cycles`."""
    assert not [each for each in choice.choices if isinstance(each, Enum)], path
    assert isinstance(parameter, click.Argument | click.Option)
    told = CliRunner().invoke(command, ["--help"]).output
    assert [each for each in choice.choices if str(each) not in " ".join(told.split())] == []
    with pytest.raises(click.BadParameter) as refused:
        choice.convert("something else", parameter, None)
    assert [each for each in choice.choices if str(each) not in refused.value.format_message()] == []
