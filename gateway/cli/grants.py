"""`careloop grants`: what owners allow, with its history, and as consent records that other systems read."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from crm_sync.owners.consents import Word, import_records, record_word, withdraw_all
from devices.errors import ConfigError, Fault
from devices.registry.consent import ConsentRecord, owners_with_consents, read_consents
from devices.registry.dpv import Controller, write_record
from devices.registry.dpv_reading import read_document
from devices.registry.records import GrantRecord
from gateway.cli.at_database import AtDatabase, at_database
from gateway.cli.noted import user_name
from gateway.cli.options import Instant, config_option, json_option, print_json
from gateway.people.audit import record_command

_by_option = click.option("--by", default=user_name, show_default="you", help="Who enters it; kept.")
_source_option = click.option("--source", help="Where the owner said so: app, call, letter.")
_method_option = click.option("--method", help="How: a box ticked, a signed form, a spoken word.")


@click.group(short_help="What owners allow, and since when.")
def grants() -> None:
    """What owners allow: the last word counts, and every word is kept."""


@grants.command("list", short_help="An owner's last word on everything.")
@click.argument("owner_ref")
@config_option
@json_option
def list_(owner_ref: str, config: Path | None, *, as_json: bool) -> None:
    """An owner's last word on each purpose and recipient."""
    records, at = asyncio.run(_read(config, owner_ref))
    shown = [_line(record, at) for record in records]
    if as_json:
        print_json(shown)
        return
    for line in shown or [{"purpose": f"{owner_ref} has said nothing", "recipient": "", "state": "", "since": ""}]:
        click.echo("  ".join(str(line[name]) for name in ("purpose", "recipient", "state", "since")).rstrip())


@grants.command(short_help="Every word that an owner ever said.")
@click.argument("owner_ref")
@click.option("--purpose", help="Only this one.")
@click.option("--recipient", help="Only this one.")
@config_option
@json_option
def show(owner_ref: str, purpose: str | None, recipient: str | None, config: Path | None, *, as_json: bool) -> None:
    """Every word of an owner in its order, with how, where and under which notice it was said."""
    records, at = asyncio.run(_read(config, owner_ref, purpose, recipient))
    if as_json:
        print_json([_line(record, at) | {"events": [_event(record, n) for n in range(len(record.events))]}
                    for record in records])  # fmt: skip
        return
    for record in records:
        line = _line(record, at)
        click.echo(f"{record.purpose} to {record.recipient}: {line['state']}  (record {record.record_id})")
        for number in range(len(record.events)):
            told = {name: value for name, value in _event(record, number).items() if value not in {None, "", False}}
            click.echo("  " + "  ".join(f"{name}={value}" for name, value in told.items()))


@grants.command(short_help="Enter what an owner said.")
@click.argument("owner_ref")
@click.argument("purpose")
@click.argument("recipient")
@click.argument("state", type=click.Choice(["given", "refused"]))
@click.option("--basis", help="Lawful basis: consent, contract, legitimate_interest.")
@_source_option
@_method_option
@click.option("--notice", help="Which privacy notice was shown: its address or title.")
@click.option("--notice-version", help="Its version.")
@click.option("--notice-language", help="Its language.")
@click.option("--data", "personal_data", multiple=True, help="Category of personal data, such as pd:EmailAddress.")
@click.option("--until", type=Instant(), help="When it runs out.")
@_by_option
@config_option
def record(owner_ref: str, purpose: str, recipient: str, by: str, config: Path | None, **said: Any) -> None:
    """Enter what an owner said about a PURPOSE and a RECIPIENT; it counts from now on.

    PURPOSE: service, improvement, marketing, share:PARTNER. RECIPIENT: crm, an endpoint, or email, sms, push, phone.
    """
    _check(purpose, recipient)
    word = Word(owner_ref, purpose, recipient, recorded_by=f"person:{by}", **said)
    kept = asyncio.run(_say(config, word))
    click.echo(f"{owner_ref}, {purpose} to {recipient}: {word.state}  (record {kept.record_id})")


@grants.command(short_help="Enter that an owner took something back.")
@click.argument("owner_ref")
@click.argument("purpose", required=False)
@click.argument("recipient", required=False)
@click.option("--all", "everything", is_flag=True, help="Everything that the owner has given.")
@_source_option
@_method_option
@_by_option
@config_option
def withdraw(
    owner_ref: str,
    purpose: str | None,
    recipient: str | None,
    by: str,
    config: Path | None,
    *,
    everything: bool,
    **said: Any,
) -> None:
    """Enter that an owner took back a PURPOSE for a RECIPIENT, or --all; what waits to be sent is not sent any more."""
    if everything == (purpose is not None and recipient is not None):
        raise click.UsageError("either PURPOSE and RECIPIENT, or --all")
    _check(purpose or "service", recipient or "crm")
    word = Word(owner_ref, purpose or "", recipient or "", "revoked", f"person:{by}", **said)

    async def work() -> list[ConsentRecord]:
        async with at_database(config) as at, at.conn.transaction():
            if not everything:
                return [await _kept(at, word)]
            taken = await withdraw_all(at.conn, at.settings.crm, at.tenant_id, word, at.now_s)
            told = {"records": len(taken), "by": word.recorded_by}
            await record_command(at.conn, at.tenant_id, "grant.withdraw_all", owner_ref, **told)
            return taken

    for taken in asyncio.run(work()) or []:
        click.echo(f"{owner_ref}, {taken.purpose} to {taken.recipient}: withdrawn")


