"""`careloop doctor`: what is wrong, and what to do about it."""

import asyncio
import json
import os
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import paho.mqtt.client as paho
import psycopg
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode
from psycopg import AsyncConnection
from rich.console import Console

from crm_sync.guard import check_target
from devices.errors import CareloopError, ConfigError
from devices.profiles import load_profiles
from gateway.cli.options import config_option, json_option, read_settings
from gateway.database.connect import embedded_folder, is_embedded, reachable_url
from gateway.database.edition import detect_edition
from gateway.database.embedded import read_url
from gateway.database.migrate import pending
from gateway.doors.settings import SubscribeSettings
from gateway.doors.subscribe.secrets import read_secrets
from gateway.running import find_gateway
from gateway.settings import Settings

CONNECT_TIMEOUT_S = 5
TOLERABLE_CLOCK_DIFFERENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `fix` says what to do when it is not well."""

    what: str
    ok: bool
    says: str
    fix: str = ""


@click.command(short_help="Say what is wrong, and how to mend it.")
@config_option
@json_option
@click.pass_context
def doctor(context: click.Context, config: Path | None, as_json: bool) -> None:
    """Look at settings, database, doors, broker, CRMs and clock; exit 1 when something is wrong."""
    findings = asyncio.run(examine(read_settings(config)))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        _print(findings)
    context.exit(0 if all(finding.ok for finding in findings) else 1)


async def examine(settings: Settings) -> list[Finding]:
    """Everything that can be looked at from outside the gateway."""
    findings = [Finding("settings", ok=True, says="usable")]  # reading them would have failed otherwise
    findings.append(_profiles(settings))
    findings += await _database(settings)
    findings.append(_gateway(settings))
    if settings.subscribe.enabled:
        findings.append(_broker(settings))
    findings += [await _crm(settings, number) for number in range(len(settings.crm.endpoints))]
    return findings


def _profiles(settings: Settings) -> Finding:
    try:
        profiles = load_profiles(settings.profiles.folders)
    except CareloopError as error:
        return Finding("profiles", ok=False, says=str(error), fix="correct the profile that is named")
    return Finding("profiles", ok=True, says=f"{len(profiles)} product models: {', '.join(sorted(profiles))}")


async def _database(settings: Settings) -> list[Finding]:
    if is_embedded(settings) and read_url(embedded_folder(settings)) is None:
        says = f"embedded in {embedded_folder(settings)}; not running, it starts with the gateway"
        return [Finding("database", ok=True, says=says)]
    try:
        url = reachable_url(settings)
        async with await AsyncConnection.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as conn:
            edition = await detect_edition(conn)
            asked_s = time.time()
            row = await (await conn.execute("SELECT extract(epoch FROM clock_timestamp())::float8")).fetchone()
            difference_s = abs((row[0] if row else asked_s) - (asked_s + time.time()) / 2)
        waiting = await pending(url)
    except (CareloopError, psycopg.Error) as error:
        fix = "start the database, or correct database.url and database.password_file"
        return [Finding("database", ok=False, says=str(error).strip(), fix=fix)]
    return [
        Finding("database", ok=True, says=edition.describe()),
        Finding(
            "schema",
            ok=not waiting,
            says="up to date" if not waiting else f"{len(waiting)} migrations wait",
            fix="run `careloop migrate`, or start the gateway",
        ),
        Finding(
            "clock",
            ok=difference_s <= TOLERABLE_CLOCK_DIFFERENCE_S,
            says=f"{difference_s:.1f} s apart from the database's",
            fix="let both machines keep their time by NTP",
        ),
    ]


def _gateway(settings: Settings) -> Finding:
    running = find_gateway(settings)
    if running is not None:
        return Finding("gateway", ok=True, says=f"runs as process {running.pid}, API at {running.api_url}")
    if settings.listen.enabled and settings.listen.port and _answers(settings.listen.host, settings.listen.port):
        says = f"does not run, and something else has {settings.listen.host}:{settings.listen.port}"
        return Finding("gateway", ok=False, says=says, fix="stop that program, or choose another listen.port")
    return Finding("gateway", ok=True, says="does not run; its port is free")


def _broker(settings: Settings) -> Finding:
    """Sign in as the gateway would, under a client id of our own."""
    subscribe = settings.subscribe
    where = f"{subscribe.host}:{subscribe.port}"
    try:
        context, password = read_secrets(subscribe)
        refusal = _sign_in(subscribe, context, password)
    except ConfigError as error:
        return Finding("broker", ok=False, says=error.detail, fix="correct the file that is named")
    except (OSError, ValueError) as error:
        fix = "start the broker, or correct subscribe.host, subscribe.port, subscribe.transport and subscribe.tls"
        return Finding("broker", ok=False, says=f"{where} takes no connection ({error})", fix=fix)
    if refusal is not None:
        fix = "correct subscribe.username and its password, or what the broker allows this user"
        return Finding("broker", ok=False, says=f"{where} refuses us: {refusal}", fix=fix)
    return Finding("broker", ok=True, says=f"{where} lets us in")


def _sign_in(subscribe: SubscribeSettings, context: ssl.SSLContext | None, password: str) -> str | None:
    """What the broker answers to CONNECT, where it is a refusal. Raises OSError, ValueError."""
    answers: list[ReasonCode] = []
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"careloop-doctor-{os.getpid()}",
        protocol=paho.MQTTv311 if subscribe.protocol == "3.1.1" else paho.MQTTv5,
        transport=subscribe.transport,
    )
    if subscribe.transport == "websockets":
        client.ws_set_options(subscribe.websocket_path)
    if context is not None:
        client.tls_set_context(context)  # pyright: ignore[reportUnknownMemberType]
    if subscribe.username:
        client.username_pw_set(subscribe.username, password)
    client.on_connect = lambda _client, _data, _flags, reason, _properties: answers.append(reason)
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.connect(subscribe.host, subscribe.port)
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while not answers and time.monotonic() < deadline:
        if client.loop(timeout=0.1) != paho.MQTT_ERR_SUCCESS:
            break
    client.disconnect()
    if not answers:
        return "no answer to CONNECT"
    return str(answers[0]) if answers[0].is_failure else None


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False


async def _crm(settings: Settings, number: int) -> Finding:
    endpoint = settings.crm.endpoints[number]
    try:
        address = await check_target(endpoint)
    except CareloopError as error:
        fix = f"correct crm.endpoints.{number}.url; allow_http and allow_networks open what runs inside your network"
        return Finding(f"crm {endpoint.name}", ok=False, says=str(error), fix=fix)
    return Finding(f"crm {endpoint.name}", ok=True, says=f"may be reached at {address}")


def _print(findings: Sequence[Finding]) -> None:
    console = Console(highlight=False)
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        mark = "[green]ok[/]   " if finding.ok else "[bold red]wrong[/]"
        console.print(f"{mark} {finding.what:<{width}}  {finding.says}", soft_wrap=True)
        if not finding.ok and finding.fix:
            console.print(f"      {'':<{width}}  → {finding.fix}", soft_wrap=True)
