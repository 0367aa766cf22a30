"""Sparkplug B, as pysparkplug sends it, at the listen door and through Mosquitto; the database says what came of it."""

import json
from collections.abc import Callable
from typing import Any

from gateway.database.postmaster import wait_until
from tests.services.gateway import GatewayProcess
from tests.services.mosquitto import Mosquitto
from tests.services.patience import PATIENCE_S
from tests.services.senders import Sender

PROGRAM = ("sparkplug", "sparkplug_node.py")
ROUTES = '[[routes]]\ncodec = "sparkplug"\n'
GATEWAYS = '[[listen.gateways]]\ndevice = "edge-*"\nspeaks_for = ["pump-*"]\n'
METRICS = {
    "Inputs/Temperature (C)": ["DOUBLE", 21.5],
    "Signed": ["INT8", -3],
    "Properties/Firmware Version": ["STRING", "2.1"],
    "State": ["STRING", "idle"],
    "Node Control/Rebirth": ["BOOLEAN", False],
}
PUMP = {"rpm": ["INT32", 1450], "total": ["UINT64", 2**40], "offset": ["INT16", -200], "running": ["BOOLEAN", True]}


def add(gateway: GatewayProcess, *device_ids: str) -> dict[str, str]:
    """Register devices; their passwords."""
    return {name: json.loads(gateway.command("devices", "add", name, "--json"))["password"] for name in device_ids}


def stored(gateway: GatewayProcess, device_id: str, metric: str) -> list[float]:
    rows = gateway.query("SELECT to_jsonb(r) FROM reading_automatic r WHERE device_id = %s ORDER BY ts", device_id)
    said: list[dict[str, Any]] = [{**row, **(row["extra"] or {})} for (row,) in rows]
    return [row[metric] for row in said if row.get(metric) is not None]


def events(gateway: GatewayProcess, device_id: str) -> list[tuple[str, Any]]:
    return gateway.query("SELECT code, data FROM device_event WHERE device_id = %s ORDER BY ts, code", device_id)


def statuses(gateway: GatewayProcess, device_id: str) -> list[str]:
    query = "SELECT code FROM device_status WHERE device_id = %s ORDER BY batch_seq, batch_row"
    return [code for (code,) in gateway.query(query, device_id)]


def quarantined(gateway: GatewayProcess) -> list[tuple[str, str, str | None]]:
    return gateway.query("SELECT device_id, reason, outcome FROM quarantine ORDER BY outcome DESC NULLS FIRST")


def eventually(expected: object, look: Callable[[], object]) -> None:
    wait_until(lambda: look() == expected, PATIENCE_S)
    assert look() == expected


def connect(sender: Sender, port: int, *, aliases: bool = True, **login: str) -> None:
    sender.tell(
        "connect",
        host="127.0.0.1",
        port=port,
        group="plant",
        edge="edge-1",
        metrics=METRICS,
        devices={"pump-1": PUMP},
        aliases=aliases,
        **login,
    )


