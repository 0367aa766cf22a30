"""The gateway as a process: real clients at the door, a receiver at the other end, and SQL for a second opinion."""

import itertools
import json
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from psycopg import sql
from standardwebhooks import Webhook

from gateway.database.postmaster import wait_until
from tests.services.crm import SECRET, Crm
from tests.services.gateway import GatewayProcess, run_careloop
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.mosquitto import Mosquitto
from tests.services.patience import PATIENCE_S
from tests.services.publisher import Publisher, connected


def add_device(gateway: GatewayProcess, device_id: str, *options: str) -> str:
    """Register a device the way a developer does; its password."""
    printed = json.loads(gateway.command("devices", "add", device_id, *options, "--json"))
    return str(printed["password"])


def now_ms() -> int:
    return int(time.time() * 1000)


def stored_times_ms(gateway: GatewayProcess, table: str, device_id: str) -> list[int]:
    query = sql.SQL("SELECT (extract(epoch FROM ts) * 1000)::bigint FROM {} WHERE device_id = %s ORDER BY ts")
    return [int(ts) for (ts,) in gateway.query(query.format(sql.Identifier(table)), device_id)]


def test_the_line_that_devices_add_prints_stores_a_reading(
    shared_gateway: GatewayProcess, mosquitto: Mosquitto
) -> None:
    printed = shared_gateway.command("devices", "add", "washer-1", "--model", "washing-machine")
    (line,) = [line for line in printed.splitlines() if line.strip().startswith("mosquitto_pub")]
    command = shlex.split(line)
    command[0] = str(mosquitto.binaries.mosquitto_pub)
    assert wait_until(lambda: subprocess.run(command, check=False, timeout=PATIENCE_S).returncode == 0, PATIENCE_S)
    assert wait_until(lambda: shared_gateway.ask("/v1/devices/washer-1")["stored"] == 1, PATIENCE_S)
    assert len(stored_times_ms(shared_gateway, "reading_washing_machine", "washer-1")) == 1


def test_each_acknowledged_reading_is_stored_once_and_the_api_says_what_sql_says(gateway: GatewayProcess) -> None:
    device = Publisher("band-1", add_device(gateway, "band-1", "--model", "fitness-band"))
    start = now_ms() - 3_600_000
    with connected(device, gateway.port) as client:
        for packet in range(40):
            times = [start + (packet * 10 + at) * 1000 for at in range(10)]
            device.publish(client, times, heart_rate=60 + packet)
            device.publish(client, times, heart_rate=60 + packet)  # the device was not sure
        client.publish("devices/band-1/telemetry", b"{broken", qos=1)
        assert wait_until(lambda: len(device.acknowledged) == 400, PATIENCE_S)
        assert wait_until(lambda: gateway.ask("/v1/counts")["quarantined"]["total"] == 1, PATIENCE_S)
    assert stored_times_ms(gateway, "reading_fitness_band", "band-1") == sorted(device.acknowledged)
    counts = gateway.ask("/v1/counts", exact="true")
    assert counts["readings"]["stored"] == counts["readings"]["distinct"] == 400
    assert counts["readings"]["duplicate_rows"] == 0
    assert counts["totals"]["duplicates"] == 400
    times = gateway.ask("/v1/devices/band-1/readings", fields="ts", limit=1000)["items"]
    assert [round(datetime.fromisoformat(item["ts"]).timestamp() * 1000) for item in times] == sorted(
        device.acknowledged
    )
    assert gateway.ask("/v1/quarantine")["items"][0]["reason"] == "malformed"
    assert gateway.ask("/v1/devices/band-1")["stored"] == 400


