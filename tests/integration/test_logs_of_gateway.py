"""What a gateway says of its work: JSON lines, one per batch and per delivery, and no person in them."""

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx

from gateway.database.postmaster import wait_until
from tests.services.boilers import HOT, IMPOSSIBLE, start_boilers
from tests.services.crm import SECRET, Crm
from tests.services.gateway import GatewayProcess
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S
from tests.services.publisher import Publisher, connected


def lines(gateway: GatewayProcess) -> list[dict[str, Any]]:
    """What was logged; what `careloop run` prints for people at its start is not."""
    return [json.loads(line) for line in gateway.log.splitlines() if line.startswith("{")]


def test_one_line_per_batch_and_per_delivery_and_nothing_about_people(
    new_gateway: Callable[[], GatewayProcess], crm: Crm
) -> None:
    gateway = new_gateway()
    text = '[log]\nformat = "json"\nlevel = "debug"\n'
    (device,) = start_boilers(gateway, crm, 1)
    gateway.stop()
    gateway.config.write_text(gateway.config.read_text().replace('[log]\nformat = "json"\n', text))
    (gateway.folder / "gateway.log").write_text("")
    gateway.start()
    now_ms = int(time.time() * 1000)
    with connected(device, gateway.port) as client:
        device.publish(client, [now_ms], temperature=HOT)
        device.publish(client, [now_ms + 1], temperature=IMPOSSIBLE)
        client.publish(f"devices/{device.device_id}/telemetry", b'{"secret-payload', qos=1)
        assert wait_until(lambda: gateway.ask("/v1/counts")["quarantined"]["total"] == 2, PATIENCE_S)
        assert wait_until(lambda: crm.types() == ["case.opened"], PATIENCE_S)
        assert wait_until(lambda: gateway.ask("/v1/counts")["outbox"]["delivered"] == 1, PATIENCE_S)
    with connected(Publisher(device.device_id, "wrong-password"), gateway.port):
        assert wait_until(
            lambda: (
                "logins_refused"
                in httpx.get(f"{gateway.address['api_url']}/metrics", verify=IN_THE_CLEAR, timeout=PATIENCE_S).text
            ),
            PATIENCE_S,
        )
    batches = gateway.ask("/v1/counts")["pipeline"]["batches"]
    token = gateway.address["api_token"]
    gateway.stop()
    said = [line for line in gateway.log.splitlines() if line]
    announced = ("api ", "database ", "listen ")
    assert [line for line in said if not line.startswith(("{", *announced))] == []
    logged = lines(gateway)
    events = Counter(line["event"] for line in logged)
    assert events["batch.committed"] == batches
    assert events["delivery.settled"] == 1
    assert events["inbox.worked"] == 1
    (delivery,) = [line for line in logged if line["event"] == "delivery.settled"]
    assert delivery["result"] == "ok"
    assert delivery["endpoint"] == "helpdesk"
    for line in logged:
        assert {"event", "level", "timestamp"} <= line.keys()
        assert line["level"] in {"debug", "info", "warning", "error"}
        assert " " not in line["event"], line
    private = (
        *("person-0", "account-0", "Europe/Berlin", "secret-payload", "120.0", "900.0", "wrong-password"),
        *("pass-0-word", SECRET, token, "The boiler runs too hot"),
    )
    assert [word for word in private if word in gateway.log] == []
