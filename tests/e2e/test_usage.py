"""Usage as its users see it: the gateway rolls it up by itself, through a kill, and the commands say how far it is."""

import json
import time
from collections.abc import Callable

from gateway.database.postmaster import wait_until
from tests.services.gateway import GatewayProcess
from tests.services.patience import PATIENCE_S
from tests.services.publisher import Publisher, connected


def test_the_gateway_rolls_usage_up_by_itself(new_gateway: Callable[[], GatewayProcess]) -> None:
    gateway = new_gateway()
    gateway.configure('[maintenance]\nevery = "0.1s"\n[retention]\nquarantine = "90d"\n')
    gateway.start()
    password = json.loads(gateway.command("devices", "add", "band-1", "--model", "fitness-band", "--json"))["password"]
    device = Publisher("band-1", password)
    hour_ms = 3_600_000
    start = int(time.time() * 1000) // hour_ms * hour_ms - 5 * hour_ms

    def readings() -> list[int]:
        items = gateway.ask("/v1/devices/band-1/rollups", metric="steps")["items"]
        return [item["readings"] for item in items]

    with connected(device, gateway.port) as client:
        device.publish(client, [start, start + 60_000, start + hour_ms], steps=10)
        assert wait_until(lambda: readings() == [2, 1], PATIENCE_S)
    gateway.kill()
    gateway.start()
    with connected(device, gateway.port) as client:
        device.publish(client, [start + 30_000, start + 3 * hour_ms, start - 900 * 24 * hour_ms], steps=10)
        assert wait_until(lambda: readings() == [1, 3, 1, 1], PATIENCE_S)
    (day, *_) = gateway.ask("/v1/devices/band-1/rollups", bucket="day", zone="Europe/Vienna")["items"]
    assert day["metrics"]["steps"]["sum"] == 10
    plan = json.loads(gateway.command("maintenance", "plan", "--json"))
    assert plan["due"] == []
    assert plan["batches_behind"]["fitness-band"] is not None
    gateway.command("maintenance", "rebuild", "--model", "fitness-band")
    assert "rolled up in" in gateway.command("maintenance", "run")
    assert readings() == [1, 3, 1, 1]
    assert gateway.stop() == 0
    assert "maintenance.failed" not in gateway.log