def test_births_data_gaps_and_deaths_at_the_listen_door(
    new_gateway: Callable[[], GatewayProcess], new_sender: Callable[[str, str], Sender]
) -> None:
    gateway = new_gateway()
    gateway.configure(ROUTES + GATEWAYS)
    gateway.start()
    passwords = add(gateway, "edge-1", "pump-1")
    node = new_sender(*PROGRAM)
    connect(node, gateway.port, username="edge-1", password=passwords["edge-1"])
    eventually(["online"], lambda: statuses(gateway, "pump-1"))
    eventually([21.5], lambda: stored(gateway, "edge-1", "Inputs_Temperature_C"))
    assert stored(gateway, "edge-1", "Signed") == [-3.0]
    assert stored(gateway, "pump-1", "total") == [2.0**40]
    assert stored(gateway, "pump-1", "offset") == [-200.0]
    assert stored(gateway, "pump-1", "running") == [1.0]
    assert events(gateway, "edge-1") == [("State", {"value": "idle"})]
    assert gateway.query("SELECT firmware FROM firmware_history WHERE device_id = 'edge-1'") == [("2.1",)]

    node.tell("update", device="pump-1", metrics={"rpm": ["INT32", 1500]})
    node.tell("update", metrics={"Signed": ["INT8", -4]})
    eventually([1450.0, 1500.0], lambda: stored(gateway, "pump-1", "rpm"))
    eventually([-3.0, -4.0], lambda: stored(gateway, "edge-1", "Signed"))

    node.tell("skip")
    node.tell("update", device="pump-1", metrics={"rpm": ["INT32", 1600]})
    node.tell("update", device="pump-1", metrics={"rpm": ["INT32", 1700]})
    node.until(lambda said: said.get("commanded") == "Node Control/Rebirth" and said["value"])
    eventually([("pump-1", "no_birth", None)] * 2, lambda: quarantined(gateway))
    assert ("sparkplug.gap", {"seq": 5, "after": 3}) in events(gateway, "edge-1")
    node.tell("rebirth")
    # The birth tells the last value too, with its time.
    again = [("pump-1", "no_birth", "stored"), ("pump-1", "no_birth", "duplicate")]
    eventually(again, lambda: quarantined(gateway))
    assert stored(gateway, "pump-1", "rpm") == [1450.0, 1500.0, 1600.0, 1700.0]

    node.tell("deregister", device="pump-1")
    eventually("offline", lambda: statuses(gateway, "pump-1")[-1])
    node.say("vanish")
    eventually("offline", lambda: statuses(gateway, "edge-1")[-1])


def test_an_edge_node_speaks_for_itself_only_unless_it_was_said(
    new_gateway: Callable[[], GatewayProcess], new_sender: Callable[[str, str], Sender]
) -> None:
    gateway = new_gateway()
    gateway.configure(ROUTES)
    gateway.start()
    passwords = add(gateway, "edge-1", "pump-1")
    node = new_sender(*PROGRAM)
    connect(node, gateway.port, username="edge-1", password=passwords["edge-1"])
    eventually(True, lambda: "listen.foreign_topic" in gateway.log)  # noqa: FBT003 - what is expected
    eventually([21.5], lambda: stored(gateway, "edge-1", "Inputs_Temperature_C")[:1])
    assert statuses(gateway, "pump-1") == []
    assert gateway.query("SELECT count(*) FROM reading_automatic WHERE device_id = 'pump-1'") == [(0,)]


def test_what_no_birth_explains_is_kept_across_a_kill_and_read_after_the_rebirth(
    new_gateway: Callable[[], GatewayProcess],
    new_sender: Callable[[str, str], Sender],
    mosquitto: Mosquitto,
) -> None:
    gateway = new_gateway()
    gateway.configure(f"{ROUTES}[subscribe]\nenabled = true\nport = {mosquitto.port}\n")
    gateway.start()
    add(gateway, "edge-1", "pump-1")
    node = new_sender(*PROGRAM)
    connect(node, mosquitto.port)
    eventually([1450.0], lambda: stored(gateway, "pump-1", "rpm"))
    gateway.kill()
    for rpm in (1, 2, 3):
        node.tell("update", device="pump-1", metrics={"rpm": ["INT32", rpm]})
        node.until(lambda said: "acknowledged" in said)
    gateway.start()
    node.until(lambda said: said.get("commanded") == "Node Control/Rebirth" and said["value"])
    eventually([("pump-1", "no_birth", None)] * 3, lambda: quarantined(gateway))
    gateway.kill()
    gateway.start()
    node.tell("rebirth")
    again = [*[("pump-1", "no_birth", "stored")] * 2, ("pump-1", "no_birth", "duplicate")]
    eventually(again, lambda: quarantined(gateway))
    assert stored(gateway, "pump-1", "rpm") == [1450.0, 1.0, 2.0, 3.0]
