"""`careloop watches`: how far each watch is trusted, and a person's word on that."""

import asyncio
from dataclasses import asdict
from datetime import UTC
from pathlib import Path

import click

from crm_sync.trust.precision import Precision
from crm_sync.trust.queries import ModeSet, WatchKey, find_episode, set_mode
from crm_sync.trust.rules import TrustRules
from crm_sync.trust.shown import (
    AuditView,
    BudgetView,
    CustomerView,
    WatchView,
    audit_of,
    customers_of,
    list_watches,
    show_budget,
)
from crm_sync.trust.verdicts import Said, Truth, say
from devices.errors import CareloopError
from devices.profiles.model import WatchMode
from gateway.cli.at_database import AtDatabase, at_database
from gateway.cli.noted import note, user_name
from gateway.cli.options import config_option, json_option, print_json

_by_option = click.option("--by", default=user_name, show_default="you", help="Who says so; kept.")


@click.group(short_help="How far each watch is trusted.")
def watches() -> None:
    """How far each watch is trusted: its mode, how often it was right, its bar, and the budget of false cases."""


@watches.command("list", short_help="List watches with mode and precision, and the budget.")
@click.option("--model", help="Only watches on this product model.")
@config_option
@json_option
def list_(model: str | None, config: Path | None, *, as_json: bool) -> None:
    """List every watch that is followed, with its mode and how often it was right, and the budget."""

    async def read() -> tuple[list[WatchView], BudgetView]:
        async with at_database(config) as at:
            found = await list_watches(at.conn, at.tenant_id, _rules(at), at.now_s, model=model)
            return found, await show_budget(at.conn, at.tenant_id, _rules(at), at.now_s)

    found, budget = asyncio.run(read())
    if as_json:
        print_json({"watches": [asdict(each) for each in found], "budget": asdict(budget)})
    else:
        _print_list(found, budget)


@watches.command(short_help="Show one watch, and who set its mode when and why.")
@click.argument("model")
@click.argument("watch")
@config_option
@json_option
def show(model: str, watch: str, config: Path | None, *, as_json: bool) -> None:
    """Show one watch on a product MODEL, and who or what set its mode, when and why."""

    async def read() -> tuple[list[WatchView], list[AuditView], list[CustomerView]]:
        async with at_database(config) as at:
            found = await list_watches(at.conn, at.tenant_id, _rules(at), at.now_s, model=model, watch=watch)
            key = WatchKey(at.tenant_id, model, watch)
            return found, await audit_of(at.conn, key), await customers_of(at.conn, key)

    found, audit, customers = asyncio.run(read())
    if not found:
        raise _unknown(model, watch)
    if as_json:
        said = [asdict(each) for each in customers]
        print_json({**asdict(found[0]), "audit": [asdict(each) for each in audit], "customers_said": said})
    else:
        _print_detail(found[0], audit, customers)


@watches.command(short_help="Put a watch into shadow, approve or auto.")
@click.argument("model")
@click.argument("watch")
@click.argument("mode_", metavar="MODE", type=click.Choice([str(each) for each in WatchMode]))
@click.option("--why", required=True, help="Kept in the audit trail.")
@click.option("--hold", is_flag=True, help="No rule changes it, until you set a mode without this.")
@_by_option
@config_option
def mode(model: str, watch: str, mode_: str, *, why: str, hold: bool, by: str, config: Path | None) -> None:
    """Put a WATCH on a product MODEL into a mode.

    shadow: its alarms are recorded, and nothing else. approve: cases are proposed, and wait for a person. auto: cases
    open.
    """
    change = ModeSet(WatchMode(mode_), f"person:{by}", why, held=hold)

    async def work() -> bool:
        async with at_database(config) as at:
            is_known = await set_mode(at.conn, WatchKey(at.tenant_id, model, watch), change, at.now_s)
            if is_known:
                told = {"mode": mode_, "why": why, "held": hold, "by": by}
                await note(at.conn, at.tenant_id, "watch.mode", f"{model}/{watch}", **told)
            return is_known

    if not asyncio.run(work()):
        raise _unknown(model, watch)
    click.echo(f"{watch} on {model}: {mode_}{', held' if hold else ''}")


