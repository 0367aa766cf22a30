"""`careloop devices tail`: a developer sees what became of each packet, and a revoked device is cut off."""

import json
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.database.postmaster import wait_until
from tests.services.gateway import CARELOOP, GatewayProcess

PATIENCE_S = 60.0
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
def following(gateway: GatewayProcess, *options: str) -> Generator["subprocess.Popen[str]"]:
    """The command, once it follows."""
    command = [CARELOOP, "devices", "tail", "bike-1", *options, "--config", gateway.config]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stderr is not None
        try:
            assert "following bike-1" in tail.stderr.readline()
            yield tail
        finally:
            tail.kill()


@pytest.fixture
def password(gateway: GatewayProcess) -> str:
    added = json.loads(gateway.command("devices", "add", "bike-1", "--model", "e-bike", "--json"))
    return str(added["password"])


def publish(gateway: GatewayProcess, password: str, *payloads: bytes) -> None:
    with connected(gateway, "bike-1", password) as client:
        for payload in payloads:
            client.publish("devices/bike-1/telemetry", payload, qos=1).wait_for_publish(PATIENCE_S)


def test_each_packet_is_told_with_its_fate(gateway: GatewayProcess, password: str) -> None:
    with following(gateway, "--count", "4") as tail:
        publish(gateway, password, GOOD, GOOD, IMPOSSIBLE, b"{broken")
        printed, _ = tail.communicate(timeout=PATIENCE_S)
    assert tail.returncode == 0
    stored, duplicate, impossible, broken = printed.splitlines()
    assert f"devices/bike-1/telemetry {len(GOOD)} B 1 stored" in stored
    assert "1 duplicate" in duplicate
    assert "1 quarantined (out_of_range: " in impossible
    assert "battery" in impossible
    assert "1 quarantined (malformed: " in broken


def test_machines_read_json(gateway: GatewayProcess, password: str) -> None:
    with following(gateway, "--json", "--count", "2") as tail:
        publish(gateway, password, GOOD, IMPOSSIBLE)
        printed, _ = tail.communicate(timeout=PATIENCE_S)
    first, second = map(json.loads, printed.splitlines())
    assert (first["stored"], second["reason"]) == (1, "out_of_range")


def test_it_says_when_the_gateway_goes(gateway: GatewayProcess, password: str) -> None:
    del password
    with following(gateway) as tail:
        gateway.kill()
        _, errors = tail.communicate(timeout=PATIENCE_S)
    assert tail.returncode == 1
    assert "gateway_" in errors


def test_a_revoked_device_is_cut_off_and_a_rotated_one_comes_back(gateway: GatewayProcess, password: str) -> None:
    with connected(gateway, "bike-1", password) as client:
        gateway.command("devices", "credentials", "revoke", "bike-1")
        assert wait_until(lambda: not client.is_connected(), PATIENCE_S)
    rotated = json.loads(gateway.command("devices", "credentials", "rotate", "bike-1", "--json"))
    publish(gateway, str(rotated["password"]), GOOD)
    assert gateway.ask("/v1/devices/bike-1")["stored"] == 1
