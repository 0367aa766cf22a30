"""`careloop maintenance run`, as a script reads what it prints."""

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import careloop
from gateway.maintenance.sessions import LOCK_MAINTENANCE


@pytest.fixture
def config(tmp_path: Path, plain_database_url: str) -> Path:
    """Settings that name a product model which is nowhere."""
    path = tmp_path / "careloop.toml"
    path.write_text(
        f"[state]\nfolder = {json.dumps(str(tmp_path))}\n[database]\nurl = {json.dumps(plain_database_url)}\n"
        '[[retention.models]]\nmodel = "toaster"\nreadings = "90d"\n'
    )
    return path


def test_a_warning_of_a_round_by_hand_is_not_mixed_into_what_it_prints(config: Path) -> None:
    result = CliRunner().invoke(careloop, ["maintenance", "run", "--json", "--config", str(config)])
    assert json.loads(result.stdout) == {"slices": 0, "retired": {}}
    assert "retention.unknown_model" in result.stderr


def run_by_hand(config: Path) -> Result:
    """A round now."""
    return CliRunner().invoke(careloop, ["maintenance", "run", "--json", "--config", str(config)])


WAITS: LiteralString = """
SELECT EXISTS (SELECT FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
                WHERE l.locktype = 'advisory' AND NOT l.granted AND a.datname = current_database()
                  AND clock_timestamp() - a.query_start > '700 ms')
"""


def wait_until_it_waits(conn: psycopg.Connection, round_by_hand: Future[Result]) -> None:
    """Until the round has waited for longer than it would for a table, or is over."""
    while not round_by_hand.done() and conn.execute(WAITS).fetchone() != (True,):
        time.sleep(0.01)


def test_a_round_by_hand_waits_for_the_gateway_s_own(config: Path, plain_database_url: str) -> None:
    with psycopg.connect(plain_database_url, autocommit=True) as watcher, ThreadPoolExecutor(1) as pool:
        with psycopg.connect(plain_database_url) as gateway:
            gateway.execute(LOCK_MAINTENANCE)
            round_by_hand = pool.submit(run_by_hand, config)
            wait_until_it_waits(watcher, round_by_hand)
            assert not round_by_hand.done(), round_by_hand.result()
        assert json.loads(round_by_hand.result().stdout) == {"slices": 0, "retired": {}}


def test_a_table_that_somebody_has_locked_is_told_in_a_sentence(config: Path, plain_database_url: str) -> None:
    with psycopg.connect(plain_database_url) as somebody:
        somebody.execute("LOCK TABLE rollup IN ACCESS EXCLUSIVE MODE")
        assert str(run_by_hand(config).exception).startswith("maintenance_busy: somebody holds a lock")
    assert run_by_hand(config).exit_code == 0
