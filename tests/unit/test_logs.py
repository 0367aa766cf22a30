"""Logs carry facts, and never what a traceback's variables hold."""

import json
import logging

import pytest
import structlog

from gateway.logs import configure_logs
from gateway.settings import LogSettings


def test_a_library_s_sentence_is_a_fact_and_no_name_of_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings.model_validate({"format": "json"}))
    logging.getLogger("psycopg.pool").warning("error connecting in %r: %s", "careloop", "no route")
    said = json.loads(capsys.readouterr().err)
    assert said.pop("timestamp")
    assert said == {
        "event": "library.said",
        "level": "warning",
        "library": "psycopg.pool",
        "says": "error connecting in 'careloop': no route",
    }


def test_a_library_that_says_one_thing_again_and_again_is_written_once_a_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """While the database was away, the pool of connections filled the log."""
    now_s = [1000.0]
    configure_logs(LogSettings.model_validate({"format": "json"}), lambda: now_s[0])
    pool = logging.getLogger("psycopg.pool")
    for attempt in range(121):
        pool.warning("error connecting: %s", attempt)
        now_s[0] += 1.0
    pool.warning("something else")
    pool.error("failed")
    pool.error("failed")
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["says"], line.get("left_out")) for line in said] == [
        ("error connecting: 0", None),
        ("error connecting: 60", 59),
        ("error connecting: 120", 59),
        ("something else", None),
        ("failed", None),
        ("failed", None),
    ]


@pytest.mark.parametrize("kind", ["json", "console"])
@pytest.mark.parametrize("foreign", [True, False])
def test_a_traceback_shows_no_variables(kind: str, capsys: pytest.CaptureFixture[str], *, foreign: bool) -> None:
    configure_logs(LogSettings.model_validate({"format": kind}))
    password = "terces-yrev"[::-1]  # not as it stands: source lines are shown
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
