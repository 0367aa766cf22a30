"""`careloop incidents`: what befell many devices at once, and which devices."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, cast

import click

from devices.errors import CareloopError
from gateway.cli.options import config_option, json_option, print_json, read_settings
from gateway.cohorts.shown import (
    Connection,
    IncidentState,
    IncidentView,
    MemberView,
    list_incidents,
    list_members,
)
from gateway.database.connect import open_database

PAGE = 1000
Found = TypeVar("Found")


@click.group(short_help="What befell many devices at once.")
def incidents() -> None:
    """What befell many devices at once: a bad firmware, or a dip of the fleet, with one major case each."""


@incidents.command("list")
@click.option("--state", type=click.Choice(["open", "ended"]), help="Only incidents in this state.")
@click.option("--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, help="At most this many.")
@config_option
@json_option
def list_(*, state: str | None, limit: int, config: Path | None, as_json: bool) -> None:
    """List incidents, the newest first."""
    found = _read(
        config,
        lambda conn, tenant_id: list_incidents(conn, tenant_id, state=cast("IncidentState | None", state), limit=limit),
    )
    if as_json:
        print_json([asdict(each) for each in found])
        return
    for each in found:
        until = "goes on" if each.ended_at is None else f"until {_time(each.ended_at)}"
        click.echo(f"{each.incident_id}  {_time(each.known_at)}, {until}  {each.title}")
        click.echo(f"  {each.devices} devices, {each.alarms_going_on} of {each.alarms} alarms go on")
    if not found:
        click.echo("no incidents")


@incidents.command()
@click.argument("incident_id", metavar="ID")
@click.option(
    "--members", type=click.IntRange(0, PAGE), default=20, show_default=True, help="At most this many alarms."
)
@config_option
@json_option
def show(incident_id: str, members: int, config: Path | None, *, as_json: bool) -> None:
    """Show one incident: its evidence in words, and its members."""

    async def read(conn: Connection, tenant_id: str) -> tuple[list[IncidentView], Sequence[MemberView]]:
        found = await list_incidents(conn, tenant_id, incident_id=incident_id)
        return found, await list_members(conn, tenant_id, incident_id, limit=members)

    found, alarms = _read(config, read)
    if not found:
        raise CareloopError("unknown_incident", f"there is no incident {incident_id}")
    if as_json:
        print_json(asdict(found[0]) | {"members": [asdict(each) for each in alarms]})
        return
    _print_incident(found[0])
    for each in alarms:
        case = "no case of its own" if each.case_id is None else each.case_id
        click.echo(f"  {each.device_id}  {each.problem}: {each.kind}, {each.state}; {case}")


def _print_incident(each: IncidentView) -> None:
    click.echo(f"{each.title}\n\n{each.says}\n")
    facts = {
        "known since": _time(each.known_at),
        "state": "goes on" if each.ended_at is None else f"ended {_time(each.ended_at)}: {each.ending}",
        "devices": str(each.devices),
        "alarms": f"{each.alarms}, of which {each.alarms_going_on} go on",
        "major case": each.case_id or "not opened",
        "child cases": str(each.child_cases),
    }
    for name, value in facts.items():
        click.echo(f"{name:>12}  {value}")


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _read(config: Path | None, work: Callable[[Connection, str], Awaitable[Found]]) -> Found:
    """What a query finds in the settings' database."""
    settings = read_settings(config)

    async def read() -> Found:
        async with open_database(settings) as conn:
            return await work(conn, settings.tenant.id)

    return asyncio.run(read())
