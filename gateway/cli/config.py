"""`careloop config`: look at the settings in force."""

import json
import os
from pathlib import Path
from typing import cast

import click
from rich.console import Console
from rich.table import Table

from crm_sync.adapters.rest.account import says_secret
from gateway.check import check_settings
from gateway.cli.options import config_option, json_option
from gateway.settings import load, mask_url

_SECRET_WORDS = ("token", "secret", "password")


@click.group()
def config() -> None:
    """Check or show the settings."""


@config.command(short_help="Say whether the settings are usable.")
@config_option
def check(config: Path | None) -> None:
    """Say whether the settings are usable; exit 2 with every fault at once when they are not."""
    check_settings(load(config, os.environ).settings)
    click.echo("the settings are usable")


@config.command()
@config_option
@json_option
def show(config: Path | None, as_json: bool) -> None:
    """Show every setting with its origin; secrets are masked."""
    loaded = load(config, os.environ)
    rows = [(name, _masked(name, value), loaded.origins[name]) for name, value in sorted(loaded.values.items())]
    if as_json:
        shown = [{"setting": name, "value": value, "origin": origin} for name, value, origin in rows]
        click.echo(json.dumps(shown, default=str))
        return
    table = Table("setting", "value", "origin", box=None, header_style="bold")
    for name, value, origin in rows:
        table.add_row(name, json.dumps(value, default=str), origin, style=None if origin == "default" else "bold")
    Console().print(table)


def _masked(name: str, value: object) -> object:
    if isinstance(value, list):
        return [_masked(name, item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: _masked(key, inner) for key, inner in cast("dict[str, object]", value).items()}
    if not isinstance(value, str) or not value:
        return value
    last = name.rpartition(".")[2]
    is_secret = (any(word in last for word in _SECRET_WORDS) or says_secret(last)) and not last.endswith("_file")
    return "********" if is_secret else mask_url(value)
