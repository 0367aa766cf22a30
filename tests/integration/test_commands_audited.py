"""Commands that change something leave a row in the audit trail; a database that has none does no harm."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from devices.errors import CareloopError
from gateway.cli.main import careloop

PREPARE = """
INSERT INTO quarantine (tenant_id, device_id, topic, codec, route, reason, detail, raw, digest,
                        first_received_at, last_received_at)
VALUES ('default', 'k1', 'devices/k1/telemetry', 'json', 0, 'malformed', '', 'x', 'x', now(), now());
INSERT INTO inbox (tenant_id, device_id, alarm_id, event, notice, recorded_at, state, processed_at)
VALUES ('default', 'k1', 'alm_1', 'raised', '{}', now(), 'parked', now());
INSERT INTO endpoint_state (tenant_id, endpoint, disabled_at) VALUES ('default', 'desk', now());
INSERT INTO watch_trust (tenant_id, model, watch, mode, mode_since, bar_at, counted_at)
VALUES ('default', 'kettle', 'too-hot', 'shadow', now(), now(), now());
"""


@pytest.fixture
def config(tmp_path: Path, plain_database_url: str) -> Path:
    path = tmp_path / "careloop.toml"
    path.write_text(
        f"[state]\nfolder = {json.dumps(str(tmp_path))}\n[database]\nurl = {json.dumps(plain_database_url)}\n"
    )
    (tmp_path / "fleet.csv").write_text("device_id\nk8\nk9\n")
    return path


def call(config: Path, words: str) -> str:
    """Run one command; its own word on how things stand (exit code 1) is none of a test's of the audit trail."""
    arguments = [str(config.parent / word) if word.endswith(".csv") else word for word in words.split()]
    result = CliRunner().invoke(careloop, [*arguments, "--config", str(config)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in {0, 1}, result.output
    return result.output


def rows(url: str, query: Any) -> list[tuple[Any, ...]]:
    """What a query finds."""
    with psycopg.connect(url) as conn:
        return conn.execute(query).fetchall()


ACTS = (
    ("devices add k1", "device.add", "k1"),
    ("devices import fleet.csv", "device.import", "fleet.csv"),
    ("devices credentials rotate k1 --keep-old", "device.rotate_password", "k1"),
    ("devices credentials revoke k1 --old", "device.revoke_passwords", "k1"),
    ("devices remove k1", "device.remove", "k1"),
    ("quarantine replay 1", "quarantine.replay", "1"),
    ("notices replay --all", "notices.replay", "1"),
    ("deliveries resume desk", "endpoint.resume", "desk"),
    ("watches mode kettle too-hot approve --why seen", "watch.mode", "kettle/too-hot"),
    ("maintenance run", "maintenance.run", "database"),
)


def test_each_act_leaves_one_row_without_a_secret(config: Path, plain_database_url: str) -> None:
    with psycopg.connect(plain_database_url) as conn:
        conn.execute(PREPARE)
    printed = [call(config, words) for words, _, _ in ACTS]
    told = rows(plain_database_url, "SELECT who, what, subject, inputs::text FROM audit ORDER BY audit_id")
    assert [row[:3] for row in told] == [("command", what, subject) for _, what, subject in ACTS]
    assert all(json.loads(row[3])["by"] for row in told)
    secrets = [line.split()[-1] for text in printed for line in text.splitlines() if line.startswith("password ")]
    assert len(secrets) == 2
    assert not [secret for secret in secrets if secret in str(told)]


@pytest.mark.parametrize(
    "words", ["devices credentials rotate nobody", "deliveries resume nowhere", "watches mode a b auto --why x"]
)
def test_what_was_not_done_is_not_told(config: Path, plain_database_url: str, words: str) -> None:
    with pytest.raises(CareloopError):
        call(config, words)
    assert rows(plain_database_url, "SELECT what FROM audit") == []


def test_a_database_from_before_the_audit_trail_takes_devices_all_the_same(
    config: Path, plain_database_url: str
) -> None:
    with psycopg.connect(plain_database_url) as conn:
        conn.execute("DROP TABLE audit")
    call(config, "devices add k1")
    assert rows(plain_database_url, "SELECT device_id FROM device") == [("k1",)]
