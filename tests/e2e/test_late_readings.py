"""A band that syncs half of its readings days late: the alarm that came of it is taken back, nobody was bothered."""

import json
import time
from collections.abc import Callable

from gateway.database.postmaster import wait_until
from tests.services.crm import Crm
from tests.services.gateway import GatewayProcess
from tests.services.patience import PATIENCE_S
from tests.services.publisher import Publisher, connected

HOUR_MS = 3_600_000
LATE_DAYS = 4
MORE = """
[order]
rejudge_after = "3s"
rejudge_every = "1s"
[crm.quiet_hours]
start = 00:00:00
end = 23:59:59
"""


def register(gateway: GatewayProcess) -> Publisher:
    """A band whose owner may be reached by e-mail."""
    entry = {
        "device_id": "band-7",
        "model": "fitness-band",
        "password": "a secret of the band",
        "owner": {"owner_ref": "person-7", "time_zone": "Europe/Vienna"},
        "grants": [{"purpose": "service", "recipient": channel} for channel in ("email", "sms", "push")],
    }
    file = gateway.folder / "bands.json"
    file.write_text(json.dumps({"devices": [entry]}))
    gateway.command("devices", "import", file)
    return Publisher("band-7", "a secret of the band")


def test_an_alarm_that_a_late_sync_refutes_is_taken_back_with_its_case(
    new_gateway: Callable[[], GatewayProcess], crm: Crm
) -> None:
    gateway = new_gateway()
    gateway.configure(crm.settings() + MORE)
    gateway.start()
    device = register(gateway)
    now_hour = int(time.time() * 1000) // HOUR_MS
    hours = range(now_hour - 20 * 24, now_hour)
    late_from = now_hour - LATE_DAYS * 24

    def steps(hour: int) -> float:
        return 600.0 if hour % 24 in range(7, 20) else 0.0

    with connected(device, gateway.port) as client:
        for hour in hours:
            device.publish(client, [hour * HOUR_MS], steps=steps(hour) if hour < late_from else 0.0, heart_rate=70.0)
        assert wait_until(lambda: "case.opened" in crm.types(), PATIENCE_S), gateway.log[-3000:]
        for hour in hours:
            if hour >= late_from:  # what the band kept to itself
                device.publish(client, [hour * HOUR_MS + HOUR_MS // 2 - 1], steps=steps(hour))
        assert wait_until(lambda: "case.retracted" in crm.types(), PATIENCE_S), gateway.log[-3000:]
    (alarm,) = gateway.ask("/v1/alarms")["items"]
    assert (alarm["state"], alarm["kind"]) == ("retracted", "usage_drop")
    assert [event["event"] for event in alarm["events"]][-1] == "retracted"
    assert alarm["explanation"]["text"].startswith("Taken back. ")
    (case,) = gateway.ask("/v1/cases")["items"]
    assert (case["state"], case["resolution"]) == ("retracted", "alarm_retracted")
    assert wait_until(lambda: gateway.ask("/v1/counts")["outbox"]["pending"] == 0, PATIENCE_S)
    assert crm.types().count("case.opened") == crm.types().count("case.retracted") == 1
    assert not [message for message in crm.heard if message["data"].get("outreach")]
    order = gateway.ask("/v1/devices/band-7")["order"]
    assert order["rejudged"] == "corrected"
    assert gateway.ask("/v1/counts")["order"]["rejudged"]["corrected"] == 1
