"""What several commands share: the settings file option and JSON output."""

import json
import os
from datetime import UTC, datetime
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


class Instant(click.ParamType[datetime]):
    """A moment; one that names no offset is in UTC, in which careloop tells every time, and a day is its midnight."""

    name = "instant"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """ISO 8601."""
        if isinstance(value, datetime):
            return value
        try:
            instant = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not an instant such as 2026-03-01T12:00:00Z", param, ctx)
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


def read_settings(config: Path | None) -> Settings:
    """The settings of this invocation. Raises ConfigError."""
    return load_settings(config, os.environ)


def print_json(value: object) -> None:
    """Print a value on one line; instants in ISO 8601, text as it is."""
    click.echo(json.dumps(value, default=lambda each: each.isoformat(), ensure_ascii=False))
