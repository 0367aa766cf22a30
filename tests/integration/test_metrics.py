"""`/metrics`, read by the parser of Prometheus's own library: what was done is counted, and nobody is named."""

import re
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import cast

import httpx
import psycopg
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse

from gateway.database.postmaster import wait_until
from tests.services.boilers import HOT, IMPOSSIBLE, WELL, start_boilers
from tests.services.crm import Crm
from tests.services.gateway import GatewayProcess
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S
from tests.services.publisher import Publisher, connected

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]
PARSE_OPEN_METRICS = cast("Callable[[str], Iterable[Metric]]", open_metrics.text_string_to_metric_families)  # pyright: ignore[reportUnknownMemberType]


def scrape(gateway: GatewayProcess) -> str:
    """The exposition, without a token, from this machine."""
    return (
        httpx.get(f"{gateway.address['api_url']}/metrics", verify=IN_THE_CLEAR, timeout=PATIENCE_S)
        .raise_for_status()
        .text
    )


def numbers(text: str) -> Numbers:
    """Every sample by its name and labels; each of them must be there once."""
    found: Numbers = {}
    for family in parse(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(found: Numbers, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_what_was_done_is_counted_and_nobody_is_named(new_gateway: Callable[[], GatewayProcess], crm: Crm) -> None:
    gateway = new_gateway()
    hot, well = start_boilers(gateway, crm, 2)
    now_ms = int(time.time() * 1000)
    with ExitStack() as stack:
        hot_client, well_client = (stack.enter_context(connected(each, gateway.port)) for each in (hot, well))
        hot.publish(hot_client, [now_ms], temperature=HOT)
        well.publish(well_client, [now_ms - second * 1000 for second in range(10)], temperature=WELL)
        well.publish(well_client, [now_ms], temperature=WELL)
        well.publish(well_client, [now_ms + 1], temperature=IMPOSSIBLE)
        wrong = Publisher(well.device_id, "not-the-password")
        assert wait_until(lambda: hot.unanswered + well.unanswered == 0, PATIENCE_S)
        stack.enter_context(connected(wrong, gateway.port))
        assert wait_until(lambda: "careloop_logins_refused_total{" in scrape(gateway), PATIENCE_S)
        assert wait_until(lambda: "case.opened" in crm.types(), PATIENCE_S)
        assert wait_until(lambda: set(DELIVERED) <= set(scrape(gateway).splitlines()), PATIENCE_S), scrape(gateway)
        found = numbers(scrape(gateway))
        assert value(found, "careloop_connections") == 2
    assert value(found, "careloop_readings_total", result="stored") == 11
    assert value(found, "careloop_readings_total", result="duplicate") == 1
    assert value(found, "careloop_quarantined_total", reason="out_of_range") == 1
    assert value(found, "careloop_packets_total") == 4
    assert value(found, "careloop_logins_total") == 2
    assert value(found, "careloop_ready") == 1
    assert value(found, "careloop_door_open", door="listen") == 1
    batches = value(found, "careloop_batches_total")
    assert 1 <= batches <= 4
    assert value(found, "careloop_batch_readings_bucket", le="+Inf") == batches
    assert value(found, "careloop_batch_readings_sum") == 13
    assert value(found, "careloop_acknowledgement_seconds_count") == batches
    assert value(found, "careloop_batch_commit_seconds_count") == batches
    whole_s = value(found, "careloop_batch_transaction_seconds_sum")
    assert 0 < value(found, "careloop_batch_commit_seconds_sum") < whole_s
    assert value(found, "careloop_queue_packets_limit") == 50000
    assert value(found, "process_resident_memory_bytes") > 10e6
    assert value(found, "careloop_crm_process_resident_memory_bytes") > 10e6
    assert value(found, "careloop_database_pool_connections", pool="crm", state="open") >= 1
    assert value(found, "careloop_alarms", kind="threshold", state="active") == 1
    assert value(found, "careloop_notices_worked_total") == 1
    assert "boiler" not in scrape(gateway)
    check_open_metrics(gateway)
    assert gateway.ask("/v1/counts")["outbox"] == {"pending": 0, "delivered": 1, "dead": 0, "withdrawn": 0}


DELIVERED = (
    'careloop_cases{state="open"} 1.0',
    'careloop_deliveries_total{endpoint="helpdesk",result="ok"} 1.0',
    'careloop_outbox_messages{state="delivered"} 1.0',
)
"""What the CRM side's own process has done is told when it says so."""


def check_open_metrics(gateway: GatewayProcess) -> None:
    """The other format is spoken too, names follow the rules, and each family says what it is."""
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = httpx.get(f"{gateway.address['api_url']}/metrics", headers=accept, verify=IN_THE_CLEAR, timeout=PATIENCE_S)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = list(PARSE_OPEN_METRICS(answer.text))
    assert len(families) > 50
    for family in families:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert not family.name.endswith(("_total", "_ms", "_milliseconds", "_count")), family.name


TALLIED = """
SELECT 'alarms' AS what, kind || ' ' || state AS key, count(*) AS n FROM alarm GROUP BY 2
UNION ALL SELECT 'quarantined', reason, count(*) FROM quarantine GROUP BY 2
UNION ALL SELECT 'inbox', state, count(*) FROM inbox GROUP BY 2
UNION ALL SELECT 'cases', state, count(*) FROM service_case GROUP BY 2
UNION ALL SELECT 'outbox', state, count(*) FROM outbox_message GROUP BY 2
ORDER BY 1, 2
"""

KNOWN = """
SELECT what, key, sum(n)::bigint
  FROM (SELECT what, key, n FROM tally UNION ALL SELECT what, key, n FROM tally_change) AS known
 GROUP BY what, key HAVING sum(n) <> 0 ORDER BY 1, 2
"""


def test_tallies_say_what_counting_says(new_gateway: Callable[[], GatewayProcess], crm: Crm) -> None:
    gateway = new_gateway()
    devices = start_boilers(gateway, crm, 3)
    now_ms = int(time.time() * 1000) - 3_600_000
    for number, device in enumerate(devices):
        with connected(device, gateway.port) as client:
            device.publish(client, [now_ms], temperature=HOT)
            device.publish(client, [now_ms + 1000 + n for n in range(number)], temperature=IMPOSSIBLE)
            opened = number + 1
            assert wait_until(lambda: crm.types().count("case.opened") == opened, PATIENCE_S)  # noqa: B023 - at once
            if number:
                device.publish(client, [now_ms + minute * 60_000 for minute in range(1, 60)], temperature=WELL)
            assert wait_until(lambda: device.unanswered == 0, PATIENCE_S)  # noqa: B023 - called at once
    assert wait_until(lambda: crm.types().count("case.resolved") == 2, PATIENCE_S)
    assert wait_until(lambda: gateway.ask("/v1/counts")["outbox"]["pending"] == 0, PATIENCE_S)
    with psycopg.connect(gateway.database_url, autocommit=True) as conn:
        conn.execute("DELETE FROM inbox WHERE state = 'done' AND device_id = %s", [devices[0].device_id])
        conn.execute("UPDATE outbox_message SET state = 'dead' WHERE type = 'case.resolved'")
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # something may still be worked
            counted = conn.execute(TALLIED).fetchall()
            assert conn.execute(KNOWN).fetchall() == counted
    counts = gateway.ask("/v1/counts")
    assert counts["outbox"]["dead"] == 2
    assert counts["cases"]["by_state"]["resolved"] == 2
    assert counts["quarantined"] == {"total": 3, "by_reason": {"out_of_range": 3}}