def test_kill_9_of_gateway_and_database_loses_nothing_that_was_acknowledged(gateway: GatewayProcess) -> None:
    device = Publisher("band-2", add_device(gateway, "band-2", "--model", "fitness-band"))
    start = now_ms() - 86_400_000
    sent = itertools.count()

    def publish_until(enough: Callable[[], bool], client: paho.Client) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not enough() and time.monotonic() < deadline:
            if wait_until(lambda: device.unanswered < 100 or enough(), 1.0):
                device.publish(client, [start + next(sent) * 10 for _ in range(20)], steps=7)
        assert enough()

    for strike in (gateway.kill_database, gateway.kill, gateway.kill_database, gateway.kill):
        before = len(device.acknowledged)
        with connected(device, gateway.port) as client:
            publish_until(lambda: len(device.acknowledged) > before + 500, client)  # noqa: B023 - called at once
            strike()
            for _ in range(20):
                device.publish(client, [start + next(sent) * 10 for _ in range(20)], steps=7)
            if strike == gateway.kill_database:
                after = len(device.acknowledged)
                publish_until(lambda: len(device.acknowledged) > after + 500, client)  # noqa: B023 - called at once
        if strike == gateway.kill:
            gateway.start()
    stored = stored_times_ms(gateway, "reading_fitness_band", "band-2")
    assert device.acknowledged <= set(stored)
    assert len(stored) == len(set(stored))


KETTLE = """
model = "kettle"
title = "Kettle"
[metrics.boiler_temperature]
kind = "gauge"
unit = "Cel"
minimum = -20
maximum = 300
[[watches]]
name = "too-hot"
detector = "threshold"
metric = "boiler_temperature"
problem = "overheating"
severity = "critical"
for = "5m"
keep_firing_for = "5m"
parameters = { above = 125, clear_below = 110 }
[[playbooks]]
problem = "overheating"
title = "The kettle runs too hot"
"""


def start_kettles(gateway: GatewayProcess, crm: Crm) -> Publisher:
    """Start a gateway that knows one more product, and register one of that product."""
    profiles = gateway.folder / "profiles"
    profiles.mkdir()
    (profiles / "kettle.toml").write_text(KETTLE)
    gateway.configure(f'{crm.settings()}[profiles]\nfolders = ["{profiles}"]\n')
    gateway.start()
    return Publisher("kettle-1", add_device(gateway, "kettle-1", "--model", "kettle"))


def minutes_ago_ms(minutes: float) -> int:
    return int((datetime.now(UTC) - timedelta(minutes=minutes)).timestamp() * 1000)


def test_one_fault_is_one_case_through_kill_9_and_closes_when_it_is_gone(
    new_gateway: Callable[[], GatewayProcess], crm: Crm
) -> None:
    gateway = new_gateway()
    device = start_kettles(gateway, crm)

    def heat(celsius: float, from_minute: int, to_minute: int) -> None:
        with connected(device, gateway.port) as client:
            times = [minutes_ago_ms(minute) for minute in range(from_minute, to_minute, -1)]
            for ts in times:
                device.publish(client, [ts], boiler_temperature=celsius)
            assert wait_until(lambda: set(times) <= device.acknowledged, PATIENCE_S)

    heat(95.0, 120, 90)
    heat(140.0, 90, 60)
    assert wait_until(lambda: "case.opened" in crm.types(), PATIENCE_S)
    assert wait_until(lambda: gateway.ask("/v1/counts")["outbox"]["delivered"] == 1, PATIENCE_S)
    gateway.kill()
    gateway.start()
    heat(141.0, 60, 45)
    heat(94.0, 45, 0)
    assert wait_until(lambda: "case.resolved" in crm.types(), PATIENCE_S), gateway.log[-3000:]
    opened = [message for message in crm.heard if message["type"] == "case.opened"]
    assert len({message["data"]["case_id"] for message in opened}) == 1
    (case,) = gateway.ask("/v1/cases")["items"]
    assert case["state"] == "resolved"
    assert case["resolution"] == "recovered_in_telemetry"
    assert "140" in opened[0]["data"]["brief"]
    (alarm,) = gateway.ask("/v1/alarms")["items"]
    assert alarm["state"] == "cleared"
    assert alarm["events"][0]["event"] == "raised"


