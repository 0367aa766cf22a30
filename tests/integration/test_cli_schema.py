"""Commands on a database that nobody has migrated."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from devices.errors import CareloopError
from gateway.cli.main import careloop

COMMANDS = (
    "deliveries list",
    "deliveries resume helpdesk",
    "devices add band-1",
    "devices commands band-1",
    "devices list",
    "explain alarm alm_1",
    "explain case case_1",
    "explain owner person-1",
    "grants list person-1",
    "incidents list",
    "journey",
    "maintenance plan",
    "maintenance rebuild --model e-bike",
    "notices list",
    "outreach stopped",
    "outreach waiting",
    "people list",
    "playbooks list",
    "quarantine list",
    "tokens list",
    "watches list",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_without_tables_is_told_in_a_sentence_that_says_what_to_do(
    command: str, plain_url: str, tmp_path: Path
) -> None:
    config = tmp_path / "careloop.toml"
    config.write_text(f"[database]\nurl = {json.dumps(plain_url)}\n")
    result = CliRunner().invoke(careloop, [*command.split(), "--config", str(config)])
    assert isinstance(result.exception, CareloopError), result.output
    assert (result.exception.reason, "careloop migrate" in result.exception.detail) == ("schema_missing", True)