@watches.command(short_help="Say whether an alarm was true.")
@click.argument("alarm_id")
@click.argument("verdict", type=click.Choice(["true", "false", "unclear"]))
@click.option("--customer-said", default="", metavar="TEXT", help="What the customer said of it.")
@_by_option
@config_option
def judge(alarm_id: str, verdict: Truth, *, customer_said: str, by: str, config: Path | None) -> None:
    """Say whether an alarm was true, whatever its watch's mode: that is how a watch in shadow earns its way."""

    async def work() -> bool:
        async with at_database(config) as at:
            if await find_episode(at.conn, alarm_id) is None:
                return False
            word = Said(at.tenant_id, verdict, "person", f"person:{by}", alarm_id=alarm_id, customer_said=customer_said)
            await say(at.conn, word, at.now_s)
            await note(at.conn, at.tenant_id, "alarm.verdict", alarm_id, verdict=verdict, by=by)
            return True

    if not asyncio.run(work()):
        raise CareloopError("unknown_alarm", f"there is no alarm {alarm_id}")
    click.echo(f"{alarm_id}: {verdict}")


def _rules(at: AtDatabase) -> TrustRules:
    return TrustRules(at.settings.budget, at.settings.trust)


def _unknown(model: str, watch: str) -> CareloopError:
    return CareloopError("unknown_watch", f"{watch} on {model} is not followed; `careloop watches list` names all")


def _print_list(found: list[WatchView], budget: BudgetView) -> None:
    rows = [("model", "watch", "mode", "right", "of", "precision", "bar", "alarms", "devices")]
    for each in found:
        right, outcomes = f"{each.precision.right:g}", f"{each.precision.outcomes:g}"
        held = f"{each.mode}{' (held)' if each.held else ''}"
        numbers = (f"{each.bar:.2f}", f"{each.episodes:.0f}", str(each.devices))
        rows.append((each.model, each.watch, held, right, outcomes, _say_precision(each.precision), *numbers))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if found else [("no watch is followed yet",)]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip())
    if not budget.enabled:
        click.echo("budget: off")
        return
    click.echo(
        f"budget: {budget.expected_false_cases_per_day:.2g} expected false cases a day for {budget.devices} devices;"
        f" in hand {budget.allowance:.1f} by the figure, {budget.wealth:.1f} by the share;"
        f" {budget.opened_today} of {budget.cases_per_day} cases today; {budget.waiting} alarms wait for room"
    )


def _say_precision(precision: Precision) -> str:
    return (
        "unknown" if precision.mean is None else f"{precision.mean:.0%} ({precision.low:.0%} to {precision.high:.0%})"
    )


def _print_detail(view: WatchView, audit: list[AuditView], customers: list[CustomerView]) -> None:
    click.echo(f"{view.watch} on {view.model}: {view.mode}{', held by a person' if view.held else ''}")
    told = f"{view.precision.outcomes:g} outcome{'' if view.precision.outcomes == 1 else 's'}"
    click.echo(f"  precision      {_say_precision(view.precision)}, of {told}")
    click.echo(f"  needed belief  {view.needed_belief:.2f}, of which its bar is {view.bar:.2f}")
    click.echo(f"  seen           {view.episodes:.0f} alarms in {view.device_days:.0f} device-days")
    for each in audit:
        start = "" if each.from_mode is None else f"{each.from_mode} → "
        at = each.at.astimezone(UTC).isoformat(timespec="seconds")
        click.echo(f"  {at}  {start}{each.to_mode}{' (held)' if each.held else ''}  {each.actor}: {each.why}")
    for each in customers:
        at = each.said_at.astimezone(UTC).isoformat(timespec="seconds")
        click.echo(f"  {at}  the customer said ({each.verdict}, {each.actor}): {each.customer_said}")
