"""`careloop quarantine`: what could not be stored, why, and taking it through the pipeline again."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Final

import click

from devices.errors import CareloopError, QuarantineReason
from gateway.cli.noted import named, note
from gateway.cli.options import Instant, config_option, json_option, print_json, read_settings
from gateway.database.connect import open_database
from gateway.store.ownership import is_owned
from gateway.store.quarantine import Connection, Entry, Stage, Wanted, count_waiting, list_entries, request_replay

PAGE: Final = 1000
POLL_S: Final = 0.2
SHOWN_BYTES: Final = 4096


def _picking(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that pick entries, as one `wanted`; what a list shows, a replay takes."""

    @click.option("--device", "device_id", help="Only entries of this device.")
    @click.option("--reason", type=click.Choice([each.value for each in QuarantineReason]), help="Only of this reason.")
    @click.option("--topic", help="Only of this topic, or of a filter with MQTT's wildcards.")
    @click.option("--since", type=Instant(), help="Only last received at or after this: 2026-01-31T08:00:00Z.")
    @click.option("--until", type=Instant(), help="Only last received before this.")
    @wraps(command)
    def picking(
        device_id: str | None,
        reason: str | None,
        topic: str | None,
        since: datetime | None,
        until: datetime | None,
        **others: object,
    ) -> None:
        wanted = Wanted(device_id=device_id, reason=reason, topic=topic, since=since, until=until)
        command(wanted=wanted, **others)

    return picking


@click.group(short_help="What could not be stored, and another try after a fix.")
def quarantine() -> None:
    """What could not be stored: why, its very bytes, and taking it through the pipeline again after a fix."""


