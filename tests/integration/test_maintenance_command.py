"""`careloop maintenance run`, as a script reads what it prints."""

import json
import logging
from collections.abc import Generator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner

from gateway.cli.main import careloop


@pytest.fixture
def config(tmp_path: Path, plain_database_url: str) -> Generator[Path]:
    """Settings that name a product model which is nowhere; logs are left as they were found."""
    path = tmp_path / "careloop.toml"
    path.write_text(
        f"[state]\nfolder = {json.dumps(str(tmp_path))}\n[database]\nurl = {json.dumps(plain_database_url)}\n"
        '[[retention.models]]\nmodel = "toaster"\nreadings = "90d"\n'
    )
    before = structlog.get_config()
    yield path
    structlog.configure(**before)
    logging.getLogger().handlers.clear()


def test_a_warning_of_a_round_by_hand_is_not_mixed_into_what_it_prints(config: Path) -> None:
    result = CliRunner().invoke(careloop, ["maintenance", "run", "--json", "--config", str(config)])
    assert json.loads(result.stdout) == {"slices": 0, "retired": {}}
    assert "retention.unknown_model" in result.stderr
