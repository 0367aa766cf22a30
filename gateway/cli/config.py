"""`careloop config`: look at the settings in force."""

import json
import os
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from gateway.cli.options import config_option, json_option
from gateway.settings import load, validate_as_a_whole

_SECRET_WORDS = ("token", "secret", "password", "url")


@click.group()
def config() -> None:
    """Check or show the settings."""


@config.command()
@config_option
def check(config: Path | None) -> None:
    """Say whether the settings are usable; exit 2 with every fault at once when they are not."""
    validate_as_a_whole(load(config, os.environ).settings)
    click.echo("the settings are usable")


@config.command()
@config_option
@json_option
def show(config: Path | None, as_json: bool) -> None:
    """Show every setting with its origin; secrets are masked."""
    loaded = load(config, os.environ)
    rows = [
        (name, _masked(name, value), loaded.origins.get(name, "default"))
        for name, value in sorted(loaded.values.items())
    ]
    if as_json:
        click.echo(json.dumps([{"setting": name, "value": value, "origin": origin} for name, value, origin in rows]))
        return
    table = Table("setting", "value", "origin", box=None, header_style="bold")
    for name, value, origin in rows:
        table.add_row(name, json.dumps(value), origin, style=None if origin == "default" else "bold")
    Console().print(table)


def _masked(name: str, value: object) -> object:
    if isinstance(value, list):
        return [
            {key: _masked(key, inner) for key, inner in item.items()} if isinstance(item, dict) else item
            for item in value
        ]
    last = name.rpartition(".")[2]
    is_secret = last.startswith(_SECRET_WORDS) and not last.endswith("_file")
    return "********" if value and is_secret and isinstance(value, str) else value