@quarantine.command("list")
@_picking
@click.option(
    "--stage",
    type=click.Choice([each.value for each in Stage]),
    default="open",
    show_default=True,
    help="How far a replay has brought them.",
)
@click.option("--all", "is_all", is_flag=True, help="Of every stage.")
@click.option("--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, help="At most this many.")
@click.option("--after", type=int, default=0, help="Only entries with a greater number: for the next page.")
@config_option
@json_option
def list_(
    *,
    wanted: Wanted,
    stage: str,
    is_all: bool,
    limit: int,
    after: int,
    config: Path | None,
    as_json: bool,
) -> None:
    """List entries, the oldest first."""
    picked = replace(wanted, stage=None if is_all else Stage(stage), after=after, limit=limit)
    entries = asyncio.run(_read(config, picked))
    if as_json:
        print_json([_as_json(entry) for entry in entries])
        return
    rows = [("number", "last received", "seen", "device", "reason", "detail")]
    rows += [
        (
            str(entry.quarantine_id),
            _time(entry.last_received_at),
            str(entry.seen),
            entry.device_id or "-",
            entry.reason if entry.outcome is None else f"{entry.reason} (replayed: {entry.outcome})",
            entry.detail,
        )
        for entry in entries
    ]
    _print_table(rows if entries else [("nothing in quarantine",)])
    if len(entries) == limit:
        click.echo(f"more: --after {entries[-1].quarantine_id}")


@quarantine.command()
@click.argument("number", type=int)
@config_option
@json_option
def show(number: int, config: Path | None, *, as_json: bool) -> None:
    """Show one entry, with the bytes as they came."""
    entries = asyncio.run(_read(config, Wanted(ids=(number,))))
    if not entries:
        raise CareloopError("unknown_entry", f"nothing in quarantine has the number {number}")
    if as_json:
        print_json(_as_json(entries[0]))
        return
    for name, value in _as_json(entries[0]).items():
        if value is not None and name != "raw":
            click.echo(f"{name:>20}  {value}")
    raw = entries[0].raw
    click.echo(f"\n{raw[:SHOWN_BYTES].decode(errors='backslashreplace')}")
    if len(raw) > SHOWN_BYTES:
        click.echo(f"… {len(raw) - SHOWN_BYTES} bytes more; --json has them all")


@quarantine.command("replay", short_help="Take entries through the running gateway again.")
@click.argument("numbers", metavar="[NUMBER]...", type=int, nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Every open entry, or those that the filters pick.")
@_picking
@click.option("--timeout", "timeout_s", type=float, default=60.0, show_default=True, help="Seconds to wait at most.")
@config_option
@json_option
def replay_(
    *,
    numbers: tuple[int, ...],
    wanted: Wanted,
    is_all: bool,
    timeout_s: float,
    config: Path | None,
    as_json: bool,
) -> None:
    """Take entries through the running gateway again, and say what became of each.

    A reading without a time of its own keeps the time at which it was first received. What does not come in within the
    timeout goes on: the gateway works through it, also after a restart, and `list --all` shows the outcomes.
    """
    if bool(numbers) == is_all:
        raise click.UsageError("name entries by number, or say --all, but not both")
    if numbers and wanted != Wanted():
        raise click.UsageError("filters go with --all")
    picked = replace(wanted, ids=numbers, stage=Stage.OPEN if is_all else None)
    done = asyncio.run(_replay(config, picked, timeout_s))
    unknown = sorted(set(numbers) - {entry.quarantine_id for entry in done.entries})
    if as_json:
        outcomes = {str(entry.quarantine_id): entry.outcome for entry in done.entries}
        print_json({"outcomes": outcomes, "unknown": unknown, "gateway_runs": done.gateway_runs})
    else:
        _print_replay(done, unknown)
    if unknown or not done.gateway_runs or any(entry.outcome in {None, "quarantined"} for entry in done.entries):
        raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of a replay; an entry without an outcome still waits."""

    entries: Sequence[Entry]
    gateway_runs: bool


async def _replay(config: Path | None, wanted: Wanted, timeout_s: float) -> _Done:
    async with _database(config) as (conn, tenant_id):
        ids = tuple(await request_replay(conn, replace(wanted, tenant_id=tenant_id)))
        if ids:
            await note(conn, tenant_id, "quarantine.replay", named(ids), entries=len(ids))
        await conn.commit()
        asked = Wanted(tenant_id=tenant_id, ids=ids)
        if not ids:
            return _Done((), gateway_runs=True)
        await conn.set_autocommit(True)
        if not await is_owned(conn):
            return _Done(await list_entries(conn, asked), gateway_runs=False)
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while await count_waiting(conn, ids) and asyncio.get_running_loop().time() < deadline_s:  # noqa: ASYNC110 - the database does not call us
            await asyncio.sleep(POLL_S)
        return _Done(await list_entries(conn, asked), gateway_runs=True)


def _print_replay(done: _Done, unknown: Sequence[int]) -> None:
    for entry in done.entries:
        words = {None: "waits", "quarantined": f"still {entry.reason}: {entry.detail}"}
        click.echo(f"{entry.quarantine_id}  {words.get(entry.outcome, entry.outcome)}")
    for number in unknown:
        click.echo(f"{number}  there is no such entry")
    if not done.gateway_runs:
        click.echo("no gateway runs on this database: what was asked for is done as soon as one starts")
    elif not done.entries and not unknown:
        click.echo("nothing to replay")


async def _read(config: Path | None, wanted: Wanted) -> list[Entry]:
    async with _database(config) as (conn, tenant_id):
        return await list_entries(conn, replace(wanted, tenant_id=tenant_id))


@asynccontextmanager
async def _database(config: Path | None) -> AsyncGenerator[tuple[Connection, str]]:
    settings = read_settings(config)
    async with open_database(settings) as conn:
        yield conn, settings.tenant.id


def _as_json(entry: Entry) -> dict[str, object]:
    """The entry for a machine; bytes that are no text stand as escapes."""
    return {**asdict(entry), "bytes": len(entry.raw), "raw": entry.raw.decode(errors="backslashreplace")}


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
