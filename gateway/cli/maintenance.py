"""`careloop maintenance`: what retention would let go, a round of maintenance now, and rollups computed anew."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import structlog
from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable, UndefinedTable
from psycopg.rows import TupleRow

from devices.errors import CareloopError
from devices.profiles import load_profiles
from gateway.cli.noted import note
from gateway.cli.options import config_option, json_option, read_settings
from gateway.database.connect import SCHEMA_MISSING, open_database, reachable_url
from gateway.database.edition import detect_edition
from gateway.logs import configure_logs
from gateway.maintenance.job import Done, Maintenance, Upkeep
from gateway.maintenance.retention import Due, find_due
from gateway.maintenance.rollups import Rolled, find_rollups, restart_rollups
from gateway.maintenance.sessions import connect
from gateway.settings import Settings, build_clock
from gateway.store.queries import last_batch

_BUSY: Final = (
    "somebody holds a lock on our tables, or another round of maintenance is at work: "
    "what was done until now stays done, run it again for the rest"
)


@click.group(short_help="Usage rollups and retention.")
def maintenance() -> None:
    """Usage rollups and retention: a running gateway keeps both up by itself; this is for looking, and for now."""


@dataclass(frozen=True, slots=True)
class _Plan:
    due: Sequence[Due]
    rolled: Sequence[Rolled]
    last_batch: int


@maintenance.command(short_help="Say what retention would let go, and how far rollups are.")
@config_option
@json_option
def plan(config: Path | None, *, as_json: bool) -> None:
    """Say what retention would let go now, and how far the rollups are behind; changes nothing."""
    found = asyncio.run(_plan(read_settings(config)))
    due = [
        (one.purpose, one.model, one.table, one.rows, "whole partition" if one.is_whole else "rows")
        for one in found.due
    ]
    rolled = [(one.model, found.last_batch - one.batch_seq if one.is_kept else None) for one in found.rolled]
    if as_json:
        names = ("purpose", "model", "table", "rows", "how")
        behind = dict(rolled)
        click.echo(json.dumps({"due": [dict(zip(names, one, strict=True)) for one in due], "batches_behind": behind}))
        return
    for model, behind in rolled:
        click.echo(
            f"rollups of {model}: " + ("by TimescaleDB, or off" if behind is None else f"{behind} batches behind")
        )
    for purpose, model, table, rows, how in due:
        click.echo(f"{purpose}{f' of {model}' if model else ''}: {rows} in {table} ({how})")
    if not due:
        click.echo("retention: nothing is due")


@maintenance.command(short_help="Roll up what has been stored, and let go what is due, now.")
@config_option
@json_option
def run(config: Path | None, *, as_json: bool) -> None:
    """Roll up what has been stored, and let go what is due, now; safe beside a running gateway."""
    done = asyncio.run(_run(read_settings(config)))
    if as_json:
        click.echo(json.dumps({"slices": done.slices, "retired": done.retired}))
        return
    click.echo(f"rolled up in {done.slices} slices")
    for purpose, rows in done.retired.items():
        click.echo(f"{purpose}: {rows} let go")


@maintenance.command(short_help="Have rollups computed anew from the readings.")
@click.option("--model", help="Only of this product model.")
@config_option
def rebuild(model: str | None, config: Path | None) -> None:
    """Have rollups computed anew from the readings that are there; the running gateway does it, or `maintenance run`.

    What is left of readings that retention has let go stays.
    """
    if not asyncio.run(_rebuild(read_settings(config), model)):
        raise CareloopError("unknown_model", "careloop keeps no rollups of that model by itself")
    click.echo("will be computed anew, hour by hour")


async def _plan(settings: Settings) -> _Plan:
    async with open_database(settings) as conn:
        due = await find_due(conn, (await _maintenance(settings, conn)).terms)
        return _Plan(due, await find_rollups(conn), (await last_batch(conn))[0])


async def _run(settings: Settings) -> Done:
    async with open_database(settings) as conn:
        work = await _maintenance(settings, conn)
        await note(conn, settings.tenant.id, "maintenance.run", "database")
    async with await connect(reachable_url(settings)) as conn:
        try:
            return await work.work(conn, with_retention=True)
        except UndefinedTable as error:
            raise CareloopError("schema_missing", SCHEMA_MISSING) from error
        except LockNotAvailable as error:
            raise CareloopError("maintenance_busy", _BUSY) from error


async def _rebuild(settings: Settings, model: str | None) -> int:
    async with open_database(settings) as conn:
        restarted = await restart_rollups(conn, model)
        if restarted:
            await note(conn, settings.tenant.id, "maintenance.rebuild", model or "every model")
        return restarted


async def _maintenance(settings: Settings, conn: AsyncConnection[TupleRow]) -> Maintenance:
    configure_logs(settings.log)  # what it warns of is not mixed into what the command prints
    upkeep = Upkeep(
        reachable_url(settings),
        settings.tenant.id,
        load_profiles(settings.profiles.folders),
        settings.maintenance,
        settings.retention,
        await detect_edition(conn),
        build_clock(settings.clock),
        structlog.get_logger(),
    )
    return Maintenance(upkeep)
