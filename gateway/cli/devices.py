"""`careloop devices`: who may connect, whose they are, and what becomes of what they send."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from crm_sync.owners.consents import said_no, taken_back
from devices.clock import to_datetime
from devices.credentials import hash_generated, new_secret
from devices.errors import CareloopError, ConfigError, Fault
from devices.payloads.model import json_schema
from devices.profiles import load_profiles
from devices.registry.entries import enter
from devices.registry.import_ import ImportReport, enter_records, read_records
from devices.registry.model import AssetView, Device, Grant
from devices.registry.passwords import (
    add_credentials,
    remove_device,
    revoke_credentials,
    revoke_old_credentials,
)
from devices.registry.queries import (
    Connection,
    asset_of,
    device_exists,
    grants_of,
    list_devices,
    load_credentials,
    load_devices,
)
from devices.registry.records import DeviceRecord, nest
from gateway.cli.device_commands import command, commands
from gateway.cli.device_tail import follow, print_fates
from gateway.cli.device_welcome import Welcome, welcome
from gateway.cli.noted import note
from gateway.cli.options import config_option, json_option, read_settings
from gateway.database.connect import open_database
from gateway.settings import Settings, build_clock


@click.group(short_help="Who may connect, whose they are, and their packets.")
def devices() -> None:
    """Devices: who may connect, whose they are, and what becomes of what they send."""


devices.add_command(command)
devices.add_command(commands)


@dataclass(frozen=True, slots=True)
class _Registry:
    """The registry, as a command works on it."""

    conn: Connection
    settings: Settings
    at: datetime  # now, on the gateway's clock

    @property
    def tenant_id(self) -> str:
        return self.settings.tenant.id

    async def must_have(self, device_id: str) -> None:
        """Raises CareloopError where there is no such device."""
        if not await device_exists(self.conn, device_id):
            raise CareloopError("unknown_device", f"there is no device {device_id}; `careloop devices list` names all")

    async def note(self, what: str, subject: str, **inputs: object) -> None:
        """Leave in the audit trail what was done, on the same transaction."""
        await note(self.conn, self.tenant_id, what, subject, **inputs)

    async def new_password(self, device_id: str) -> Welcome:
        """A generated password, kept only as its digest, with what the device needs to use it."""
        secret = new_secret()
        await add_credentials(self.conn, self.tenant_id, [(device_id, hash_generated(secret))])
        (device,) = await load_devices(self.conn, device_id)
        profiles = load_profiles(self.settings.profiles.folders)
        return welcome(self.settings, device_id, secret, profiles.get(device.model or ""))


@asynccontextmanager
async def _registry(config: Path | None) -> AsyncGenerator[_Registry]:
    settings = read_settings(config)
    at = to_datetime(build_clock(settings.clock).now_s())
    async with open_database(settings) as conn:
        yield _Registry(conn, settings, at)


@devices.command()
@click.argument("device_id", metavar="ID")
@click.option("--model", help="The product model, as its profile calls it.")
@click.option("--region", help="Where it is in use; for comparing fleets.")
@click.option("--serial", help="The product's serial number.")
@click.option("--owner", "owner_ref", metavar="REF", help="Who has it, as the CRM calls them.")
@click.option("--account", "account_ref", metavar="REF", help="Their account in the CRM.")
@click.option("--time-zone", help="Their time zone, such as Europe/Vienna.")
@click.option("--language", help="Their language, such as de.")
@config_option
@json_option
def add(config: Path | None, as_json: bool, **fields: str | None) -> None:
    """Add a device and print its password, once."""
    print_welcome(asyncio.run(_add(config, {name: value for name, value in fields.items() if value})), as_json)


async def _add(config: Path | None, fields: dict[str, str]) -> Welcome:
    try:
        record = DeviceRecord.model_validate(nest(fields))
    except ValidationError as error:
        raise ConfigError(
            [_fault(".".join(map(str, e["loc"])), e["input"], e["msg"]) for e in error.errors()]
        ) from None
    async with _registry(config) as registry:
        models = load_profiles(registry.settings.profiles.folders)
        if record.model is not None and record.model not in models:
            raise ConfigError([_fault("--model", record.model, ", ".join(sorted(models)))])
        if await device_exists(registry.conn, record.device_id):
            detail = f"{record.device_id}; `careloop devices credentials rotate` gives it a new password"
            raise CareloopError("device_exists", detail)
        await enter(registry.conn, [record], tenant_id=registry.tenant_id, source="add", at=registry.at)
        await registry.note("device.add", record.device_id, model=record.model)
        return await registry.new_password(record.device_id)


def _fault(setting: str, found: object, allowed: str) -> Fault:
    return Fault(setting or "owner", repr(found), allowed.removeprefix("Value error, "))


def print_welcome(found: Welcome, as_json: bool) -> None:
    """What a device needs to connect; the only time that its password is shown."""
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    click.echo(f"user name  {found.username}\npassword   {found.password}")
    click.echo("The password is shown only now; careloop keeps a digest of it.")
    if found.try_it:
        click.echo(f"\nSend a first reading:\n\n  {found.try_it}\n\nSee what becomes of it:\n")
        click.echo(f"  careloop devices tail {found.device_id}")


@devices.command("list")
@click.option("--model", help="Only devices of this model.")
@click.option("--after", default="", metavar="ID", help="Begin behind this device.")
@click.option("--limit", default=100, type=click.IntRange(1, 100_000), show_default=True, help="At most this many.")
@config_option
@json_option
def list_command(config: Path | None, as_json: bool, model: str | None, after: str, limit: int) -> None:
    """List devices by id."""

    async def found() -> list[dict[str, object]]:
        async with _registry(config) as registry:
            listed = await list_devices(registry.conn, registry.tenant_id, model=model, after=after, limit=limit)
            order = await _order_of(registry.conn, registry.tenant_id, [device.device_id for device in listed])
            return [asdict(device) | _in_order(order.get(device.device_id)) for device in listed]

    rows = asyncio.run(found())
    if as_json:
        click.echo(json.dumps(rows, default=str))
        return
    columns = ["device_id", "model", "firmware", "region", "owner_ref", "credentials", "registered_at"]
    if any(row["order"] for row in rows):
        columns.append("order")
    table = Table(*(column.replace("_", " ") for column in columns), box=None, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    Console().print(table)
    if len(rows) == limit:
        click.echo(f"more: careloop devices list --after {rows[-1]['device_id']}")


async def _order_of(conn: Connection, tenant_id: str, device_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    from gateway.order.queries import order_of  # noqa: PLC0415 - brings NumPy, which takes long

    return await order_of(conn, tenant_id, device_ids)


def _in_order(known: Mapping[str, object] | None) -> dict[str, object]:
    """How many messages are missing, whether the clock is right, and what of it is out of order, in words."""
    if known is None:
        return {"missing": None, "clock": None, "order": None}
    missing = known["missing"] if known["is_numbered"] else None
    news = [f"{missing} missing"] if missing else []
    if known["clock"] in {"ahead", "behind"}:
        news.append(f"clock {known['clock']}")
    return {"missing": missing, "clock": known["clock"], "order": ", ".join(news) or None}


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)


@devices.command()
@click.argument("device_id", metavar="ID")
@config_option
@json_option
def show(config: Path | None, as_json: bool, device_id: str) -> None:
    """Show a device, its asset, its owner and what the owner allows."""
    shown = asyncio.run(_show(config, device_id))
    if as_json:
        click.echo(json.dumps(asdict(shown), default=str))
        return
    table = Table(box=None, show_header=False)
    facts = asdict(shown.device) | (asdict(shown.asset) if shown.asset else {}) | {"credentials": shown.credentials}
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), _cell(value))
    if shown.order is not None:
        table.add_row("order", str(shown.order["says"]))
    for grant in shown.grants:
        table.add_row(f"grant {grant.purpose} to {grant.recipient}", grant.state)
    Console().print(table)


@dataclass(frozen=True, slots=True)
class _Shown:
    device: Device
    asset: AssetView | None
    credentials: int
    grants: list[Grant]
    order: Mapping[str, object] | None


async def _show(config: Path | None, device_id: str) -> _Shown:
    async with _registry(config) as registry:
        await registry.must_have(device_id)
        (device,) = await load_devices(registry.conn, device_id)
        asset = await asset_of(registry.conn, device_id)
        passwords = await load_credentials(registry.conn, device_id)
        owner_ref = asset.owner_ref if asset else None
        grants = await grants_of(registry.conn, registry.tenant_id, owner_ref) if owner_ref else []
        order = (await _order_of(registry.conn, registry.tenant_id, [device_id])).get(device_id)
        return _Shown(device, asset, len(passwords), grants, order)


@devices.command("import", short_help="Import devices, owners and grants from CSV or JSON.")
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@json_option
def import_command(config: Path | None, as_json: bool, file: Path) -> None:
    """Import devices, assets, owners and grants from a CSV or JSON file; all of it, or with any fault nothing."""

    async def imported() -> ImportReport:
        async with _registry(config) as registry:
            records, crm = read_records(file), registry.settings.crm
            async with taken_back(registry.conn, crm, registry.tenant_id, said_no(records), registry.at):
                entered = await enter_records(registry.conn, records, at=registry.at, tenant_id=registry.tenant_id)
            counts = {name: value for name, value in asdict(entered).items() if isinstance(value, int)}
            await registry.note("device.import", file.name, **counts)
            return entered

    report = asyncio.run(imported())
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(
        f"{report.devices} devices read: {report.added} added, {report.changed} changed; {report.passwords} passwords, "
        f"{report.grants} grants, {report.handovers} hand-overs to another owner"
    )
    if report.left_removed:
        click.echo(f"left as removed: {', '.join(report.left_removed)}; `careloop devices add` brings a device back")


@devices.group()
def credentials() -> None:
    """Passwords of devices."""


@credentials.command(short_help="Give a device a new password, told once.")
@click.argument("device_id", metavar="ID")
@click.option("--keep-old", is_flag=True, help="Let the old password work too, until it is revoked.")
@config_option
@json_option
def rotate(config: Path | None, as_json: bool, device_id: str, keep_old: bool) -> None:
    """Give a device a new password and print it, once; the old one no longer works."""

    async def rotated() -> Welcome:
        async with _registry(config) as registry:
            await registry.must_have(device_id)
            if not keep_old:
                await revoke_credentials(registry.conn, registry.tenant_id, device_id, registry.at)
            await registry.note("device.rotate_password", device_id, keeps_old=keep_old)
            return await registry.new_password(device_id)

    print_welcome(asyncio.run(rotated()), as_json)


@credentials.command(short_help="Take away every password of a device.")
@click.argument("device_id", metavar="ID")
@click.option("--old", "only_old", is_flag=True, help="All but the newest: what ends a rotation with --keep-old.")
@config_option
@json_option
def revoke(config: Path | None, as_json: bool, device_id: str, only_old: bool) -> None:
    """Take away every password of a device; a running gateway disconnects it at once."""
    take_away = revoke_old_credentials if only_old else revoke_credentials

    async def revoked() -> int:
        async with _registry(config) as registry:
            await registry.must_have(device_id)
            count = await take_away(registry.conn, registry.tenant_id, device_id, registry.at)
            await registry.note("device.revoke_passwords", device_id, only_old=only_old, revoked=count)
            return count

    count = asyncio.run(revoked())
    click.echo(json.dumps({"device_id": device_id, "revoked": count}) if as_json else f"revoked {count} of {device_id}")


@devices.command()
@click.argument("device_id", metavar="ID")
@config_option
@json_option
def remove(config: Path | None, as_json: bool, device_id: str) -> None:
    """Refuse a device from now on; what it has said stays."""

    async def removed() -> None:
        async with _registry(config) as registry:
            await registry.must_have(device_id)
            await remove_device(registry.conn, registry.tenant_id, device_id, registry.at)
            await registry.note("device.remove", device_id)

    asyncio.run(removed())
    click.echo(json.dumps({"device_id": device_id, "removed": True}) if as_json else f"removed {device_id}")


@devices.command(short_help="Show what becomes of each of a device's packets.")
@click.argument("device_id", metavar="ID")
@click.option("--count", type=click.IntRange(1), help="Stop after this many packets.")
@config_option
@json_option
def tail(config: Path | None, as_json: bool, device_id: str, count: int | None) -> None:
    """Show what becomes of each packet of a device, until you press Ctrl-C."""
    print_fates(follow(read_settings(config), device_id), as_json, count)


@devices.command(short_help="List the product models that are known.")
@config_option
@json_option
def profiles(config: Path | None, as_json: bool) -> None:
    """List the product models that are known, with what is watched for."""
    found = load_profiles(read_settings(config).profiles.folders)
    if as_json:
        click.echo(json.dumps({model: profile.model_dump(mode="json") for model, profile in found.items()}))
        return
    table = Table("model", "title", "metrics", "watches", box=None, header_style="bold")
    for model, profile in sorted(found.items()):
        watches = ", ".join(watch.name for watch in profile.watches)
        table.add_row(model, profile.title, str(len(profile.metrics)), watches or "the generic ones")
    Console().print(table)


@devices.command()
def schema() -> None:
    """Print the JSON Schema of readings and events."""
    click.echo(json.dumps(json_schema(), indent=2))
