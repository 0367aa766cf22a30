"""The `careloop` command: a group whose commands come from entry points, imported only when they are asked for."""

import sys
from importlib.metadata import EntryPoint, version

import click
from rich.console import Console
from rich.markup import escape

from devices.errors import CareloopError, ConfigError
from devices.installed import registered
from gateway.cli.summaries import SUMMARIES
from gateway.garbage import collect_seldom, collecting_nothing


class EntryPointGroup(click.Group):
    """A group of the commands that installed packages register as ``careloop.commands``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all registered commands."""
        del ctx
        return sorted(_registered())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        del ctx
        found = _registered().get(cmd_name)
        if found is None:
            return None
        with collecting_nothing():
            command: object = found.load()
        if not isinstance(command, click.Command):
            message = f"{found.value} is registered as a careloop command but is not a click command"
            raise click.ClickException(message)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List all commands; only those that are not careloop's own are imported for what they say of themselves."""
        room = formatter.width - 6 - max(map(len, _registered()))
        rows = [(name, SUMMARIES.get(name) or self._ask(ctx, name, room)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _ask(self, ctx: click.Context, name: str, room: int) -> str:
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str(room)


def _registered() -> dict[str, EntryPoint]:
    return {found.name: found for found in registered("careloop.commands")}


@click.group(
    cls=EntryPointGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with `careloop demo` to see it, `careloop run` to use it; `careloop doctor` says what is amiss.",
)
@click.version_option(version("careloop"), prog_name="careloop")
def careloop() -> None:
    """Connected products tell the CRM that their owner will soon need help."""


def main() -> None:
    """Run the command line; exit 0 when done, 1 when something is wrong, 2 for usage or configuration."""
    collect_seldom()
    console = Console(stderr=True, highlight=False)
    try:
        careloop()
    except ConfigError as error:
        for fault in error.faults:
            said = escape(f"found {fault.found}; allowed: {fault.allowed}")
            console.print(f"[bold red]{escape(fault.setting)}[/]: {said}", soft_wrap=True)
        sys.exit(2)
    except CareloopError as error:
        console.print(f"[bold red]{error.reason}[/]: {escape(error.detail)}", soft_wrap=True)
        sys.exit(1)
