"""`careloop deliveries`: what was told to CRMs, what they answered, and telling them again."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import cast, get_args

import click
from rich.console import Console

from crm_sync.delivery.queries import Connection
from crm_sync.delivery.records import (
    DeliveryDetail,
    DeliveryFilter,
    DeliveryPage,
    DeliverySummary,
    EndpointStatus,
    MessageState,
    get_delivery,
    list_deliveries,
    list_endpoints,
)
from crm_sync.delivery.replay import Replayed, replay, resume_endpoint
from devices.errors import CareloopError
from gateway.cli.noted import note
from gateway.cli.options import Instant, config_option, json_option, print_json, read_settings
from gateway.database.connect import open_database

PAGE = 1000


_endpoint_option = click.option("--endpoint", help="Only messages to this endpoint.")
_case_option = click.option("--case", "case_id", help="Only messages about this case.")
_type_option = click.option("--type", "kind", help="Only messages of this type, such as case.opened.")
_since_option = click.option("--since", type=Instant(), help="Only messages written at or after this instant.")
_until_option = click.option("--until", type=Instant(), help="Only messages written before this instant.")


@click.group(short_help="Messages to CRMs, and sending them again.")
def deliveries() -> None:
    """Messages to CRMs: how far they have come, what was answered, and sending them again."""


@deliveries.command("list", short_help="List messages, and endpoints that are not well.")
@click.option("--state", type=click.Choice(get_args(MessageState)), help="Only messages in this state.")
@_endpoint_option
@_case_option
@_type_option
@_since_option
@_until_option
@click.option("--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, help="At most this many.")
@click.option("--cursor", type=int, help="Go on below this number: `next` of the page before.")
@config_option
@json_option
def list_(
    *,
    state: str | None,
    endpoint: str | None,
    case_id: str | None,
    kind: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    cursor: int | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """List messages, the newest first, and endpoints that are not well."""
    which = DeliveryFilter(cast("MessageState | None", state), endpoint, case_id, kind, since, until)

    async def read() -> tuple[DeliveryPage, list[EndpointStatus]]:
        async with _outbox(config) as (conn, tenant_id):
            page = await list_deliveries(conn, tenant_id, which, cursor=cursor, limit=limit)
            return page, await list_endpoints(conn, tenant_id)

    page, endpoints = asyncio.run(read())
    if as_json:
        print_json({**asdict(page), "endpoints": [asdict(each) for each in endpoints]})
    else:
        _print_page(page, endpoints)


@deliveries.command(short_help="Show one message and every attempt to deliver it.")
@click.argument("message_id", metavar="ID")
@config_option
@json_option
def show(message_id: str, config: Path | None, *, as_json: bool) -> None:
    """Show one message, every attempt to deliver it, and what was answered."""

    async def read() -> DeliveryDetail | None:
        async with _outbox(config) as (conn, tenant_id):
            return await get_delivery(conn, tenant_id, message_id)

    detail = asyncio.run(read())
    if detail is None:
        raise CareloopError(
            "unknown_message", f"there is no message {message_id}; `careloop deliveries list` names all"
        )
    if as_json:
        print_json({**asdict(detail), "body": json.loads(detail.body)})
    else:
        _print_detail(detail)


@deliveries.command("replay", short_help="Send messages again, under their old ids.")
@click.argument("message_ids", metavar="[ID]...", nargs=-1)
@click.option("--dead", is_flag=True, help="Every dead letter, or those that the options below pick.")
@_endpoint_option
@_case_option
@_type_option
@_since_option
@_until_option
@config_option
@json_option
def replay_(
    message_ids: tuple[str, ...],
    *,
    dead: bool,
    endpoint: str | None,
    case_id: str | None,
    kind: str | None,
    since: datetime | None,
    until: datetime | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Send messages again, under their old ids, so that a receiver that has one already recognises it.

    A pending message is tried at once instead of when its schedule says. The contact policy is asked again.
    """
    if bool(message_ids) == dead:
        raise click.UsageError("name messages, or say --dead for all dead letters, but not both")
    which = DeliveryFilter("dead", endpoint, case_id, kind, since, until)
    if message_ids and which != DeliveryFilter("dead"):
        raise click.UsageError("--endpoint, --case, --type, --since and --until go with --dead")

    async def work() -> dict[str, Replayed]:
        async with _outbox(config) as (conn, tenant_id):
            wanted = message_ids or await _all_ids(conn, tenant_id, which)
            became = {message_id: await replay(conn, tenant_id, message_id) for message_id in wanted}
            for message_id, what in became.items():
                if what is not Replayed.UNKNOWN:
                    await note(conn, tenant_id, "delivery.replay", message_id, became=str(what))
            return became

    done = asyncio.run(work())
    if as_json:
        print_json(done)
    else:
        click.echo("\n".join(f"{message_id}  {_WORDS[what]}" for message_id, what in done.items()) or "nothing to do")
    if not all(what in {Replayed.AGAIN, Replayed.SOONER} for what in done.values()):
        raise SystemExit(1)


