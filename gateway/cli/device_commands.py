"""`careloop devices command` and `commands`: a device is told to do something, and what became of it."""

import asyncio
import json
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Final, cast

import click

from devices.commands.model import CommandState, CommandView
from devices.commands.queries import cancel_command, find_command, list_commands
from devices.errors import CareloopError
from devices.profiles import load_profiles
from gateway.cli.noted import note, user_name
from gateway.cli.options import config_option, json_option, print_json, read_settings
from gateway.commands.issue import Rules, Wish, issue
from gateway.database.connect import open_database
from gateway.settings import build_clock

LOOK_EVERY_S: Final = 0.2


@click.command(short_help="Tell a device to do something.")
@click.argument("device_id", metavar="ID")
@click.argument("name", metavar="NAME")
@click.option("--data", default="{}", metavar="JSON", help="An object that goes with it.")
@click.option(
    "--expires", "expires_s", type=click.FloatRange(min=1), metavar="S", help="Too old after so many seconds."
)
@click.option("--command-id", default="", metavar="ID", help="Of your own: asking twice then asks once.")
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), default=0.0, metavar="S", help="Wait for the answer.")
@click.option("--by", default=user_name, show_default="you", help="Who says so; kept.")
@config_option
@json_option
def command(device_id: str, name: str, config: Path | None, *, as_json: bool, data: str, **more: object) -> None:
    """Tell the device ID to do NAME, one of its profile's commands; it is kept until the device is there.

    With --wait, exit code 1 says that the device has not said "done".
    """
    try:
        told: object = json.loads(data)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--data") from error
    if not isinstance(told, dict):
        raise click.BadParameter("an object such as {}", param_hint="--data")
    wish = Wish(
        device_id,
        name,
        str(more["by"]),
        cast("dict[str, object]", told),
        cast("float | None", more["expires_s"]),
        str(more["command_id"]),
    )
    wait_s = cast("float", more["wait_s"])
    view = asyncio.run(_issue(config, wish, wait_s))
    _print([view], as_json=as_json, single=True)
    if wait_s and view.state is not CommandState.DONE:
        raise click.exceptions.Exit(1)


async def _issue(config: Path | None, wish: Wish, wait_s: float) -> CommandView:
    settings = read_settings(config)
    rules = Rules(settings.tenant.id, load_profiles(settings.profiles.folders), settings.commands)
    async with open_database(settings) as conn:
        view, _ = await issue(conn, rules, wish, build_clock(settings.clock).now_s())
        told = {"name": wish.name, "command": view.command_id, "by": wish.person}
        await note(conn, rules.tenant_id, "device.command", wish.device_id, **told)
        await conn.commit()
        if wait_s:
            try:
                async with asyncio.timeout(wait_s):
                    while CommandState(view.state).is_pending:
                        await asyncio.sleep(LOOK_EVERY_S)
                        view = await find_command(conn, rules.tenant_id, view.command_id) or view
                        await conn.commit()
            except TimeoutError:
                pass
        return view


@click.command(short_help="What a device was told, and what came of it.")
@click.argument("device_id", metavar="ID")
@click.option("--limit", default=20, type=click.IntRange(1, 1000), show_default=True, help="At most this many.")
@click.option("--cancel", "cancelled", metavar="COMMAND", help="Send this one no more.")
@config_option
@json_option
def commands(device_id: str, limit: int, cancelled: str | None, config: Path | None, *, as_json: bool) -> None:
    """List what the device ID was told, newest first, and what came of it."""

    async def read() -> list[CommandView]:
        settings = read_settings(config)
        async with open_database(settings) as conn:
            if cancelled is not None and not await cancel_command(
                conn, settings.tenant.id, cancelled, f"cancelled by {user_name()}"
            ):
                raise CareloopError("unknown_command", f"{cancelled} is not pending")
            if cancelled is not None:
                await note(conn, settings.tenant.id, "device.cancel_command", device_id, command=cancelled)
            return await list_commands(conn, settings.tenant.id, device_id, limit)

    _print(asyncio.run(read()), as_json=as_json, single=False)


def _print(views: list[CommandView], *, as_json: bool, single: bool) -> None:
    if as_json:
        print_json(asdict(views[0]) if single else [asdict(view) for view in views])
        return
    for view in views:
        at = view.issued_at.astimezone(UTC).isoformat(timespec="seconds")
        detail = f": {view.detail}" if view.detail else ""
        click.echo(f"{at}  {view.command_id}  {view.name}  {view.state}{detail}  ({view.issued_by})")
