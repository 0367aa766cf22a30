"""The whole diagnosis, in the order in which one would look."""

import asyncio
import json
import socket
import time
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any, Final, cast

from devices.errors import CareloopError
from devices.payloads import load_codecs
from devices.profiles import load_profiles
from gateway.check import check_settings
from gateway.doctor.broker import examine_broker
from gateway.doctor.crm import examine_crm
from gateway.doctor.database import examine_database
from gateway.doctor.finding import Finding, judge
from gateway.doctor.machine import examine_machine
from gateway.doors.routing import build_routes
from gateway.running import RunningGateway, find_gateway, starting_process
from gateway.settings import Settings

_ASK_TIMEOUT_S: Final = 5.0


async def examine(settings: Settings, *, probe: bool = False) -> list[Finding]:
    """Everything that can be looked at from outside the gateway; with `probe` the broker's queue is tried too."""
    findings = [_settings(settings), _profiles(settings)]
    findings += await asyncio.to_thread(examine_machine, settings)
    findings += await examine_database(settings)
    findings += await asyncio.to_thread(examine_gateway, settings)
    if settings.subscribe.enabled:
        filters = build_routes(settings.routes, load_codecs()).topic_filters()
        findings += await asyncio.to_thread(examine_broker, settings.subscribe, filters, probe=probe)
    for number, endpoint in enumerate(settings.crm.endpoints):
        findings += await examine_crm(endpoint, number, time.time())
    return findings


def _settings(settings: Settings) -> Finding:
    try:
        check_settings(settings)
    except CareloopError as error:
        return Finding(
            "settings", ok=False, says=error.detail, fix="correct what is named; `careloop config check` lists it"
        )
    return Finding("settings", ok=True, says="usable")


def _profiles(settings: Settings) -> Finding:
    try:
        profiles = load_profiles(settings.profiles.folders)
    except CareloopError as error:
        return Finding("profiles", ok=False, says=str(error), fix="correct the profile that is named")
    return Finding("profiles", ok=True, says=f"product models: {', '.join(sorted(profiles))}")


def examine_gateway(settings: Settings) -> list[Finding]:
    """Whether it runs, and what it says of itself; where it does not, whether it could."""
    running = find_gateway(settings)
    if running is not None:
        return [
            Finding("gateway", ok=True, says=f"runs as process {running.pid}, API at {running.api_url}"),
            *_readiness(running),
        ]
    if (pid := starting_process(settings)) is not None:
        fix = "look into its log where that takes long: it says what is waited for"
        return [Finding("gateway", ok=False, says=f"is being started, as process {pid}", fix=fix)]
    return _taken_ports(settings) or [Finding("gateway", ok=True, says="does not run; its ports are free")]


def _taken_ports(settings: Settings) -> list[Finding]:
    """Where devices or the API would be found, if nobody else were."""
    return [
        Finding(
            "gateway",
            ok=False,
            says=f"does not run, and something else has {door.host}:{door.port}",
            fix=f"stop that program, or choose another {name}.port",
        )
        for name, door in (("listen", settings.listen), ("api", settings.api))
        if door.enabled and door.port and _answers(door.host, door.port)
    ]


def _readiness(running: RunningGateway) -> list[Finding]:
    """What the running gateway says of itself."""
    if running.api_url is None:
        return []
    try:
        with urllib.request.urlopen(f"{running.api_url}/readyz", timeout=_ASK_TIMEOUT_S) as answer:  # noqa: S310 - ours
            body = answer.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    except OSError as error:
        fix = "look into its log; where it hangs, restart it: nothing that was acknowledged is lost"
        return [Finding("gateway answers", ok=False, says=f"its API does not ({error})", fix=fix)]
    checks: dict[str, Any] = {}
    with suppress(ValueError):
        checks = cast("dict[str, Any]", json.loads(body)).get("checks", {})
    return [
        judge(
            f"gateway {name}",
            str(check["says"]),
            "see this part's own finding here, and the gateway's log",
            ok=bool(check["ok"]),
        )
        for name, check in checks.items()
    ]


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_ASK_TIMEOUT_S):
            return True
    except OSError:
        return False
