"""`careloop playbooks`: which actions there are, and how often each has helped."""

import asyncio
from dataclasses import asdict
from pathlib import Path

import click

from crm_sync.playbooks.shown import RateView, list_rates
from devices.profiles import load_profiles
from gateway.cli.options import config_option, json_option, print_json, read_settings
from gateway.database.connect import open_database


@click.group(short_help="What is done about problems, and how often it helps.")
def playbooks() -> None:
    """What is done about problems, and how often it helps."""


@playbooks.command("list", short_help="List actions with how often each helped.")
@click.option("--model", help="Only actions on this product model.")
@config_option
@json_option
def list_(model: str | None, config: Path | None, *, as_json: bool) -> None:
    """List every action of the playbooks, and how often it helped: the mean, and the interval that holds 90 %."""

    async def read() -> list[RateView]:
        settings = read_settings(config)
        async with open_database(settings) as conn:
            profiles = load_profiles(settings.profiles.folders)
            return await list_rates(conn, settings.tenant.id, profiles, model)

    found = asyncio.run(read())
    if as_json:
        print_json([asdict(each) for each in found])
        return
    rows = [("model", "problem", "action", "helped", "of", "chance to help")]
    rows += [(each.model, each.problem, each.action, str(each.worked), _trials(each), _chance(each)) for each in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _trials(view: RateView) -> str:
    return str(view.worked + view.failed)


def _chance(view: RateView) -> str:
    exploring = ", exploring" if view.explores else ""
    if not view.worked + view.failed:
        return f"not known{exploring}"
    return f"{view.mean:.0%} ({view.low:.0%} to {view.high:.0%}){exploring}"