_WORDS = {
    Replayed.AGAIN: "will be sent again",
    Replayed.SOONER: "was pending, and will be tried at once",
    Replayed.PARKED: "waits behind a dead message of its case: send that one again first",
    Replayed.UNKNOWN: "there is no such message",
}


@deliveries.command(short_help="Deliver again to a disabled or paused endpoint.")
@click.argument("endpoint")
@config_option
def resume(endpoint: str, config: Path | None) -> None:
    """Deliver again to an endpoint that was disabled, because it was gone or failed for days, or that is paused."""

    async def work() -> bool:
        async with _outbox(config) as (conn, tenant_id):
            resumed = await resume_endpoint(conn, tenant_id, endpoint)
            if resumed:
                await note(conn, tenant_id, "endpoint.resume", endpoint, resumed=True)
            return resumed

    if not asyncio.run(work()):
        raise CareloopError("not_disabled", f"{endpoint} has never failed, or there is no such endpoint")
    click.echo(f"{endpoint} is delivered to again")


@asynccontextmanager
async def _outbox(config: Path | None) -> AsyncGenerator[tuple[Connection, str]]:
    """A connection, and the tenant whose messages these are."""
    settings = read_settings(config)
    async with open_database(settings) as conn:
        yield conn, settings.tenant.id


async def _all_ids(conn: Connection, tenant_id: str, which: DeliveryFilter) -> Sequence[str]:
    """Every message of a filter, the oldest first: within a case they are to arrive in their old order."""
    ids: list[str] = []
    cursor: int | None = None
    while True:
        page = await list_deliveries(conn, tenant_id, which, cursor=cursor, limit=PAGE)
        ids += [each.message_id for each in page.items]
        cursor = page.next
        if cursor is None:
            return ids[::-1]


def _print_page(page: DeliveryPage, endpoints: Sequence[EndpointStatus]) -> None:
    rows = [("message", "written", "endpoint", "case", "type", "tries", "state")]
    for each in page.items:
        written = each.created_at.astimezone(UTC).isoformat(timespec="seconds")
        tries = str(each.attempts)
        rows.append((each.message_id, written, each.endpoint, each.case_id, each.type, tries, _state_of(each)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if page.items else [("no messages",)]:  # whole ids, however narrow the terminal is
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip())
    if page.next is not None:
        click.echo(f"more: --cursor {page.next}")
    for endpoint in endpoints:
        for words in _complaints(endpoint):
            click.echo(f"{click.style(endpoint.endpoint, 'red', bold=True)}: {words}")


def _state_of(delivery: DeliverySummary) -> str:
    if delivery.state != "pending":
        return f"{delivery.state} ({delivery.reason})" if delivery.reason else delivery.state
    if delivery.stream == "parked":
        return "pending, behind a dead one"
    if delivery.endpoint_disabled:
        return "pending, endpoint disabled"
    return f"pending (last: {delivery.last_code})" if delivery.last_code else "pending"


def _complaints(endpoint: EndpointStatus) -> list[str]:
    words: list[str] = []
    if endpoint.disabled_at is not None:
        words.append(
            f"disabled since {endpoint.disabled_at.isoformat(timespec='seconds')} ({endpoint.disabled_reason}); "
            f"`careloop deliveries resume {endpoint.endpoint}` delivers again"
        )
    elif endpoint.not_let_in_since is not None:
        since = endpoint.not_let_in_since.isoformat(timespec="seconds")
        words.append(
            f"does not let careloop in since {since}: its token, user or secret is wrong; nothing is given up, and "
            f"`careloop deliveries resume {endpoint.endpoint}` tries at once"
        )
    elif endpoint.failing_since is not None:
        words.append(f"nothing has succeeded since {endpoint.failing_since.isoformat(timespec='seconds')}")
    if endpoint.parked:
        words.append(
            f"{endpoint.parked} cases are parked behind a dead message; `careloop deliveries replay` revives them"
        )
    return words


def _print_detail(detail: DeliveryDetail) -> None:
    console = Console(highlight=False)
    for name, value in asdict(detail.summary).items():
        if value is not None:
            console.print(f"{name:>18}  {value}", soft_wrap=True, markup=False)
    if detail.external_id is not None:
        console.print(f"{'external_id':>18}  {detail.external_id}", markup=False)
    for number, attempt in enumerate(detail.attempts, 1):
        took = "" if attempt.duration_s is None else f" in {attempt.duration_s:.2f} s"
        result = attempt.result or "under way"
        console.print(f"\nattempt {number}  {attempt.started_at.isoformat(timespec='seconds')}", markup=False)
        console.print(f"{result}  {attempt.code or ''}{took}  {attempt.detail or ''}", soft_wrap=True, markup=False)
        if attempt.request:
            console.print(attempt.request, soft_wrap=True, markup=False)
        if attempt.answer:
            console.print(attempt.answer, soft_wrap=True, markup=False)
    console.print(f"\n{detail.body}", soft_wrap=True, markup=False)
