"""Topics and payloads of other firmwares, through Mosquitto and routes by pattern, looked up in the database."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import cbor2

from devices.ids import partition_of
from gateway.database.postmaster import wait_until
from tests.services.gateway import GatewayProcess
from tests.services.mosquitto import Mosquitto
from tests.services.patience import PATIENCE_S

TS_S = 1_760_000_000
SETTINGS = """
[[routes]]
pattern = "plant/{any}/{device_id}/senml"
codec = "senml"
[[routes]]
pattern = "tele/{device_id}/SENSOR"
codec = "flat"
[[routes]]
pattern = "tele/{device_id}/LWT"
carries = "status"
[[routes]]
pattern = "devices/{partition}/{device_id}/telemetry"
[[routes]]
pattern = "strict/{partition}/{device_id}"
partition = "checked"
"""


def publish(broker: Mosquitto, topic: str, payload: bytes) -> None:
    """By the broker's own client, at QoS 1."""
    command = [broker.binaries.mosquitto_pub, "-h", broker.host, "-p", str(broker.port), "-q", "1", "-t", topic, "-s"]
    subprocess.run(command, input=payload, check=True, timeout=60)


def metrics(gateway: GatewayProcess) -> dict[str, float]:
    """Every metric that is stored of the device; no two readings here have one in common."""
    found: dict[str, Any] = {}
    for (row,) in gateway.query("SELECT to_jsonb(r) FROM reading_automatic r WHERE device_id = 'd1'"):
        found |= {**row, **(row["extra"] or {})}
    own = {"device_id", "ts", "received_at", "seq", "batch_seq", "batch_row", "extra"}
    return {name: value for name, value in found.items() if name not in own and value is not None}


def test_each_is_stored_as_what_it_is(new_gateway: Callable[[], GatewayProcess], mosquitto: Mosquitto) -> None:
    gateway = new_gateway()
    gateway.configure(f"{SETTINGS}[subscribe]\nenabled = true\nport = {mosquitto.port}\n")
    gateway.start()
    gateway.command("devices", "add", "d1")
    publish(mosquitto, "plant/north/d1/senml", json.dumps([{"bn": "urn:x:", "n": "celsius", "v": 21.5}]).encode())
    publish(
        mosquitto, "plant/south/d1/senml", cbor2.dumps([{-3: TS_S, 0: "lux", 2: 300, 3: None}, {0: "room", 3: "A"}])
    )
    publish(mosquitto, "tele/d1/SENSOR", b'{"Time":"2026-03-01T07:30:00","AM2301":{"Humidity":55},"POWER":"ON"}')
    publish(mosquitto, "tele/d1/LWT", b"Online")
    publish(mosquitto, "devices/north/d1/telemetry", b'{"metrics":{"a":1}}')
    publish(mosquitto, f"strict/{partition_of('d1')}/d1", b'{"metrics":{"b":2}}')
    publish(mosquitto, "strict/64/d1", b'{"metrics":{"c":3}}')
    expected = {"celsius": 21.5, "lux": 300.0, "AM2301_Humidity": 55.0, "POWER": 1.0, "a": 1.0, "b": 2.0}
    wait_until(lambda: metrics(gateway) == expected, PATIENCE_S)
    assert metrics(gateway) == expected
    assert gateway.query("SELECT code, data, extract(epoch FROM ts)::bigint FROM device_event") == [
        ("room", {"value": "A"}, TS_S)
    ]
    assert gateway.query("SELECT code FROM device_status WHERE device_id = 'd1'") == [("online",)]
    wait_until(lambda: gateway.query("SELECT count(*) FROM quarantine") == [(1,)], PATIENCE_S)
    assert gateway.query("SELECT topic, reason FROM quarantine") == [("strict/64/d1", "unknown_topic")]
