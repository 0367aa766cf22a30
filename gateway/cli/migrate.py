"""`careloop migrate`: bring the schema of the configured database up to date."""

import asyncio
import json
from pathlib import Path

import click

from gateway.cli.options import config_option, json_option, read_settings
from gateway.database.connect import reachable_url
from gateway.database.migrate import migrate as apply_pending


@click.command(short_help="Apply the schema's pending migrations.")
@config_option
@json_option
def migrate(config: Path | None, as_json: bool) -> None:
    """Apply the schema's pending migrations; the gateway does the same at its start."""
    applied = asyncio.run(apply_pending(reachable_url(read_settings(config))))
    if as_json:
        click.echo(json.dumps({"applied": applied}))
    elif applied:
        click.echo("\n".join(f"applied {label}" for label in applied))
    else:
        click.echo("the schema is up to date")
