"""`careloop backtest`: stored history through the watches as they are, and as they might be."""

import asyncio
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from crm_sync.cases.desk import Desk
from crm_sync.settings import MessageType
from crm_sync.trust.rules import TrustRules
from crm_sync.wording.catalogue import load_wordings
from devices.errors import CareloopError, Retryable
from devices.profiles import load_profiles
from devices.profiles.model import Profile, parse_span_s
from gateway.backtest import summary
from gateway.backtest.picture import draw
from gateway.backtest.proposal import Proposal, propose_profile, propose_watches
from gateway.backtest.run import Plan, Report, reading, run_backtest
from gateway.cli.options import Instant, config_option, json_option, print_json, read_settings
from gateway.database.connect import reachable_url
from gateway.detect.lines import say_ts
from gateway.detect.words import say_span
from gateway.pictures.canvas import check_name
from gateway.settings import Settings
from gateway.store.history import TimeBase, Wanted

WARM_UP: Final = "28d"
UNBOUND: Final = 200  # columns, where nobody watches


class Span(click.ParamType[float]):
    """A span of time such as 28d."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In seconds."""
        try:
            return float(str(parse_span_s(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Since(click.ParamType[float]):
    """A moment, or a span of time before the end: seconds since the epoch, or less than nothing."""

    name = "instant or span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """A span counts back from the end."""
        with suppress(ValueError):
            return -float(str(parse_span_s(value)))
        try:
            return Instant().convert(value, param, ctx).timestamp()
        except click.BadParameter:
            self.fail(
                f"{value!r} is neither an instant such as 2026-03-01T12:00:00Z nor a span such as 30d", param, ctx
            )


@click.command(short_help="Judge stored history again, with changed watches.")
@click.option(
    "--since", type=Since(), required=True, help="Where to begin: an instant, or so long before the end, such as 30d."
)
@click.option("--until", type=Instant(), help="Where to end; by default now.")
@click.option(
    "--watch",
    "watch_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Watches to try: a TOML file with [[watches]] as in a profile, and the model that they are for.",
)
@click.option(
    "--profile",
    "profile_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A whole profile to try, in place of the installed one of its model.",
)
@click.option("--device", "devices", multiple=True, help="Only this device; may be given several times.")
@click.option(
    "--time",
    "base",
    type=click.Choice([each.value for each in TimeBase]),
    default=TimeBase.RECEIVED.value,
    show_default=True,
    help="Go by when readings were received, as it was lived; or by device time, for history that was imported.",
)
@click.option(
    "--warm-up", type=Span(), default=WARM_UP, show_default=True, help="History before it that teaches the detectors."
)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw it too: FILE.png or FILE.svg.")
@config_option
@json_option
def backtest(
    *,
    since: float,
    until: datetime | None,
    watch_file: Path | None,
    profile_file: Path | None,
    devices: tuple[str, ...],
    base: str,
    warm_up: float,
    plot: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Judge stored history again, with the installed watches and with changed ones, side by side.

    Tells which alarms, cases and messages there would have been, who would not have been written to and why, and what
    really happened. It changes nothing, and tells nobody.
    """
    if watch_file is not None and profile_file is not None:
        raise click.UsageError("--watch and --profile do not go together: put the watches into the profile")
    if plot is not None:
        check_name(plot)
    settings = read_settings(config)
    profiles = load_profiles(settings.profiles.folders)
    proposal = _proposal(profiles, watch_file, profile_file)
    until_s = (until or datetime.now(UTC)).timestamp()
    since_s = since if since >= 0 else max(until_s + since, 0.0)
    wanted = Wanted(round(since_s * 1e6), round(until_s * 1e6), TimeBase(base), devices)
    if wanted.since_us >= wanted.until_us:
        raise click.UsageError("--since lies after the end")
    report = _run(settings, profiles, proposal, wanted, warm_up)
    says = () if proposal is None else proposal.says
    if not report.readings:
        raise CareloopError("no_history", f"no reading of that time is stored{_hint(wanted)}")
    if plot is not None:
        asyncio.run(_draw(reachable_url(settings), report, says, plot))
    if as_json:
        print_json(summary.as_json(report, says))
    else:
        takes_cases = any(MessageType.CASE_OPENED in each.types for each in settings.crm.endpoints)
        _print(report, says, warm_up, takes_cases=takes_cases)
    if any(outcome.failed_notices for _, outcome in summary.columns(report)):
        raise SystemExit(1)


def _hint(wanted: Wanted) -> str:
    imported = "; history that was imported at once is found with --time device"
    return imported if wanted.base is TimeBase.RECEIVED else ""


def _proposal(profiles: Mapping[str, Profile], watch_file: Path | None, profile_file: Path | None) -> Proposal | None:
    if watch_file is not None:
        return propose_watches(profiles, watch_file)
    return None if profile_file is None else propose_profile(profiles, profile_file)


def _run(
    settings: Settings, profiles: Mapping[str, Profile], proposal: Proposal | None, wanted: Wanted, warm_up_s: float
) -> Report:
    plan = Plan(
        url=reachable_url(settings),
        tenant_id=settings.tenant.id,
        wanted=wanted,
        warm_up_us=round(warm_up_s * 1e6),
        desk=Desk(
            settings.crm,
            profiles,
            TrustRules(settings.budget, settings.trust, settings.listen.authority().edge_nodes),
            load_wordings(settings.crm.language, settings.crm.wording_folder),
        ),
        detect=settings.detect,
        proposed=None if proposal is None else proposal.profiles,
    )
    try:
        with _progress() as progress:
            return asyncio.run(run_backtest(plan, progress))
    except psycopg.errors.UndefinedTable as error:
        raise CareloopError("schema_missing", "the database has no cases yet; `careloop migrate` makes it") from error
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
        detail = (
            f"{str(error).strip()}; a backtest needs temporary tables: a primary server, and for careloop's role "
            "GRANT TEMPORARY ON DATABASE"
        )
        raise CareloopError("no_temporary_tables", detail) from error
    except psycopg.OperationalError as error:
        raise Retryable("database_unreachable", str(error).strip()) from error


async def _draw(url: str, report: Report, says: Sequence[str], path: Path) -> None:
    async with reading(url) as conn:
        await draw(conn, report, says, path)


@contextmanager
def _progress() -> Generator[Callable[[int, int], None]]:
    """A bar on standard error where that is a terminal."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("readings"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task("", total=None)
    with bar if console.is_terminal else nullcontext():
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print(report: Report, says: Sequence[str], warm_up_s: float, *, takes_cases: bool) -> None:
    wanted = report.wanted
    since, until = say_ts(wanted.since_us / 1e6), say_ts(wanted.until_us / 1e6)
    how = "received" if wanted.base is TimeBase.RECEIVED else "measured"
    click.echo(
        f"{since} to {until}, by the time readings were {how}: "
        f"{report.readings:,} readings of {report.devices:,} devices, with up to {say_span(warm_up_s)} before it, "
        "from which the detectors learnt"
    )
    for device_id in report.missing:
        click.echo(f"{device_id}: no reading")
    for words in says:
        click.echo(f"proposed: {words}")
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name, _ in summary.columns(report):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summary.rows(report):
        table.add_row(row.name, *row.cells, style="bold" if row.is_heading else None)
    width = None if sys.stdout.isatty() else UNBOUND
    Console(highlight=False, markup=False, width=width).print(table)
    if not takes_cases:
        click.echo("No CRM endpoint takes cases: cases would open, and nobody would hear of them.")
    for sentence in summary.sentences(report):
        click.echo(sentence)
    for line in summary.examples(report):
        click.echo(line)
