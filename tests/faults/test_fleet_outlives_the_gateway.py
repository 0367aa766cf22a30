"""A fleet goes on when the gateway is killed under it, and what was acknowledged is stored once."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import sql

from gateway.database.postmaster import wait_until
from tests.services.folders import find_free_port
from tests.services.gateway import CARELOOP, GatewayProcess
from tests.services.patience import PATIENCE_S


def test_a_killed_gateway_comes_back_to_a_fleet_that_sends_again_what_it_did_not_acknowledge(
    new_gateway: Callable[[], GatewayProcess], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CARELOOP_LISTEN__PORT", str(find_free_port()))
    gateway = new_gateway()
    gateway.start()
    command = [CARELOOP, "simulate", "fleet", "--devices", "40", "--days", "12", "--registry", tmp_path / "fleet.json"]
    fleet = subprocess.Popen([*command, "--config", gateway.config], stdout=subprocess.PIPE, text=True)
    for share in (1500, 5000):
        assert wait_until(lambda share=share: gateway.ask("/v1/counts")["readings"]["stored"] > share, PATIENCE_S)
        assert fleet.poll() is None  # it is still at it
        gateway.kill()
        gateway.start()
    said, _ = fleet.communicate(timeout=3 * PATIENCE_S)
    assert fleet.returncode == 0, said
    (distinct,) = re.findall(r"\(([\d,]+) distinct\)", said)

    rows = identities = 0
    for (table,) in gateway.query("SELECT table_name FROM reading_table"):
        counted = sql.SQL("SELECT count(*), count(DISTINCT (device_id, ts)) FROM {}").format(sql.Identifier(table))
        ((these, different),) = gateway.query(counted)
        rows, identities = rows + these, identities + different
    ((quarantined,),) = gateway.query("SELECT count(*) FROM quarantine WHERE topic LIKE '%%/telemetry'")
    assert rows == identities
    assert rows + quarantined == int(distinct.replace(",", ""))
