"""ThingsBoard's own client library, a device and a gateway, at the listen door; the database says what came of it."""

import json
from collections.abc import Callable
from typing import Any

from gateway.database.postmaster import wait_until
from tests.services.gateway import GatewayProcess
from tests.services.mosquitto import Mosquitto
from tests.services.patience import PATIENCE_S
from tests.services.senders import Sender

PROGRAM = ("thingsboard", "thingsboard_device.py")
TS_MS = 1_760_000_000_000


def readings(gateway: GatewayProcess, device_id: str) -> list[dict[str, Any]]:
    query = """SELECT (extract(epoch FROM ts) * 1000)::bigint, to_jsonb(r) FROM reading_automatic r
    WHERE device_id = %s ORDER BY ts"""
    own = {"device_id", "ts", "received_at", "seq", "batch_seq", "batch_row", "extra"}
    found: list[dict[str, Any]] = []
    for ts_ms, row in gateway.query(query, device_id):
        metrics: dict[str, Any] = {**row, **(row["extra"] or {})}
        found.append(
            {"ts": ts_ms} | {name: metrics[name] for name in metrics.keys() - own if metrics[name] is not None}
        )
    return found


def events(gateway: GatewayProcess, device_id: str) -> list[tuple[str, Any]]:
    return gateway.query("SELECT code, data FROM device_event WHERE device_id = %s ORDER BY code", device_id)


def statuses(gateway: GatewayProcess, device_id: str) -> list[str]:
    query = "SELECT code FROM device_status WHERE device_id = %s ORDER BY batch_seq, batch_row"
    return [code for (code,) in gateway.query(query, device_id)]


def eventually(expected: object, look: Callable[[], object]) -> None:
    wait_until(lambda: look() == expected, PATIENCE_S)
    assert look() == expected


def start(gateway: GatewayProcess, more: str, *device_ids: str) -> dict[str, str]:
    """Run it with ThingsBoard's topics, and register devices; their passwords."""
    gateway.configure(f'[[routes]]\ncodec = "thingsboard"\n{more}')
    gateway.start()
    return {name: json.loads(gateway.command("devices", "add", name, "--json"))["password"] for name in device_ids}


def call(sender: Sender, method: str, *arguments: object) -> None:
    sender.tell("call", method=method, arguments=arguments)
    assert sender.heard[-2] == {"sent": method, "code": 0}


def test_a_device_logs_in_with_a_token_and_is_answered(
    new_gateway: Callable[[], GatewayProcess], new_sender: Callable[[str, str], Sender]
) -> None:
    gateway = new_gateway()
    password = start(gateway, "", "meter-1")["meter-1"]
    device = new_sender(*PROGRAM)
    device.tell("connect", kind="device", port=gateway.port, username=f"meter-1.{password}")
    assert {"connected": True} in device.heard
    call(device, "send_telemetry", {"ts": TS_MS, "values": {"kwh": 1.5, "on": True, "mode": "eco", "volts": "229.9"}})
    call(
        device,
        "send_telemetry",
        [{"ts": TS_MS + 1000, "values": {"kwh": 1.6}}, {"ts": TS_MS + 2000, "values": {"kwh": 1.7}}],
    )
    call(device, "send_telemetry", {"kwh": 1.8})
    call(device, "send_attributes", {"fw_version": "3.1", "site": "north", "phases": 3})
    device.tell("ask")
    assert {"answered": True, "answer": [{}]} in device.heard
    assert {"limits": True} in device.heard
    eventually(5, lambda: len(readings(gateway, "meter-1")))  # one of them tells the firmware
    assert readings(gateway, "meter-1")[:3] == [
        {"ts": TS_MS, "kwh": 1.5, "on": 1.0, "volts": 229.9},
        {"ts": TS_MS + 1000, "kwh": 1.6},
        {"ts": TS_MS + 2000, "kwh": 1.7},
    ]
    assert [row["kwh"] for row in readings(gateway, "meter-1")[3:] if "kwh" in row] == [1.8]
    attributes = {"fw_version": "3.1", "site": "north", "phases": 3}
    assert events(gateway, "meter-1") == [("attributes", attributes), ("mode", {"value": "eco"})]
    assert gateway.query("SELECT firmware FROM firmware_history WHERE device_id = 'meter-1'") == [("3.1",)]
    assert gateway.query("SELECT count(*) FROM quarantine") == [(0,)]

    stranger = new_sender(*PROGRAM)
    stranger.tell("connect", kind="device", port=gateway.port, username="meter-1.guess", patience_s=2)
    assert {"connected": False} in stranger.heard


def test_a_gateway_speaks_for_the_devices_that_it_may(
    new_gateway: Callable[[], GatewayProcess], new_sender: Callable[[str, str], Sender], mosquitto: Mosquitto
) -> None:
    gateway = new_gateway()
    may = '[[listen.gateways]]\ndevice = "hub"\nspeaks_for = ["{gateway}-*"]\n'
    subscribe = f"[subscribe]\nenabled = true\nport = {mosquitto.port}\n"
    password = start(gateway, may + subscribe, "hub", "hub-1", "other")["hub"]
    hub = new_sender(*PROGRAM)
    hub.tell("connect", kind="gateway", port=gateway.port, username="hub", password=password)
    call(hub, "gw_connect_device", "hub-1")
    call(hub, "gw_send_telemetry", "hub-1", {"ts": TS_MS, "values": {"lux": 300}})
    call(hub, "gw_send_attributes", "hub-1", {"firmwareVersion": "9"})
    call(hub, "gw_send_telemetry", "other", {"ts": TS_MS, "values": {"lux": 1}})
    call(hub, "gw_disconnect_device", "hub-1")
    eventually(["online", "offline"], lambda: statuses(gateway, "hub-1"))
    assert readings(gateway, "hub-1")[0] == {"ts": TS_MS, "lux": 300.0}
    assert events(gateway, "hub-1") == [("attributes", {"firmwareVersion": "9"})]
    assert readings(gateway, "other") == []
    kept = gateway.query("SELECT device_id, reason, detail FROM quarantine")
    assert kept == [("hub", "foreign_topic", "hub may not speak for other: see listen.gateways")]

    hub = new_sender(*PROGRAM)  # on a broker nobody knows who it is: the broker's rules decide what it may say
    hub.tell("connect", kind="gateway", port=mosquitto.port)
    call(hub, "gw_send_telemetry", "other", {"ts": TS_MS, "values": {"lux": 1}})
    eventually([{"ts": TS_MS, "lux": 1.0}], lambda: readings(gateway, "other"))
