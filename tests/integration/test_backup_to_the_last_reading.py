"""The base backup and the log beside it of docs/operations.md: a lost disk costs no acknowledged reading."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway.database.embedded import EmbeddedPostgres
from gateway.database.postmaster import wait_until
from gateway.database.unprivileged import account_for, wheel_programs
from tests.integration.test_backup import HOT, WELL, busy, send, stored_ms
from tests.services.boilers import start_boilers
from tests.services.crm import Crm
from tests.services.gateway import GatewayProcess
from tests.services.patience import PATIENCE_S

WAITS_FOR_THE_LOG = "SELECT sync_state FROM pg_stat_replication WHERE application_name = 'pg_receivewal'"


def program(name: str, url: str, *arguments: str | Path) -> "subprocess.Popen[bytes]":
    """One of PostgreSQL's programs, begun on a database."""
    target = make_conninfo(url, password=None)
    return subprocess.Popen(
        [wheel_programs(None) / name, *arguments, f"--dbname={target}"],
        env={**os.environ, "PGPASSWORD": str(conninfo_to_dict(url)["password"])},
        stderr=subprocess.DEVNULL,
    )


@contextmanager
def log_received(url: str, folder: Path) -> Generator[None]:
    """Every commit waits until the write-ahead log of it lies in the folder as well."""
    assert program("pg_receivewal", url, "--slot=backup", "--create-slot").wait(PATIENCE_S) == 0
    receiver = program("pg_receivewal", url, "--slot=backup", "--synchronous", f"--directory={folder}")
    try:
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("ALTER SYSTEM SET synchronous_standby_names = 'pg_receivewal'")
            conn.execute("SELECT pg_reload_conf()")
            assert wait_until(lambda: conn.execute(WAITS_FOR_THE_LOG).fetchone() == ("sync",), PATIENCE_S)
        yield
    finally:
        receiver.terminate()
        receiver.wait(PATIENCE_S)


def put_back(base: Path, log: Path, password: str, folder: Path) -> None:
    """Make the folder of an embedded database from a base backup and the log received since."""
    for part in log.glob("*.partial"):
        part.rename(part.with_suffix(""))
    EmbeddedPostgres(folder).remove()  # what a gateway of the tests begins with
    data = EmbeddedPostgres(folder).data
    data.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(base, data)
    shutil.copytree(log, data / "received")
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write("restore_command = 'cp \"received/%f\" \"%p\"'\nsynchronous_standby_names = ''\n")
    (data / "recovery.signal").touch()
    account = account_for(folder / "data")
    if account is not None:
        for path in (data, *data.rglob("*")):
            account.give(path)
    data.chmod(0o700)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "connection.json").write_text(json.dumps({"data": str(data), "port": 0, "password": password}))


def test_a_lost_disk_costs_no_acknowledged_reading(
    new_gateway: Callable[[], GatewayProcess], tmp_path: Path, crm: Crm
) -> None:
    gateway = new_gateway()
    ill, well = start_boilers(gateway, crm, 2)
    start_ms = int(time.time() * 1000) // 1000 * 1000 - 7200_000
    base, log = tmp_path / "base", tmp_path / "log"
    log.mkdir()
    url = gateway.database_url
    with log_received(url, log):
        with busy(well, gateway.port, start_ms):
            assert wait_until(lambda: len(well.acknowledged) > 100, PATIENCE_S)
            assert program("pg_basebackup", url, f"--pgdata={base}", "--checkpoint=fast").wait(PATIENCE_S) == 0
            during = len(well.acknowledged)
            assert wait_until(lambda: len(well.acknowledged) > during + 200, PATIENCE_S)
        send(ill, gateway.port, [start_ms], HOT)
        assert wait_until(lambda: gateway.ask("/v1/counts")["outbox"]["delivered"] == 1, PATIENCE_S)
        gateway.kill_database()
        gateway.kill()
    (case,) = {message["data"]["case_id"] for message in crm.heard}
    gateway.remove()
    shutil.rmtree(gateway.state)

    other = new_gateway()
    start_at = gateway.folder / "profiles"
    other.configure(f'{crm.settings()}[profiles]\nfolders = ["{start_at}"]\n')
    put_back(base, log, str(conninfo_to_dict(url)["password"]), other.state / "database")
    other.start()
    assert well.acknowledged <= set(stored_ms(other.database_url, well))
    assert ill.acknowledged == set(stored_ms(other.database_url, ill))
    assert [each["case_id"] for each in other.ask("/v1/cases")["items"]] == [case]
    send(ill, other.port, [start_ms + minute * 60_000 for minute in range(1, 110)], WELL)
    assert wait_until(lambda: "case.resolved" in crm.types(), PATIENCE_S), other.log[-2000:]
    assert crm.types() == ["case.opened", "case.resolved"]
    assert other.stop() == 0
