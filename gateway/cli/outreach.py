"""`careloop outreach`: a person's yes to a contact, switches that stop contacts, and owners who are left alone."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from crm_sync import stopping
from crm_sync.cases import step_approvals, step_queries
from crm_sync.owners.holding import hold as put_hold
from crm_sync.owners.standing import holds_now
from crm_sync.owners.told import HoldKind, LeaveAlone
from crm_sync.policy import switches
from crm_sync.policy.switches import EVERY, Scope, Switch
from devices.clock import to_datetime
from devices.errors import CareloopError
from devices.registry.consent import owner_exists
from gateway.cli.at_database import AtDatabase, at_database
from gateway.cli.noted import user_name
from gateway.cli.options import Instant, config_option, json_option, print_json
from gateway.people.audit import record_command

Result = TypeVar("Result")

_by_option = click.option("--by", default=user_name, show_default="you", help="Who says so; kept.")
_why_option = click.option("--why", required=True, help="Kept, and told to whoever asks.")
_kind_argument = click.argument("kind", type=click.Choice(["do_not_contact", "legal_hold", "complaint"]))


@click.group(short_help="Contacts that wait for a yes, and what stops them.")
def outreach() -> None:
    """Contacts of owners: those that wait for a person's yes, switches that stop them, owners who are left alone."""


@outreach.command(short_help="List contacts that wait for a person's yes.")
@config_option
@json_option
def waiting(config: Path | None, *, as_json: bool) -> None:
    """List the contacts that wait for a person's yes, those first that will not wait long."""
    found = _run(config, lambda at: step_queries.proposed_steps(at.conn, at.tenant_id, 1000))
    if as_json:
        print_json([asdict(step) for step in found])
        return
    for step in found:
        until = "" if step.expires_at_s is None else f"until {_instant(to_datetime(step.expires_at_s))}"
        more = f"  wants {step.people} people" if step.people > 1 else ""
        said = f"; {step.first_yes_by} has said yes" if step.first_yes_by else ""
        click.echo(
            f"{step.step_id}  {step.case_id}  {step.owner_ref}  {step.channel}: {step.action}  {until}{more}{said}"
        )
    if not found:
        click.echo("nothing waits")


@outreach.command(short_help="Say yes to contacts.")
@click.argument("step_ids", nargs=-1, required=True)
@_by_option
@config_option
def approve(step_ids: tuple[str, ...], *, by: str, config: Path | None) -> None:
    """Say yes to contacts; they go as soon as every other gate lets them.

    Not to those that want two people: these sign in at the console.
    """
    for step_id in step_ids:

        async def work(at: AtDatabase, each: str = step_id) -> None:
            await step_approvals.approve(at.conn, at.tenant_id, each, by, at.now_s)
            await record_command(at.conn, at.tenant_id, "outreach.approve", each, by=by)

        _run(config, work)
        click.echo(f"{step_id}: approved")


@outreach.command(short_help="Say no to contacts.")
@click.argument("step_ids", nargs=-1, required=True)
@click.option("--why", default="", help="Kept.")
@_by_option
@config_option
def decline(step_ids: tuple[str, ...], *, why: str, by: str, config: Path | None) -> None:
    """Say no to contacts: the owners are not contacted."""
    for step_id in step_ids:

        async def work(at: AtDatabase, each: str = step_id) -> None:
            crm = at.settings.crm
            await step_approvals.decline(at.conn, crm, at.tenant_id, each, by, why=why, now_s=at.now_s)
            await record_command(at.conn, at.tenant_id, "outreach.decline", each, by=by, why=why)

        _run(config, work)
        click.echo(f"{step_id}: declined")


@outreach.command(short_help="List what is stopped, and owners who are left alone.")
@config_option
@json_option
def stopped(config: Path | None, *, as_json: bool) -> None:
    """List the kill switches that are thrown, and the owners who are to be left alone."""

    async def work(at: AtDatabase) -> tuple[list[Switch], list[dict[str, object]]]:
        thrown = await switches.thrown_now(at.conn, at.tenant_id)
        return thrown, [asdict(each) for each in await holds_now(at.conn, at.tenant_id, at.now_s)]

    thrown, holds = _run(config, work)
    if as_json:
        print_json({"switches": [asdict(each) for each in thrown], "holds": holds})
        return
    for switch in thrown:
        what = "everything" if switch.scope == "tenant" else f"{switch.scope} {switch.name} on {switch.model}"
        click.echo(f"{what}: stopped by {switch.thrown_by} since {_instant(switch.since)}: {switch.why}")
    for each in holds:
        click.echo(f"owner {each['owner_ref']}: {each['kind']}, {each['actor']}: {each['why']}")
    if not thrown and not holds:
        click.echo("nothing is stopped")


