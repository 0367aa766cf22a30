"""Logs carry facts, and never what a traceback's variables hold."""

import json
import logging

import pytest
import structlog

from gateway.logs import configure_logs
from gateway.settings import LogSettings


def test_a_library_s_sentence_is_a_fact_and_no_name_of_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    before = structlog.get_config()
    configure_logs(LogSettings.model_validate({"format": "json"}))
    try:
        logging.getLogger("psycopg.pool").warning("error connecting in %r: %s", "careloop", "no route")
        said = json.loads(capsys.readouterr().err)
        assert said.pop("timestamp")
        assert said == {
            "event": "library.said",
            "level": "warning",
            "library": "psycopg.pool",
            "says": "error connecting in 'careloop': no route",
        }
    finally:
        structlog.configure(**before)
        logging.getLogger().handlers.clear()


@pytest.mark.parametrize("kind", ["json", "console"])
@pytest.mark.parametrize("foreign", [True, False])
def test_a_traceback_shows_no_variables(kind: str, capsys: pytest.CaptureFixture[str], *, foreign: bool) -> None:
    before = structlog.get_config()
    configure_logs(LogSettings.model_validate({"format": kind}))
    password = "terces-yrev"[::-1]  # not as it stands: source lines are shown
    try:
        try:
            [][len(password)]
        except IndexError:
            if foreign:
                logging.getLogger("somebody").exception("failed")
            else:
                structlog.get_logger().exception("failed")
        said = capsys.readouterr().err
        assert "failed" in said
        assert "IndexError" in said
        assert "very-secret" not in said
        if kind == "json":
            assert json.loads(said.strip().splitlines()[-1])["level"] == "error"
    finally:
        structlog.configure(**before)
        logging.getLogger().handlers.clear()
