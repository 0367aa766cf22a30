"""What several commands share: the settings file option and JSON output."""

import json
import os
from pathlib import Path

import click

from gateway.settings import Settings, load_settings

config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Your settings file (TOML); what it leaves out keeps its default.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a machine to read.")


def read_settings(config: Path | None) -> Settings:
    """The settings of this invocation. Raises ConfigError."""
    return load_settings(config, os.environ)


def print_json(value: object) -> None:
    """Print a value on one line; instants in ISO 8601, text as it is."""
    click.echo(json.dumps(value, default=lambda each: each.isoformat(), ensure_ascii=False))
