"""`careloop journey`: from the first sign to the proof that it is gone."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, cast

import click
from click.formatting import wrap_text as wrap

from crm_sync.journey.model import GROUPINGS, GroupBy, HoldOut, Journey, Leg, Span, Stage
from crm_sync.journey.queries import Period
from crm_sync.journey.report import read_journey
from devices.clock import to_datetime
from gateway.cli.options import Instant, config_option, json_option, print_json, read_settings
from gateway.database.connect import open_database
from gateway.detect.words import say_span
from gateway.settings import build_clock

DEFAULT_DAYS: Final = 30
BAR: Final = 24
WIDTH: Final = 100
"""Columns that a line has at most, however many stages there are."""
_GROUP: Final = 20
_COUNT: Final = len("999,999")

STAGES: Final[Mapping[Stage, str]] = {
    Stage.OPENED: "cases",
    Stage.TOLD: "CRM told",
    Stage.CONTACTED: "owner told",
    Stage.ACKNOWLEDGED: "taken up, by an agent",
    Stage.FIXED: "fixed, an agent says",
    Stage.CONFIRMED: "gone, telemetry says",
    Stage.FIXED_BEFORE_NOTICED: "unnoticed, fixed before",
    Stage.RELAPSED: "back, within 30 days",
}
SPANS: Final[Mapping[Span, str]] = {
    Span.SIGN_TO_ALARM: "first sign to alarm",
    Span.ALARM_TO_CASE: "alarm to case",
    Span.CASE_TO_CONTACTED: "case to contact",
    Span.CASE_TO_ACKNOWLEDGED: "case to an agent",
    Span.CASE_TO_FIXED: "case to fixed",
    Span.FIXED_TO_CONFIRMED: "fixed to proved",
    Span.SIGN_TO_CONFIRMED: "first sign to proved",
}


@click.command(short_help="From the first sign to the proof that it is gone.")
@click.option("--since", type=Instant(), help="Alarms and cases from then on; by default of the last 30 days.")
@click.option("--until", type=Instant(), help="Until just before then; by default until now.")
@click.option(
    "--by", "group_by", type=click.Choice(GROUPINGS), default="model", show_default=True, help="What to part by."
)
@config_option
@json_option
def journey(
    *, since: datetime | None, until: datetime | None, group_by: str, config: Path | None, as_json: bool
) -> None:
    """How far cases came and how long it took, what opened none and why, and whether contacting owners helped."""
    found = asyncio.run(_read(config, since, until, cast("GroupBy", group_by)))
    if as_json:
        print_json(asdict(found))
        return
    print_journey(found)


async def _read(config: Path | None, since: datetime | None, until: datetime | None, group_by: GroupBy) -> Journey:
    settings = read_settings(config)
    async with open_database(settings) as conn:
        now = to_datetime(build_clock(settings.clock).now_s())
        end = until or now
        period = Period(settings.tenant.id, since or end - timedelta(days=DEFAULT_DAYS), end)
        return await read_journey(conn, period, now, group_by)


def print_journey(found: Journey) -> None:
    """What a terminal shows of a period."""
    alarms = f"{found.alarms:,} alarm{'' if found.alarms == 1 else 's'}"
    click.echo(f"{_day(found.since)} to {_day(found.until)}: {alarms}")
    _print_reasons("without a case", found.without_case)
    click.echo()
    _print_funnel(found.whole)
    _print_reasons("owners not contacted", found.not_contacted)
    click.echo(f"{'contacts avoided':>28}  {found.contacts_avoided:>7,}")
    click.echo()
    _print_spans(found.whole)
    if len(found.groups) > 1:
        click.echo()
        _print_groups(found.groups)
    click.echo()
    click.echo(wrap(say_effect(found.hold_out), WIDTH))


def _print_reasons(what: str, reasons: Mapping[str, int]) -> None:
    if reasons:
        said = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in reasons.items())
        first, rest = f"{what:>28}  {sum(reasons.values()):>7,}  ", " " * 39
        click.echo(wrap(said, WIDTH, initial_indent=first, subsequent_indent=rest))


def _print_funnel(leg: Leg) -> None:
    most = max(leg.stages[Stage.OPENED], 1)
    for stage, name in STAGES.items():
        count = leg.stages[stage]
        bar = "█" * round(BAR * count / most)
        click.echo(f"{name:>28}  {count:>7,}  {bar}".rstrip())


def _print_spans(leg: Leg) -> None:
    click.echo(f"{'':>28}  {'half within':>14}  {'9 in 10 within':>14}  {'cases':>7}")
    for kind, name in SPANS.items():
        took = leg.spans[kind]
        click.echo(f"{name:>28}  {_span(took.median_s):>14}  {_span(took.p90_s):>14}  {took.cases:>7,}")


def _print_groups(groups: Sequence[Leg]) -> None:
    """Each group's stages, then each group's spans: how many, half within, nine in ten within."""
    heads = {stage: _short(name).rjust(_COUNT) for stage, name in STAGES.items()}
    click.echo("  ".join([" " * _GROUP, *heads.values()]))
    for leg in groups:
        counts = (f"{leg.stages[stage]:>{len(head)},}" for stage, head in heads.items())
        click.echo("  ".join([leg.name[:_GROUP].rjust(_GROUP), *counts]))
    for kind, name in SPANS.items():
        if any(leg.spans[kind].cases for leg in groups):
            click.echo(f"{name}:")
        for leg in groups:
            took = leg.spans[kind]
            if took.cases:
                times = f"{_span(took.median_s):>14}  {_span(took.p90_s):>14}  {took.cases:>7,}"
                click.echo(f"{leg.name[:28]:>28}  {times}")


def say_effect(found: HoldOut) -> str:
    """What the comparison with the owners held out shows, in a sentence or two."""
    days = found.within_days
    what = "a case" if found.compared == "case" else "contact"
    if found.effect is None or found.low is None or found.high is None:
        return f"Effect of {what}: not known; that takes owners held out for {days} days (crm.outreach.hold_out)."
    sides = (
        f"Gone within {days} days: {found.contacted.mean:.0%} of {found.contacted.outcomes:.0f} owners with {what},"
        f" {found.held_out.mean:.0%} of {found.held_out.outcomes:.0f} held out"
    )
    if found.verdict == "too_few":
        return f"Effect of {what}: too few to tell; that takes {found.fewest} owners on each side. {sides}."
    verdict = "" if found.is_shown else "; too few to tell it from chance"
    return f"Effect of {what}: {found.effect:+.0%} ({found.low:+.0%} to {found.high:+.0%}{verdict}). {sides}."


def _short(name: str) -> str:
    """A stage's name as it fits above a column."""
    return name.partition(",")[0]


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else say_span(seconds)


def _day(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