_scope_options = (
    click.option("--watch", help="Only what this watch raises."),
    click.option("--problem", help="Only what is done about this problem: its playbook."),
    click.option("--model", default=EVERY, help="Of the watch or problem, on this product model only."),
)


def _scoped(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_scope_options):
        command = option(command)
    return command


@outreach.command(short_help="Stop everything, a watch, or a problem.")
@_scoped
@_why_option
@_by_option
@config_option
def stop(watch: str | None, problem: str | None, model: str, *, why: str, by: str, config: Path | None) -> None:
    """Throw a kill switch: no case opens, and no owner is contacted. What CRMs know already is kept true."""
    scope, name = _scope(watch, problem, model)

    async def work(at: AtDatabase) -> bool:
        switch = Switch(scope, model, name, f"person:{by}", why, to_datetime(at.now_s))
        is_new = await stopping.stop(at.conn, at.tenant_id, switch)
        if is_new:
            told = {"scope": scope, "model": model, "why": why, "by": by}
            await record_command(at.conn, at.tenant_id, "outreach.stop", name, **told)
        return is_new

    if not _run(config, work):
        raise CareloopError("stopped_already", "it is stopped; `careloop outreach stopped` lists everything")
    click.echo("stopped")


@outreach.command(short_help="Let go on what was stopped.")
@_scoped
@_by_option
@config_option
def resume(watch: str | None, problem: str | None, model: str, *, by: str, config: Path | None) -> None:
    """Release a kill switch; alarms that go on are looked at again when they say more of themselves."""
    scope, name = _scope(watch, problem, model)

    async def work(at: AtDatabase) -> bool:
        what = (scope, model, name)
        was_stopped = await switches.release(at.conn, at.tenant_id, what, f"person:{by}", at.now_s)
        if was_stopped:
            await record_command(at.conn, at.tenant_id, "outreach.resume", name, scope=scope, model=model, by=by)
        return was_stopped

    if not _run(config, work):
        raise CareloopError("not_stopped", "it is not stopped; `careloop outreach stopped` lists what is")
    click.echo("goes on")


@outreach.command(short_help="Leave an owner alone.")
@click.argument("owner_ref")
@_kind_argument
@click.option("--until", type=Instant(), help="Until then; else until it is released.")
@_why_option
@_by_option
@config_option
def hold(owner_ref: str, kind: HoldKind, until: datetime | None, *, why: str, by: str, config: Path | None) -> None:
    """Leave an owner alone: no step that they would see is sent."""
    until_s = None if until is None else until.timestamp()
    news = LeaveAlone(owner_ref, kind, is_on=True, until_s=until_s, why=why)
    click.echo(f"{owner_ref}: {kind}" if _put(config, news, by) else f"{owner_ref}: {kind} already")


@outreach.command(short_help="Leave an owner alone no longer.")
@click.argument("owner_ref")
@_kind_argument
@_by_option
@config_option
def release(owner_ref: str, kind: HoldKind, *, by: str, config: Path | None) -> None:
    """Leave an owner alone no longer for this reason."""
    if not _put(config, LeaveAlone(owner_ref, kind, is_on=False), by):
        raise CareloopError("not_held", f"{owner_ref} is not held as {kind}")
    click.echo(f"{owner_ref}: {kind} released")


def _put(config: Path | None, news: LeaveAlone, by: str) -> bool:
    async def work(at: AtDatabase) -> bool:
        if not await owner_exists(at.conn, at.tenant_id, news.owner_ref):
            raise CareloopError("unknown_owner", f"the registry knows no owner {news.owner_ref}")
        is_news = await put_hold(at.conn, at.tenant_id, news, f"person:{by}", at.now_s)
        if is_news:
            what = "owner.hold" if news.is_on else "owner.release"
            await record_command(at.conn, at.tenant_id, what, news.owner_ref, kind=news.kind, why=news.why, by=by)
        return is_news

    return _run(config, work)


def _scope(watch: str | None, problem: str | None, model: str) -> tuple[Scope, str]:
    if watch is not None and problem is not None:
        raise click.UsageError("--watch or --problem, not both")
    if watch is None and problem is None and model != EVERY:
        raise click.UsageError("--model goes with --watch or --problem")
    if watch is not None:
        return "watch", watch
    return ("tenant", EVERY) if problem is None else ("problem", problem)


def _run(config: Path | None, work: Callable[[AtDatabase], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with at_database(config) as at, at.conn.transaction():
            return await work(at)

    return asyncio.run(run())


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
