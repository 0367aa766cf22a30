"""`careloop tokens`: what machines call the API with."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from devices.profiles.model import parse_span_s
from gateway.cli.options import config_option, json_option, print_json
from gateway.cli.people import at_office, role_argument
from gateway.people.model import Role
from gateway.people.queries import list_tokens


class _Span(click.ParamType[float]):
    """A span of time: 90d, 8h."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            span_s = parse_span_s(value)
        except ValueError:
            span_s = None
        if not isinstance(span_s, (int, float)) or not 0 < span_s < 100 * 365 * 86400.0:
            self.fail(f"{value!r} is no span of time such as 90d", param, ctx)
        return float(span_s)


@click.group(short_help="What machines call the API with.")
def tokens() -> None:
    """What machines call the API with: each its own, with a role of its own, taken back by its name."""


@tokens.command(short_help="Make a token, and print it this once.")
@click.argument("name")
@click.option("--role", type=role_argument, default="viewer", show_default=True, help="What it may do.")
@click.option("--expires", "expires_s", type=_Span(), help="How long it is good for: 90d. Default: until revoked.")
@config_option
@json_option
def create(*, name: str, role: str, expires_s: float | None, config: Path | None, as_json: bool) -> None:
    """Make a token, and print it: this once, for it is kept nowhere."""
    expires_at = None if expires_s is None else datetime.now(UTC) + timedelta(seconds=expires_s)
    token = at_office(config, lambda office: office.create_token(name, Role(role), expires_at))
    if as_json:
        print_json({"name": name, "role": role, "token": token, "expires_at": expires_at})
    else:
        click.echo(token)


@tokens.command("list")
@config_option
@json_option
def list_(*, config: Path | None, as_json: bool) -> None:
    """List every token that there was."""
    found = at_office(config, lambda office: list_tokens(office.conn, office.tenant_id))
    if as_json:
        print_json([asdict(each) for each in found])
        return
    for each in found:
        state = "until revoked" if each.expires_at is None else f"until {each.expires_at:%Y-%m-%d}"
        if each.revoked_at is not None:
            state = f"revoked {each.revoked_at:%Y-%m-%d}"
        click.echo(f"{each.name:<30} {each.role:<9} {state}")
    if not found:
        click.echo("no tokens")


@tokens.command()
@click.argument("name")
@config_option
def revoke(name: str, config: Path | None) -> None:
    """Take a token back at once."""
    at_office(config, lambda office: office.revoke_token(name))
    click.echo(f"{name} is revoked")
