"""The CRM side has a process of its own: killed it comes back and loses nothing, and it never outlives its gateway."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import httpx
import psutil

from crm_sync.endpoints import LEASE_S
from gateway.database.postmaster import wait_until
from tests.services.boilers import HOT, start_boilers
from tests.services.crm import Crm
from tests.services.gateway import GatewayProcess
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S
from tests.services.publisher import Publisher, connected

DEVICES = 6


def crm_process(gateway: GatewayProcess) -> psutil.Process | None:
    """The gateway's process for the CRM side, once it works."""
    for child in psutil.Process(int(gateway.address["pid"])).children():
        with suppress(psutil.Error):  # it has just been killed
            if "gateway.outreach.process" in child.cmdline():
                return child
    return None


def await_crm_process(gateway: GatewayProcess) -> psutil.Process:
    """That process, as soon as there is one."""
    found: list[psutil.Process] = []

    def is_there() -> bool:
        process = crm_process(gateway)
        found.extend([process] if process else [])
        return bool(found)

    assert wait_until(is_there, PATIENCE_S)
    return found[0]


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended, be it without anybody who has noticed."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def overheat(device: Publisher, port: int) -> None:
    """One hot reading, acknowledged."""
    now_ms = int(time.time() * 1000)
    with connected(device, port) as client:
        device.publish(client, [now_ms], temperature=HOT)
        assert wait_until(lambda: now_ms in device.acknowledged, PATIENCE_S)


def test_one_case_per_fault_though_the_crm_process_is_killed_again_and_again(
    new_gateway: Callable[[], GatewayProcess], crm: Crm
) -> None:
    gateway = new_gateway()
    devices = start_boilers(gateway, crm, DEVICES)
    killed: set[int] = set()
    for number, device in enumerate(devices):
        overheat(device, gateway.port)
        if number % 2:
            continue
        victim = await_crm_process(gateway)
        killed.add(victim.pid)
        victim.kill()
    wanted = {device.device_id for device in devices}
    # What a victim was about to send is leased to it for a while.
    leased_s = LEASE_S + PATIENCE_S
    has_heard_of_all = wait_until(lambda: {message["data"]["device_id"] for message in crm.heard} == wanted, leased_s)
    assert has_heard_of_all, gateway.log[-3000:]
    assert wait_until(lambda: gateway.ask("/v1/counts")["outbox"]["pending"] == 0, leased_s)
    cases = gateway.ask("/v1/cases", limit=1000)["items"]
    assert sorted(case["device_id"] for case in cases) == sorted(wanted)
    opened = {message["data"]["case_id"] for message in crm.heard if message["type"] == "case.opened"}
    assert opened == {case["case_id"] for case in cases}
    assert wait_until(lambda: '"ready":true' in readiness(gateway), PATIENCE_S)
    assert await_crm_process(gateway).pid not in killed


def readiness(gateway: GatewayProcess) -> str:
    """What /readyz says, ready or not."""
    return httpx.get(f"{gateway.address['api_url']}/readyz", verify=IN_THE_CLEAR, timeout=PATIENCE_S).text


def test_one_that_hangs_is_told_and_dies_with_its_gateway(new_gateway: Callable[[], GatewayProcess], crm: Crm) -> None:
    gateway = new_gateway()
    devices = start_boilers(gateway, crm, 1)
    assert wait_until(lambda: "crm.started" in gateway.log, PATIENCE_S)
    child = await_crm_process(gateway)
    child.suspend()
    assert wait_until(lambda: "has said nothing for" in readiness(gateway), PATIENCE_S)
    child.resume()
    assert wait_until(lambda: '"ready":true' in readiness(gateway), PATIENCE_S)
    child.suspend()  # not even one that hangs when it happens may stay behind
    gateway.kill()
    child.resume()
    assert wait_until(lambda: is_gone(child), PATIENCE_S)
    gateway.start()
    overheat(devices[0], gateway.port)
    assert wait_until(lambda: "case.opened" in crm.types(), PATIENCE_S)
    assert gateway.stop() == 0
    assert gateway.log.count('"crm.stopped"') == 1
    assert "Fatal" not in gateway.log


def test_the_scaled_clock_runs_in_both_processes(new_gateway: Callable[[], GatewayProcess], crm: Crm) -> None:
    """What PUT /v1/clock says holds for the case that follows at once."""
    gateway = new_gateway()
    devices = start_boilers(
        gateway, crm, 2, '[clock]\nkind = "scaled"\nstart = "2026-03-02T00:00:00Z"\nspeed = 1e6\nheld = true\n'
    )
    headers = {"Authorization": f"Bearer {gateway.address['api_token']}"}
    for number, until in enumerate(("2026-03-05T12:00:00+00:00", "2026-03-09T12:00:00+00:00")):
        url = f"{gateway.address['api_url']}/v1/clock"
        httpx.put(
            url, json={"hold_until": until}, headers=headers, verify=IN_THE_CLEAR, timeout=PATIENCE_S
        ).raise_for_status()
        wanted = number + 1
        assert wait_until(lambda: gateway.ask("/v1/clock")["now"] == until, PATIENCE_S)  # noqa: B023 - called at once
        with connected(devices[number], gateway.port) as client:
            devices[number].publish(client, [int(datetime.fromisoformat(until).timestamp() * 1000)], temperature=HOT)
            assert wait_until(
                lambda: len(gateway.ask("/v1/cases")["items"]) == wanted,  # noqa: B023 - called at once
                PATIENCE_S,
            )
        newest = gateway.ask("/v1/cases")["items"][0]
        assert datetime.fromisoformat(newest["opened_at"]) == datetime.fromisoformat(until)