@grants.command(short_help="Consent records as JSON-LD (ISO/IEC TS 27560, DPV).")
@click.argument("owner_ref", required=False)
@click.option("--all", "everybody", is_flag=True, help="Of every owner.")
@config_option
def export(owner_ref: str | None, config: Path | None, *, everybody: bool) -> None:
    """Write an owner's consent records, or those of --all owners, as JSON-LD to standard output."""
    if everybody == (owner_ref is not None):
        raise click.UsageError("either OWNER_REF or --all")

    async def work() -> list[dict[str, object]]:
        async with at_database(config) as at:
            controller = Controller(at.tenant_id, at.settings.tenant.controller)
            return [
                written
                async for owner in _owners(at, owner_ref)
                for written in [
                    write_record(each, controller, at.now) for each in await read_consents(at.conn, at.tenant_id, owner)
                ]
            ]

    click.echo(json.dumps(asyncio.run(work()), indent=2, ensure_ascii=False))


@grants.command("import", short_help="Take over consent records from JSON-LD.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@config_option
def import_command(file: Path, config: Path | None) -> None:
    """Take over consent records in the terms of DPV; what is known stays, and an old word does not undo a newer one."""
    try:
        document: object = json.loads(file.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError([Fault(str(file), str(error)[:200], "JSON-LD")]) from error

    async def work() -> tuple[int, int]:
        async with at_database(config) as at, at.conn.transaction():
            records = read_document(document, at.now)
            added = await import_records(at.conn, at.settings.crm, at.tenant_id, records, at.now_s)
            told = {"records": len(records), "added": added, "by": user_name()}
            await record_command(at.conn, at.tenant_id, "grant.import", file.name, **told)
            return len(records), added

    read, added = asyncio.run(work())
    click.echo(f"{read} records read, {added} words new")


async def _owners(at: AtDatabase, owner_ref: str | None) -> AsyncGenerator[str]:
    if owner_ref is not None:
        yield owner_ref
        return
    after = ""
    while found := await owners_with_consents(at.conn, at.tenant_id, after):
        for each in found:
            yield each
        after = found[-1]


async def _read(
    config: Path | None, owner_ref: str, purpose: str | None = None, recipient: str | None = None
) -> tuple[list[ConsentRecord], datetime]:
    async with at_database(config) as at:
        return await read_consents(at.conn, at.tenant_id, owner_ref, purpose, recipient), at.now


async def _say(config: Path | None, word: Word) -> ConsentRecord:
    async with at_database(config) as at, at.conn.transaction():
        return await _kept(at, word)


async def _kept(at: AtDatabase, word: Word) -> ConsentRecord:
    """Keep an owner's word, and in the audit trail that somebody entered it here."""
    kept = await record_word(at.conn, at.settings.crm, at.tenant_id, word, at.now_s)
    told = {"purpose": word.purpose, "recipient": word.recipient, "state": word.state, "by": word.recorded_by}
    await record_command(at.conn, at.tenant_id, "grant.record", word.owner_ref, **told)
    return kept


def _check(purpose: str, recipient: str) -> None:
    try:
        _ = GrantRecord(purpose=purpose, recipient=recipient)
    except ValidationError as error:
        faults = [Fault(str(each["loc"][0]), repr(each["input"]), each["msg"]) for each in error.errors()]
        raise ConfigError(faults) from error


def _line(record: ConsentRecord, at: datetime) -> dict[str, object]:
    state = record.state_at(at)
    return {
        "purpose": record.purpose,
        "recipient": record.recipient,
        "state": "not yet" if state is None else str(state),
        "since": record.events[-1].at.isoformat(timespec="seconds"),
        "record_id": str(record.record_id),
    }


def _event(record: ConsentRecord, number: int) -> Mapping[str, object]:
    event = record.events[number]
    return {
        "state": event.state,
        "at": event.at.isoformat(timespec="seconds"),
        "until": None if event.until is None else event.until.isoformat(timespec="seconds"),
        "recorded": event.recorded_at.isoformat(timespec="seconds"),
        "by": event.recorded_by,
        "indicated_by": event.indicated_by,
        "basis": event.basis,
        "source": event.source,
        "method": event.method,
        "notice": event.notice,
        "notice_version": event.notice_version,
        "data": ", ".join(event.personal_data),
        "historic": event.historic,
    }
