"""`careloop crm`: whether the CRMs of the settings can be worked with."""

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from crm_sync.adapters import build_adapters, load_adapters
from crm_sync.adapters.contract import Audited, CrmAdapter, Health, Rationed
from crm_sync.adapters.rehearse import rehearse
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.adapters.rest.shared_limits import share
from crm_sync.records.reconcile import Drift, Reconciliation
from crm_sync.settings import EndpointSettings
from devices.errors import CareloopError, ConfigError, Fault
from gateway.cli.noted import note
from gateway.cli.options import Instant, config_option, json_option, print_json, read_settings
from gateway.database.connect import is_embedded, open_database, reachable_url, wait_for_gateway
from gateway.database.hold import build_pool
from gateway.settings import Settings

WEEK_S: Final = 7 * 86_400.0


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
    settings = read_settings(config)
    endpoint = _endpoint(settings.crm.endpoints, name)
    if write:
        asyncio.run(_note_write(settings, name))
    steps = asyncio.run(_check(endpoint, write=write))
    if as_json:
        click.echo(json.dumps([asdict(step) for step in steps]))
    else:
        console = Console(highlight=False)
        for step in steps:
            console.print("[green]ok[/]    " if step.ok else "[bold red]wrong[/] ", end="")
            console.print(step.detail, markup=False, soft_wrap=True)
    context.exit(0 if all(step.ok for step in steps) else 1)


@crm.command(short_help="Compare every case with its record there.")
@click.argument("name")
@click.option("--since", type=Instant(), help="Also cases that ended since this instant; a week.")
@click.option("--retell", is_flag=True, help="Tell those cases again whose record lacks a field or an end.")
@config_option
@json_option
@click.pass_context
def reconcile(
    context: click.Context, name: str, config: Path | None, *, since: datetime | None, retell: bool, as_json: bool
) -> None:
    """Compare each case with the record that the endpoint NAME has of it; exit 1 where they disagree."""
    settings = read_settings(config)
    endpoint = _endpoint(settings.crm.endpoints, name)
    since_s = time.time() - WEEK_S if since is None else since.timestamp()
    cases, drifts = asyncio.run(_reconcile(settings, endpoint, since_s, retell=retell))
    if as_json:
        print_json({"cases": cases, "drifts": [asdict(drift) for drift in drifts]})
    else:
        for drift in drifts:
            again = "; told again" if drift.retold else ""
            click.echo(f"{drift.case_id}  {drift.external_id or '-'}  {drift.what}: {drift.says}{again}")
        click.echo(f"cases compared: {cases}; disagreements: {len(drifts)}")
    context.exit(1 if drifts else 0)


async def _reconcile(
    settings: Settings, endpoint: EndpointSettings, since_s: float, *, retell: bool
) -> tuple[int, list[Drift]]:
    adapter = build_adapters([endpoint], load_adapters())[endpoint.name]
    try:
        if not isinstance(adapter, Audited):
            raise ConfigError(
                [Fault("NAME", endpoint.name, f"an endpoint that can be asked; {endpoint.adapter} cannot")]
            )
        cases, drifts = 0, list[Drift]()
        if is_embedded(settings):
            await asyncio.to_thread(wait_for_gateway, settings)
        async with build_pool(reachable_url(settings), 2, "careloop-reconcile") as pool:
            if retell:
                async with pool.connection() as conn:
                    await note(conn, settings.tenant.id, "crm.retell", endpoint.name, since_s=since_s)
            if isinstance(adapter, Rationed):  # the gateway speaks to the same account
                adapter.join(share(pool, settings.tenant.id, adapter.account, adapter.budget))
            work = Reconciliation(pool, settings.tenant.id, endpoint.name, adapter)
            async for _, found in work.compare(since_s):
                cases += 1
                drifts += await work.retell(found, time.time()) if retell else found
        return cases, drifts
    finally:
        await adapter.close()


def _endpoint(endpoints: tuple[EndpointSettings, ...], name: str) -> EndpointSettings:
    for endpoint in endpoints:
        if endpoint.name == name:
            return endpoint
    known = ", ".join(endpoint.name for endpoint in endpoints) or "none is configured"
    raise ConfigError([Fault("NAME", name, known)])


async def _note_write(settings: Settings, name: str) -> None:
    """Leave in the audit trail that a test record is to be made there; a check works without a database too."""
    with suppress(CareloopError):
        reachable_url(settings)  # says at once where the embedded one does not run
        async with open_database(settings) as conn:
            await note(conn, settings.tenant.id, "crm.check_write", name)


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
