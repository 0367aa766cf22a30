"""`careloop explain`: why something was done, or was not."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Final, TypeVar

import click

from crm_sync.explain import Story, explain_alarm, explain_case, explain_owner
from crm_sync.journey.episode import Milestone, Reached, read_episode
from crm_sync.owners.standing import standing_of
from crm_sync.policy.shown import list_decisions, steps_of_owner
from crm_sync.queries import Connection, find_case_id, get_alarm, get_case
from devices.errors import CareloopError
from gateway.cli.options import config_option, json_option, print_json, read_settings
from gateway.database.connect import open_database
from gateway.detect.words import say_span
from gateway.settings import build_clock

MOST: Final = 1000
MILESTONES: Final[Mapping[Milestone, str]] = {
    "first_sign": "first sign, device time",
    "alarm": "alarm",
    "case": "case",
    "contacted": "owner contacted",
    "acknowledged": "taken up by an agent",
    "fixed": "fixed, an agent says",
    "confirmed": "gone, telemetry says",
}

Told = TypeVar("Told")


@click.group(short_help="Why something was done, or was not.")
def explain() -> None:
    """Why something was done, or was not, from what is stored."""


@explain.command(short_help="How a case came about, and who knows of it.")
@click.argument("case_id")
@config_option
@json_option
def case(case_id: str, config: Path | None, *, as_json: bool) -> None:
    """How the case CASE_ID, or the one of this number, came about, what was decided on the way, and who knows of it."""

    async def ask(conn: Connection, tenant_id: str) -> tuple[Story, tuple[Reached, ...]]:
        view = await get_case(conn, tenant_id, await find_case_id(conn, tenant_id, case_id))
        if view is None:
            raise CareloopError("unknown_case", f"there is no case {case_id}; the inbox lists them")
        return explain_case(view), await read_episode(conn, tenant_id, view.case.case_id)

    story, stages = _ask(config, ask)
    if as_json:
        print_json(asdict(story) | {"stages": [asdict(each) for each in stages]})
        return
    click.echo(story.answer)
    for each in stages:
        click.echo(f"  {MILESTONES[each.milestone]:<23}  {_reached(each)}")
    click.echo()
    _print_lines(story)


def _reached(stage: Reached) -> str:
    if stage.at is None:
        return "not yet"
    after = "" if not stage.after_s else f"  {say_span(stage.after_s)} after the first sign"
    return f"{stage.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}{after}"


@explain.command(short_help="What became of an alarm.")
@click.argument("alarm_id")
@config_option
@json_option
def alarm(alarm_id: str, config: Path | None, *, as_json: bool) -> None:
    """What became of the alarm ALARM_ID, and why it has a case or none."""

    async def ask(conn: Connection, tenant_id: str) -> Story:
        found = await get_alarm(conn, tenant_id, alarm_id)
        if found is None:
            raise CareloopError("unknown_alarm", f"there is no alarm {alarm_id}")
        return explain_alarm(*found)

    _print(_ask(config, ask), as_json=as_json)


@explain.command(short_help="Why a person was contacted, or was not.")
@click.argument("owner_ref")
@config_option
@json_option
def owner(owner_ref: str, config: Path | None, *, as_json: bool) -> None:
    """Why the person whom the CRM calls OWNER_REF was contacted, or was not."""

    async def ask(conn: Connection, tenant_id: str) -> Story:
        decisions = await list_decisions(conn, tenant_id, owner_ref=owner_ref, limit=MOST)
        steps = await steps_of_owner(conn, tenant_id, owner_ref, MOST)
        standing = await standing_of(conn, tenant_id, owner_ref, build_clock(read_settings(config).clock).now_s())
        return explain_owner(owner_ref, decisions, steps, standing)

    _print(_ask(config, ask), as_json=as_json)


def _ask(config: Path | None, ask: Callable[[Connection, str], Awaitable[Told]]) -> Told:
    async def work() -> Told:
        settings = read_settings(config)
        async with open_database(settings) as conn:
            return await ask(conn, settings.tenant.id)

    return asyncio.run(work())


def _print(story: Story, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(story))
        return
    click.echo(story.answer)
    _print_lines(story)


def _print_lines(story: Story) -> None:
    for line in story.lines:
        click.echo(f"  {line.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}  {line.says}")
