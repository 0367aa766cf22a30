"""`careloop devices tail`: a developer sees what became of each packet, and a revoked device is cut off."""

import json
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import httpx
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gateway.database.postmaster import wait_until
from tests.services.gateway import CARELOOP, GatewayProcess
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S

GOOD = b'{"ts": "2026-03-01T00:00:00Z", "metrics": {"battery": 50}}'
IMPOSSIBLE = b'{"metrics": {"battery": 4000}}'


@contextmanager
def connected(gateway: GatewayProcess, device_id: str, password: str) -> Generator[mqtt.Client]:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=device_id)
    client.username_pw_set(device_id, password)
    client.connect("127.0.0.1", gateway.port)
    client.loop_start()
    try:
        assert wait_until(client.is_connected, PATIENCE_S)
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def following(gateway: GatewayProcess, device_id: str, *options: str) -> Generator["subprocess.Popen[str]"]:
    """The command, once it follows."""
    command = [CARELOOP, "devices", "tail", device_id, *options, "--config", gateway.config]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stderr is not None
        try:
            assert f"following {device_id}" in tail.stderr.readline()
            yield tail
        finally:
            tail.kill()


def add(gateway: GatewayProcess, device_id: str) -> str:
    """Register a bike; its password."""
    added = json.loads(gateway.command("devices", "add", device_id, "--model", "e-bike", "--json"))
    return str(added["password"])


def publish(gateway: GatewayProcess, device_id: str, password: str, *payloads: bytes) -> None:
    with connected(gateway, device_id, password) as client:
        for payload in payloads:
            client.publish(f"devices/{device_id}/telemetry", payload, qos=1).wait_for_publish(PATIENCE_S)


def test_each_packet_is_told_with_its_fate(shared_gateway: GatewayProcess) -> None:
    password = add(shared_gateway, "bike-1")
    with following(shared_gateway, "bike-1", "--count", "4") as tail:
        publish(shared_gateway, "bike-1", password, GOOD, GOOD, IMPOSSIBLE, b"{broken")
        printed, _ = tail.communicate(timeout=PATIENCE_S)
    assert tail.returncode == 0
    stored, duplicate, impossible, broken = printed.splitlines()
    assert f"devices/bike-1/telemetry {len(GOOD)} B 1 stored" in stored
    assert "1 duplicate" in duplicate
    assert "1 quarantined (out_of_range: " in impossible
    assert "battery" in impossible
    assert "1 quarantined (malformed: " in broken


def test_machines_read_json(shared_gateway: GatewayProcess) -> None:
    password = add(shared_gateway, "bike-2")
    with following(shared_gateway, "bike-2", "--json", "--count", "2") as tail:
        publish(shared_gateway, "bike-2", password, GOOD, IMPOSSIBLE)
        printed, _ = tail.communicate(timeout=PATIENCE_S)
    first, second = map(json.loads, printed.splitlines())
    assert (first["stored"], second["reason"]) == (1, "out_of_range")


def test_it_says_when_the_gateway_goes(gateway: GatewayProcess) -> None:
    add(gateway, "bike-1")
    with following(gateway, "bike-1") as tail:
        gateway.kill()
        _, errors = tail.communicate(timeout=PATIENCE_S)
    assert tail.returncode == 1
    assert "gateway_" in errors


def test_a_revoked_device_is_cut_off_and_a_rotated_one_comes_back(shared_gateway: GatewayProcess) -> None:
    with connected(shared_gateway, "bike-3", add(shared_gateway, "bike-3")) as client:
        shared_gateway.command("devices", "credentials", "revoke", "bike-3")
        assert wait_until(lambda: not client.is_connected(), PATIENCE_S)
    rotated = json.loads(shared_gateway.command("devices", "credentials", "rotate", "bike-3", "--json"))
    publish(shared_gateway, "bike-3", str(rotated["password"]), GOOD)
    assert shared_gateway.ask("/v1/devices/bike-3")["stored"] == 1


def test_over_http_too(shared_gateway: GatewayProcess) -> None:
    headers = {"Authorization": f"Bearer {shared_gateway.address['api_token']}"}
    path = "/v1/devices/bike-4/credentials"
    with connected(shared_gateway, "bike-4", add(shared_gateway, "bike-4")) as device:
        with httpx.Client(
            base_url=shared_gateway.address["api_url"], headers=headers, verify=IN_THE_CLEAR, timeout=PATIENCE_S
        ) as client:
            made = client.post(path, json={})
            assert made.status_code == 201, made.text
            assert made.json()["password"] not in client.get(path).text
            taken = client.delete(path, params={"which": "all"})
            assert taken.json() == {"device_id": "bike-4", "revoked": 2}
            assert all(each["revoked_at"] for each in client.get(path).json()["items"])
        assert wait_until(lambda: not device.is_connected(), PATIENCE_S)
