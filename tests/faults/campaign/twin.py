"""The run without faults: what was stored, played in its order to a gateway that nobody harms; its alarms compared."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from psycopg.conninfo import make_conninfo

from tests.faults.campaign.world import PASSWORD, PROBE, Gateway, World
from tests.ledger.audit import Row, find_tables, read_rows
from tests.services.folders import find_free_port
from tests.services.patience import PATIENCE_S

Devices = Sequence[Mapping[str, Any]]
Rows = list[tuple[Any, ...]]
Connection = psycopg.Connection[tuple[Any, ...]]

PACKET = 60  # readings

SETTINGS = """
[state]
folder = "{folder}/state"
[database]
url = "{url}"
[listen]
port = {port}
[api]
port = {api_port}
[profiles]
folders = ["{folder}/profiles"]
[log]
format = "json"
"""

ALARMS: LiteralString = """
SELECT device_id, watch, started_at, kind, metric, problem, severity, state, decided_ts, ended_at, events, explanation,
       score
FROM alarm ORDER BY device_id, watch, started_at
"""
EVENTS: LiteralString = """
SELECT a.device_id, a.watch, a.started_at, e.n, e.event, e.ts, e.severity, e.explanation, e.score
FROM alarm_event e JOIN alarm a USING (alarm_id) ORDER BY a.device_id, a.watch, a.started_at, e.n
"""


def compare(world: World, devices: Devices) -> tuple[str, list[str]]:
    """What is told of the comparison, and the differences."""
    folder = world.make.folder / "twin"
    folder.mkdir()
    gateway = _gateway(world, folder, devices)
    try:
        with world.sql() as conn:
            packets = _play(conn, gateway, [str(device["device_id"]) for device in devices])
            ours = _ends(conn)
    finally:
        if gateway.pid is not None:
            gateway.stop()
    with psycopg.connect(_url(world)) as conn:
        theirs = _ends(conn)
    alarms, events = (len(rows) for rows in ours)
    told = f"the same without faults: {packets} packets played again, {alarms} alarms with {events} events compared"
    return told, [difference for pair in zip(ours, theirs, strict=True) for difference in _differences(*pair)]


def _gateway(world: World, folder: Path, devices: Devices) -> Gateway:
    with psycopg.connect(world.database_url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE twin")
    gateway = Gateway(folder, find_free_port(), find_free_port())
    settings = SETTINGS.format(folder=folder, url=_url(world), port=gateway.listen_port, api_port=gateway.api_port)
    (folder / "profiles").mkdir()
    (folder / "profiles" / "probe.toml").write_text(PROBE)
    gateway.configure(settings)
    gateway.command("migrate")
    (folder / "registry.json").write_text(json.dumps({"devices": list(devices)}))
    gateway.command("devices", "import", folder / "registry.json")
    gateway.start()
    if not gateway.wait_until_ready():
        message = f"the gateway without faults did not become ready:\n{gateway.log()}"
        raise RuntimeError(message)
    return gateway


def _url(world: World) -> str:
    return make_conninfo(world.database_url, dbname="twin")


def _play(conn: Connection, gateway: Gateway, devices: Sequence[str]) -> int:
    """Publish every stored reading, each device's in the order in which they were stored; how many packets."""
    rows = [row for table in find_tables(conn) for row in read_rows(conn, table, dict.fromkeys(devices, 0))]
    rows.sort(key=lambda row: (row.key.device_id, row.batch))
    packets = 0
    for device_id, told in groupby(rows, key=lambda row: row.key.device_id):
        packets += _publish(gateway.listen_port, device_id, _payloads(list(told)))
    return packets


def _payloads(rows: Sequence[Row]) -> Iterator[bytes]:
    for at in range(0, len(rows), PACKET):
        readings = [{"ts": row.ts_ms, "seq": row.key.number, "metrics": row.metrics} for row in rows[at : at + PACKET]]
        yield json.dumps(readings).encode()


def _publish(port: int, device_id: str, payloads: Iterator[bytes]) -> int:
    client = Client(CallbackAPIVersion.VERSION2, client_id=device_id)
    client.username_pw_set(device_id, PASSWORD)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        sent = [client.publish(f"devices/{device_id}/telemetry", payload, qos=1) for payload in payloads]
        for each in sent:
            each.wait_for_publish(PATIENCE_S)
    finally:
        client.disconnect()
        client.loop_stop()
    return len(sent)


def _ends(conn: Connection) -> tuple[Rows, Rows]:
    return conn.execute(ALARMS).fetchall(), conn.execute(EVENTS).fetchall()


def _differences(ours: Rows, theirs: Rows) -> Iterator[str]:
    """Where two lists of rows differ; the last value of each row is a score, which may differ by rounding."""
    if len(ours) != len(theirs):
        only = {row[:5] for row in ours} ^ {row[:5] for row in theirs}
        yield f"{len(ours)} rows with faults, {len(theirs)} without: {sorted(map(str, only))[:3]}"
        return
    for mine, other in zip(ours, theirs, strict=True):
        if mine[:-1] != other[:-1] or not math.isclose(mine[-1], other[-1], rel_tol=1e-9):
            yield f"with faults {mine}, without {other}"
            return