def test_a_signed_callback_moves_the_case_and_a_forged_one_does_not(
    new_gateway: Callable[[], GatewayProcess], crm: Crm
) -> None:
    gateway = new_gateway()
    device = start_kettles(gateway, crm)
    with connected(device, gateway.port) as client:
        for minute in range(60, 0, -1):
            device.publish(client, [minutes_ago_ms(minute)], boiler_temperature=140.0)
        assert wait_until(lambda: "case.opened" in crm.types(), PATIENCE_S)
    case_id = crm.heard[0]["data"]["case_id"]
    said = {"case": case_id, "status": "resolved", "outcome": "true", "external_id": "T-1"}
    now = datetime.now(UTC)
    body = json.dumps({"type": "case.status", "timestamp": now.isoformat(), "data": said})
    url = f"{gateway.address['api_url']}/v1/callbacks/helpdesk"

    def call(signature: str) -> int:
        headers = {"webhook-id": "cb_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
        return httpx.post(url, content=body, headers=headers, verify=IN_THE_CLEAR, timeout=PATIENCE_S).status_code

    assert call("v1,Zm9yZ2Vk") == 401
    assert gateway.ask(f"/v1/cases/{case_id}")["state"] != "resolved"
    signature = Webhook(SECRET).sign("cb_1", now, body)
    assert call(signature) == 200
    assert call(signature) == 200  # said twice, done once
    case = gateway.ask(f"/v1/cases/{case_id}")
    assert (case["state"], case["resolution"], case["outcome"]) == ("resolved", "resolved_by_agent", "true")
    assert case["endpoints"][0]["external_id"] == "T-1"


def test_readings_from_a_broker_are_stored_once_through_kill_9(
    new_gateway: Callable[[], GatewayProcess], mosquitto: Mosquitto
) -> None:
    gateway = new_gateway()
    gateway.configure(
        f'[ingest]\nunknown_device = "register"\n'
        f"[subscribe]\nenabled = true\nport = {mosquitto.port}\nreconnect_min = 0.1\n"
    )
    gateway.start()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect(mosquitto.host, mosquitto.port)
    client.loop_start()
    start = now_ms() - 3_600_000
    total = 3000
    with ExitStack() as leaving:
        leaving.callback(client.loop_stop)
        leaving.callback(client.disconnect)
        for at in range(total):
            body = json.dumps({"ts": start + at * 100, "metrics": {"load": at}})
            client.publish(f"devices/node-{at % 7}/telemetry", body, qos=1)
            if at == total // 3:
                gateway.kill()
            if at == 2 * total // 3:
                gateway.start()
        assert wait_until(lambda: gateway.ask("/v1/counts")["readings"]["stored"] >= total, PATIENCE_S)
    counts = gateway.ask("/v1/counts", exact="true")
    assert counts["readings"]["stored"] == counts["readings"]["distinct"] == total


def test_tail_shows_what_becomes_of_each_packet(shared_gateway: GatewayProcess) -> None:
    device = Publisher("bike-1", add_device(shared_gateway, "bike-1", "--model", "e-bike"))
    headers = {"Authorization": f"Bearer {shared_gateway.address['api_token']}"}
    url = f"{shared_gateway.address['api_url']}/v1/devices/bike-1/tail"
    fates: list[dict[str, Any]] = []
    listening = threading.Event()

    def listen() -> None:
        with httpx.stream("GET", url, headers=headers, verify=IN_THE_CLEAR, timeout=PATIENCE_S) as stream:
            listening.set()
            for line in stream.iter_lines():
                fates.append(json.loads(line))
                if len(fates) == 2:
                    return

    listener = threading.Thread(target=listen)
    listener.start()
    assert listening.wait(PATIENCE_S)
    with connected(device, shared_gateway.port) as client:
        device.publish(client, [now_ms()], battery=80)
        client.publish("devices/bike-1/telemetry", b'{"metrics": {"battery": 4000}}', qos=1)
        listener.join(PATIENCE_S)
    assert [fate["stored"] for fate in fates] == [1, 0]
    assert fates[1]["reason"] == "out_of_range"


def test_it_stops_in_good_order_and_starts_where_it_was(gateway: GatewayProcess) -> None:
    device = Publisher("band-3", add_device(gateway, "band-3", "--model", "fitness-band"))
    with connected(device, gateway.port) as client:
        device.publish(client, [now_ms()], steps=1)
        assert wait_until(lambda: len(device.acknowledged) == 1, PATIENCE_S)
    assert gateway.stop() == 0
    assert not (gateway.state / "gateway.json").exists()
    gateway.start()
    assert gateway.ask("/v1/counts")["readings"]["stored"] == 1


def test_the_api_wants_its_token_and_health_does_not(shared_gateway: GatewayProcess) -> None:
    url = shared_gateway.address["api_url"]
    assert httpx.get(f"{url}/healthz", verify=IN_THE_CLEAR, timeout=PATIENCE_S).status_code == 200
    assert wait_until(
        lambda: httpx.get(f"{url}/readyz", verify=IN_THE_CLEAR, timeout=PATIENCE_S).json()["ready"] is True, PATIENCE_S
    )
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        refused = httpx.get(f"{url}/v1/counts", headers=headers, verify=IN_THE_CLEAR, timeout=PATIENCE_S)
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
    assert shared_gateway.ask("/openapi.json")["info"]["title"] == "careloop"
    with pytest.raises(httpx.HTTPStatusError, match="422"):
        shared_gateway.ask("/v1/devices", cursor="nonsense")
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        shared_gateway.ask("/v1/alarms/alm_nowhere")


def test_wrong_settings_are_all_named_and_exit_with_2(tmp_path: Path) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text('[listen]\nport = "door"\nhost = "0.0.0.0"\n[batch]\nmax_readings = 0\n[nonsense]\nx = 1\n')
    done = run_careloop("run", "--config", config)
    assert done.returncode == 2
    for name in ("listen.port", "listen.host", "batch.max_readings", "nonsense"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_exits_with_2(shared_gateway: GatewayProcess, new_gateway: Callable[[], GatewayProcess]) -> None:
    other = new_gateway()
    other.configure()
    other.config.write_text(
        other.config.read_text().replace("[listen]\nport = 0", f"[listen]\nport = {shared_gateway.port}")
    )
    done = run_careloop("run", "--config", other.config)
    assert done.returncode == 2
    assert "listen.port" in done.stderr


AS_THE_MACHINE_IS = {"database answers"}
"""What a machine with much else to do has wrong with it."""


def examine(gateway: GatewayProcess) -> list[dict[str, Any]]:
    """What `careloop doctor` finds; its exit code says whether that is anything wrong."""
    done = run_careloop("doctor", "--json", "--config", gateway.config)
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == (0 if all(finding["ok"] for finding in findings) else 1), done.stderr
    return findings


def test_doctor_finds_nothing_wrong_with_a_running_gateway(gateway: GatewayProcess) -> None:
    findings = examine(gateway)
    assert {finding["what"] for finding in findings if not finding["ok"]} <= AS_THE_MACHINE_IS, findings
    (says,) = [finding["says"] for finding in findings if finding["what"] == "gateway"]
    assert str(gateway.address["pid"]) in says


def test_doctor_tells_a_broker_that_refuses_us_from_one_that_lets_us_in(
    new_gateway: Callable[[], GatewayProcess], mosquitto: Mosquitto
) -> None:
    gateway = new_gateway()
    gateway.configure(
        f"[subscribe]\nenabled = true\nport = {mosquitto.port}\nusername = 'careloop'\npassword = 'wrong'\n"
    )

    def broker() -> tuple[bool, str]:
        return next((found["ok"], found["says"]) for found in examine(gateway) if found["what"] == "broker")

    is_well, says = broker()
    assert is_well
    assert "lets us in" in says
    mosquitto.stop()
    is_well, says = broker()
    assert not is_well
    assert "takes no connection" in says
    passwords = mosquitto.folder / "passwords"
    subprocess.run(
        [mosquitto.binaries.mosquitto_passwd, "-b", "-c", passwords, "careloop", "right"],
        check=True,
        timeout=PATIENCE_S,
    )
    passwords.chmod(0o644)
    mosquitto.start(f"password_file {passwords}", "allow_anonymous false")
    is_well, says = broker()
    assert not is_well
    assert "refuses us" in says
