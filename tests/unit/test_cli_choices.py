"""Every choice that a command offers: what is shown is what is typed, and anything else is refused in words."""

from collections.abc import Iterator
from enum import Enum

import click
import pytest
from click.testing import CliRunner

from gateway.cli.main import careloop

Place = tuple[str, click.Command, click.Parameter, click.Choice[object]]


def choices() -> Iterator[Place]:
    """Each of all commands."""
    yield from _choices_of(careloop, click.Context(careloop, info_name="careloop"))


def _choices_of(command: click.Command, context: click.Context) -> Iterator[Place]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _choices_of(found, click.Context(found, context, name))
    for parameter in command.params:
        if isinstance(parameter.type, click.Choice):
            yield context.command_path, command, parameter, parameter.type


PLACES = list(choices())


@pytest.mark.parametrize(
    ("path", "command", "parameter", "choice"), PLACES, ids=[f"{p[0]} {p[2].name}" for p in PLACES]
)
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
