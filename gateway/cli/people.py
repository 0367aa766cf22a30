"""`careloop people`: who may sign in, and what they may do."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from gateway.cli.options import config_option, json_option, print_json, read_settings
from gateway.database.connect import open_database
from gateway.people.administer import Office
from gateway.people.audit import record_command
from gateway.people.model import Role
from gateway.people.queries import list_people

Found = TypeVar("Found")
role_argument = click.Choice([str(role) for role in Role])


def at_office(config: Path | None, work: Callable[[Office], Awaitable[Found]]) -> Found:
    """Do something at the office of the settings' tenant, in one transaction."""
    settings = read_settings(config)

    async def do() -> Found:
        async with open_database(settings) as conn:
            tenant_id = settings.tenant.id

            async def keep(what: str, subject: str, inputs: dict[str, object]) -> None:
                await record_command(conn, tenant_id, what, subject, **inputs)

            return await work(Office(conn, tenant_id, datetime.now(UTC), keep))

    return asyncio.run(do())


@click.group(short_help="Who may sign in, and what they may do.")
def people() -> None:
    """Who may sign in, and what they may do: viewer, agent, operator or admin, each with what those before may do."""


@people.command(short_help="Add somebody; prints their one-time password.")
@click.argument("name")
@click.option("--role", type=role_argument, default="viewer", show_default=True, help="What they may do.")
@config_option
@json_option
def add(*, name: str, role: str, config: Path | None, as_json: bool) -> None:
    """Add somebody, and print the one-time password that they sign in with once."""
    password = at_office(config, lambda office: office.add_person(name, Role(role)))
    if as_json:
        print_json({"name": name, "role": role, "one_time_password": password})
    else:
        click.echo(f"{name} may sign in as {role}, within a week, with the one-time password\n\n    {password}\n")


@people.command("list")
@config_option
@json_option
def list_(*, config: Path | None, as_json: bool) -> None:
    """List everybody."""
    found = at_office(config, lambda office: list_people(office.conn, office.tenant_id))
    if as_json:
        print_json([asdict(each) for each in found])
        return
    for each in found:
        state = each.signs_in if each.disabled_at is None else f"disabled {each.disabled_at:%Y-%m-%d}"
        click.echo(f"{each.name:<30} {each.role:<9} {state}")
    if not found:
        click.echo("nobody yet; the first start of the gateway adds an admin")


@people.command("role")
@click.argument("name")
@click.argument("new_role", metavar="ROLE", type=role_argument)
@config_option
def role_(name: str, new_role: str, config: Path | None) -> None:
    """Give somebody a ROLE: viewer, agent, operator or admin."""
    at_office(config, lambda office: office.set_role(name, Role(new_role)))
    click.echo(f"{name} is {new_role}")


@people.command(short_help="Shut somebody out at once.")
@click.argument("name")
@click.option("--undo", is_flag=True, help="Let them in again.")
@config_option
def disable(name: str, *, undo: bool, config: Path | None) -> None:
    """Shut somebody out at once; what they did stays on record."""
    at_office(config, lambda office: office.enable(name) if undo else office.disable(name))
    click.echo(f"{name} may sign in again" if undo else f"{name} may no longer sign in")


@people.command(short_help="Give somebody a one-time password.")
@click.argument("name")
@click.option("--stdin", "is_piped", is_flag=True, help="Read the password from standard input instead of making one.")
@config_option
def password(name: str, *, is_piped: bool, config: Path | None) -> None:
    """Give somebody a one-time password, and end their sessions."""
    if is_piped:
        chosen = sys.stdin.readline().rstrip("\n")
        at_office(config, lambda office: office.set_password(name, chosen))
        click.echo(f"{name} has another password")
        return
    made = at_office(config, lambda office: office.reset_password(name))
    click.echo(f"{name} signs in, within a week, with the one-time password\n\n    {made}\n")
