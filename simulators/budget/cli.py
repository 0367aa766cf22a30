"""`careloop simulate budget`: how true cases are, and how many faults reach a person, under the budget."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from simulators.budget.fleet import Plan, make_fleet
from simulators.budget.in_process import rehearse
from simulators.budget.result import Result, Told
from simulators.budget.run import play
from simulators.fleet.habits import DAY_S, Span
from simulators.stage import play_in, write_report
from simulators.words import count

_LINE_EVERY_DAYS = 5


@click.command(short_help="A fleet of which few fall ill: how true are its cases?")
@click.option("--devices", default=1000, show_default=True, type=click.IntRange(50, 50_000), help="How many live.")
@click.option("--days", default=45.0, show_default=True, type=click.FloatRange(20, 366), help="For how many days.")
@click.option(
    "--healthy-days", default=15.0, show_default=True, type=click.FloatRange(7, 180), help="Before any fault."
)
@click.option("--ill", default=0.01, show_default=True, type=click.FloatRange(0, 0.5), help="Fall ill, a month.")
@click.option(
    "--without-profile", default=0.25, show_default=True, type=click.FloatRange(0, 1), help="Share of the devices."
)
@click.option(
    "--in-process/--through-gateway",
    default=False,
    show_default=True,
    help="Hand readings to detectors and cases by a pipe, not by MQTT and database: several times as fast.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same fleet.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures as JSON.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Keep settings, logs and data here.")
def budget(  # noqa: PLR0917 - each is an option of the command
    devices: int,
    days: float,
    healthy_days: float,
    ill: float,
    without_profile: float,
    in_process: bool,
    seed: int,
    report: Path | None,
    folder: Path | None,
) -> None:
    """Play a fleet of which few fall ill through a gateway of its own, and count which cases were true.

    A service team looks into most cases and says what it found. Nobody is ill in the first days, which are not counted.
    """
    console = Console(highlight=False)
    if healthy_days + 5 > days:
        raise click.BadParameter("there must be at least five days in which devices may fall ill", param_hint="--days")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    plan = Plan(devices, Span(today - days * DAY_S, days), healthy_days, ill, without_profile, seed)
    began = time.monotonic()
    fleet = make_fleet(plan, os.cpu_count() or 1)
    console.print(
        f"{count(devices, 'device')}, {count(plan.faults, 'fault')}; made in {time.monotonic() - began:.0f} s"
    )

    def tell(told: Told) -> None:
        if round(told.day) % _LINE_EVERY_DAYS == 0:
            console.print(
                f"  day {told.day:.0f}  {told.packets:,} packets  {count(told.cases, 'case')}  {told.said} looked into",
                style="dim",
            )

    way = rehearse if in_process else play
    result = play_in(folder, console, lambda place: way(fleet, place, tell))
    _print(console, plan, result)
    write_report(report, result.score.as_json())


def _print(console: Console, plan: Plan, result: Result) -> None:
    score = result.score
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(ratio=1)
    rows.add_row("precision of cases", f"{_percent(score.precision)}: {score.true_cases} of {score.cases}")
    rows.add_row("by week", "  ".join(score.precision_by_week))
    rows.add_row(
        "recall",
        f"{_percent(score.recall)}: {score.faults_with_case} of {score.faults} faults became a case;"
        f" {_percent(score.recall_of_found)} of the {score.faults_with_alarm} that an alarm told of",
    )
    rows.add_row("false cases", f"{score.false_cases_per_thousand_devices_per_day:.3f} per thousand devices per day")
    rows.add_row(
        "without a budget",
        f"{_percent(score.alarm_precision)} of {score.alarms} alarms true,"
        f" {score.false_alarms_per_thousand_devices_per_day:.2f} false ones per thousand devices per day",
    )
    rows.add_row("most cases a day", str(score.most_cases_a_day))
    rows.add_row("held back", ", ".join(f"{n} {verdict}" for verdict, n in score.held_back.items()) or "nothing")
    rows.add_row("case/alarm/faults", ", ".join(f"{kind} {numbers}" for kind, numbers in score.by_kind.items()))
    rows.add_row("run", f"{result.packets:,} packets of {plan.span.days:.0f} days in {result.elapsed_s:.0f} s")
    console.print(rows)


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"
