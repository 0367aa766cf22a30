"""The backup that docs/operations.md describes: taken under load, restored into a new server, and served from there."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway.database.embedded import EmbeddedPostgres, replace_database
from gateway.database.postmaster import wait_until
from gateway.database.unprivileged import wheel_programs
from tests.services.boilers import HOT, WELL, start_boilers
from tests.services.crm import Crm
from tests.services.gateway import GatewayProcess
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S
from tests.services.publisher import Publisher, connected


def run(program: str, url: str, *arguments: str | Path) -> None:
    """Run one of PostgreSQL's programs against a database."""
    said = conninfo_to_dict(url)
    target = make_conninfo(url, password=None)
    done = subprocess.run(
        [wheel_programs(None) / program, *arguments, f"--dbname={target}"],
        env={**os.environ, "PGPASSWORD": str(said["password"])},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def busy(device: Publisher, port: int, start_ms: int) -> Generator[None]:
    """A device that publishes a reading a second of device time, all the time, until the end of the block."""
    stop = threading.Event()

    def publish() -> None:
        with connected(device, port) as client:
            ts = start_ms
            while not stop.is_set():
                if wait_until(lambda: device.unanswered < 20 or stop.is_set(), 1.0):
                    device.publish(client, [ts], temperature=WELL)
                    ts += 1000
            wait_until(lambda: device.unanswered == 0, PATIENCE_S)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def send(device: Publisher, port: int, times_ms: list[int], celsius: float) -> None:
    """Send readings, and wait for their acknowledgement."""
    with connected(device, port) as client:
        for start in range(0, len(times_ms), 500):
            device.publish(client, times_ms[start : start + 500], temperature=celsius)
        assert wait_until(lambda: device.unanswered == 0, PATIENCE_S)


STORED = "SELECT (extract(epoch FROM ts) * 1000)::bigint FROM reading_boiler WHERE device_id = %s ORDER BY ts"


def stored_ms(url: str, device: Publisher) -> list[int]:
    with psycopg.connect(url) as conn:
        return [int(ts) for (ts,) in conn.execute(STORED, [device.device_id])]


def test_a_backup_under_load_is_restored_and_goes_on_where_it_was(
    new_gateway: Callable[[], GatewayProcess], service_folder: Path, crm: Crm
) -> None:
    gateway = new_gateway()
    ill, well = start_boilers(gateway, crm, 2)
    now_ms = int(time.time() * 1000) // 1000 * 1000
    start_ms = now_ms - 7200_000
    fault = [start_ms]
    send(ill, gateway.port, fault, HOT)
    assert wait_until(lambda: crm.types() == ["case.opened"], PATIENCE_S)
    assert wait_until(lambda: gateway.ask("/v1/counts")["outbox"]["delivered"] == 1, PATIENCE_S)
    (case,) = gateway.ask("/v1/cases")["items"]
    dump = gateway.folder / "careloop.dump"
    with busy(well, gateway.port, start_ms):
        assert wait_until(lambda: len(well.acknowledged) > 200, PATIENCE_S)
        before = set(well.acknowledged)
        run("pg_dump", gateway.database_url, "--format=custom", f"--file={dump}")
        during = len(well.acknowledged)
        assert wait_until(lambda: len(well.acknowledged) > during, PATIENCE_S)
    assert during > len(before)  # it was taken while readings came in
    gateway.kill()

    with EmbeddedPostgres(service_folder / "restored") as server:
        with psycopg.connect(server.url, autocommit=True) as conn:
            conn.execute("CREATE DATABASE restored TEMPLATE template0")
        url = replace_database(server.url, "restored")
        run("pg_restore", url, "--no-owner", "--exit-on-error", "--single-transaction", dump)
        assert before <= set(stored_ms(url, well))

        other = new_gateway()
        start_at = gateway.folder / "profiles"
        other.configure(f'{crm.settings()}[profiles]\nfolders = ["{start_at}"]\n[database]\nurl = "{url}"\n')
        other.start()
        sent_again = sorted(well.acknowledged)
        send(well, other.port, sent_again, WELL)
        send(ill, other.port, fault, HOT)
        assert stored_ms(url, well) == sent_again
        assert stored_ms(url, ill) == fault
        assert [each["case_id"] for each in other.ask("/v1/cases")["items"]] == [case["case_id"]]
        assert len(other.ask("/v1/alarms")["items"]) == 1
        # The detector remembers the fault: it is the same episode that ends, and the same case that closes.
        send(ill, other.port, [start_ms + minute * 60_000 for minute in range(1, 110)], WELL)
        assert wait_until(lambda: "case.resolved" in crm.types(), PATIENCE_S), other.log[-2000:]
        assert crm.types() == ["case.opened", "case.resolved"]
        assert {message["data"]["case_id"] for message in crm.heard} == {case["case_id"]}
        ready = f"{other.address['api_url']}/readyz"
        assert wait_until(lambda: httpx.get(ready, verify=IN_THE_CLEAR, timeout=PATIENCE_S).is_success, PATIENCE_S)
        assert wait_until(lambda: other.ask("/v1/counts")["outbox"]["pending"] == 0, PATIENCE_S)
        counts = other.ask("/v1/counts", exact="true")
        assert counts["readings"]["duplicate_rows"] == 0
        assert counts["outbox"] == {"pending": 0, "delivered": 2, "dead": 0, "withdrawn": 0}
        other.stop()
