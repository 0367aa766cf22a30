"""`careloop crm`: whether the CRMs of the settings can be worked with."""

import asyncio
import json
import time
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from crm_sync.adapters import build_adapters, load_adapters
from crm_sync.adapters.contract import CrmAdapter, Health
from crm_sync.adapters.rehearse import rehearse
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.settings import EndpointSettings
from devices.errors import ConfigError, Fault
from gateway.cli.options import config_option, json_option, read_settings


@click.group(short_help="CRMs: whether they can be worked with.")
def crm() -> None:
    """CRMs, helpdesks and webhook receivers: whether they can be worked with."""


@crm.command(short_help="See whether an endpoint takes cases.")
@click.argument("name")
@click.option("--write", is_flag=True, help="Also make, find, add to and close one record that says it is a test.")
@config_option
@json_option
@click.pass_context
def check(context: click.Context, name: str, config: Path | None, *, write: bool, as_json: bool) -> None:
    """See whether the endpoint NAME takes cases: who we are, rights, fields, statuses; exit 1 when it does not."""
    endpoint = _endpoint(read_settings(config).crm.endpoints, name)
    steps = asyncio.run(_check(endpoint, write=write))
    if as_json:
        click.echo(json.dumps([asdict(step) for step in steps]))
    else:
        console = Console(highlight=False)
        for step in steps:
            console.print("[green]ok[/]    " if step.ok else "[bold red]wrong[/] ", end="")
            console.print(step.detail, markup=False, soft_wrap=True)
    context.exit(0 if all(step.ok for step in steps) else 1)


def _endpoint(endpoints: tuple[EndpointSettings, ...], name: str) -> EndpointSettings:
    for endpoint in endpoints:
        if endpoint.name == name:
            return endpoint
    known = ", ".join(endpoint.name for endpoint in endpoints) or "none is configured"
    raise ConfigError([Fault("NAME", name, known)])


async def _check(endpoint: EndpointSettings, *, write: bool) -> list[Health]:
    adapter = build_adapters([endpoint], load_adapters())[endpoint.name]
    try:
        steps = await _look(adapter)
        if write and all(step.ok for step in steps):
            steps += [step async for step in rehearse(adapter, time.time())]
        return steps
    finally:
        await adapter.close()


async def _look(adapter: CrmAdapter) -> list[Health]:
    if isinstance(adapter, RestAdapter):
        return [finding async for finding in adapter.examine()]
    return [await adapter.health()]
