"""`careloop notices`: alarms that could not become cases, why, and another try after a fix."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from crm_sync.inbox import ParkedNotice, Unparked, list_parked, unpark
from gateway.cli.noted import named, note
from gateway.cli.options import config_option, json_option, print_json, read_settings
from gateway.database.connect import open_database

PAGE: Final = 1000


@click.group(short_help="Alarms that could not become cases, and another try after a fix.")
def notices() -> None:
    """Alarm notices that the CRM process could not work: each is set aside with its error, and the others go on."""


@notices.command("list")
@click.option("--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, help="At most this many.")
@click.option("--after", type=int, default=0, help="Only notices with a greater number: for the next page.")
@config_option
@json_option
def list_(*, limit: int, after: int, config: Path | None, as_json: bool) -> None:
    """List notices that were set aside, the oldest first."""
    found = asyncio.run(_read(config, limit, after))
    if as_json:
        print_json([asdict(each) for each in found])
        return
    for each in found:
        told = each.parked_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
        click.echo(f"{each.inbox_id}  {each.device_id}  {each.alarm_id} {each.event}; set aside {told}")
        click.echo(f"  {each.error}")
    if not found:
        click.echo("no notice is set aside")
    elif len(found) == limit:
        click.echo(f"more: --after {found[-1].inbox_id}")


@notices.command()
@click.argument("numbers", metavar="[NUMBER]...", type=int, nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Every notice that was set aside.")
@config_option
@json_option
def replay(*, numbers: tuple[int, ...], is_all: bool, config: Path | None, as_json: bool) -> None:
    """Have notices worked again, after a fix.

    They keep their place in the order. What has ended since, and whose ending was worked, is not worked again: no case
    is opened for it. A running gateway takes them up at once; otherwise the next one does.
    """
    if bool(numbers) == is_all:
        raise click.UsageError("name notices by number, or say --all, but not both")
    done = asyncio.run(_replay(config, None if is_all else numbers))
    unknown = sorted(set(numbers) - {*done.again, *done.over})
    if as_json:
        print_json({**asdict(done), "unknown": unknown})
    else:
        _print(done, unknown)
    if unknown:
        raise SystemExit(1)


def _print(done: Unparked, unknown: list[int]) -> None:
    for number in done.again:
        click.echo(f"{number}  is worked again")
    for number in done.over:
        click.echo(f"{number}  has ended since: nothing is left to do")
    for number in unknown:
        click.echo(f"{number}  no notice of this number is set aside")
    if not (done.again or done.over or unknown):
        click.echo("no notice is set aside")


async def _read(config: Path | None, limit: int, after: int) -> list[ParkedNotice]:
    settings = read_settings(config)
    async with open_database(settings) as conn:
        return await list_parked(conn, settings.tenant.id, limit, after)


async def _replay(config: Path | None, wanted: tuple[int, ...] | None) -> Unparked:
    settings = read_settings(config)
    async with open_database(settings) as conn:
        done = await unpark(conn, settings.tenant.id, datetime.now(UTC), wanted)
        if numbers := (*done.again, *done.over):
            await note(conn, settings.tenant.id, "notices.replay", named(numbers), notices=len(done.again))
    return done
