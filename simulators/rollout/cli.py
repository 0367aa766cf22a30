"""`careloop simulate rollout`: is a bad firmware on thousands of devices one major case?"""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from simulators.fleet.habits import DAY_S, Span
from simulators.rollout.fleet import Plan, make_fleet
from simulators.rollout.run import Score, play
from simulators.stage import play_in, write_report
from simulators.words import count

_LINE_EVERY_DAYS = 4


@click.command(short_help="A bad firmware on many devices: is it one case?")
@click.option("--devices", default=1000, show_default=True, type=click.IntRange(100, 50_000), help="How many live.")
@click.option("--days", default=18.0, show_default=True, type=click.FloatRange(4, 120), help="For how many days.")
@click.option("--update-day", default=13.0, show_default=True, type=click.FloatRange(1), help="The rollout begins.")
@click.option("--updated", default=0.6, show_default=True, type=click.FloatRange(0, 1), help="Share that gets it.")
@click.option("--broken", default=0.5, show_default=True, type=click.FloatRange(0, 1), help="Of those, broken by it.")
@click.option("--holiday-day", type=click.FloatRange(1), help="Most devices are left alone for three days from here.")
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same fleet.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures as JSON.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Keep settings, logs and data here.")
def rollout(  # noqa: PLR0917 - each is an option of the command
    devices: int,
    days: float,
    update_day: float,
    updated: float,
    broken: float,
    holiday_day: float | None,
    seed: int,
    report: Path | None,
    folder: Path | None,
) -> None:
    """Play a fleet of which one model gets a firmware that stops its use on some devices, through a gateway of its own.

    It should come to one incident, one major case, and at most a handful of cases from before that was known.
    """
    console = Console(highlight=False)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    plan = Plan(
        devices=devices,
        span=Span(today - days * DAY_S, days),
        seed=seed,
        update_day=update_day,
        updated=updated,
        broken=broken,
        holiday_day=holiday_day,
    )
    began = time.monotonic()
    fleet = make_fleet(plan, os.cpu_count() or 1)
    console.print(f"{count(devices, 'device')}; made in {time.monotonic() - began:.0f} s")

    def tell(day: float, packets: int) -> None:
        if round(day) % _LINE_EVERY_DAYS == 0:
            console.print(f"  day {day:.0f}: {packets:,} packets", style="dim")

    score = play_in(folder, console, lambda place: play(fleet, place, tell))
    _print(console, score)
    write_report(report, score.as_json())


def _print(console: Console, score: Score) -> None:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(ratio=1)
    rows.add_row(
        "truth",
        f"{score.updated} of {score.devices} devices updated, {score.broken} broken by it; {score.away} on holiday; "
        f"{score.ill} ill by themselves",
    )
    for each in score.incidents:
        rows.add_row(
            "incident", f"{each['title']}: {each['devices']} devices, {each['alarms']} alarms, {each['state']}"
        )
        rows.add_row("", str(each["says"]))
    found = "" if score.found_after_h is None else f", found {score.found_after_h:.1f} h after the first update"
    rows.add_row("cases", f"{count(score.major_cases, 'major case')}{found}; {score.children} children of them")
    rows.add_row(
        "",
        f"{score.absorbed} of {score.alarms} alarms opened none; {score.cases_of_members} others for broken devices or "
        f"holidays; {score.other_cases} of other devices",
    )
    rows.add_row("CRM", f"{score.messages} messages")
    rows.add_row("speed", f"{score.packets:,} packets; {score.elapsed_s:.0f} s in all")
    console.print(rows)
