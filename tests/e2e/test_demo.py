"""`careloop demo` as a newcomer runs it; its scorecard against SQL."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, LiteralString

import httpx
import psycopg
import pytest
from psycopg import sql

from gateway.database.postmaster import wait_until
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S

CARELOOP = Path(sys.executable).with_name("careloop")
NAB = Path(__file__).parents[1] / "data" / "nab" / "speed_t4013.csv.gz"


def run_demo(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [CARELOOP, "demo", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, env=os.environ | environment
    )


def query(url: str, text: LiteralString | sql.Composed) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(text).fetchall()


def test_the_scorecard_says_what_sql_says(tmp_path: Path, database_url: str) -> None:
    report = tmp_path / "report.json"
    done = run_demo("--devices", "24", "--days", "12", "--report", report, CARELOOP_DATABASE__URL=database_url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "One fault, from its first reading to its end" in done.stdout
    assert "no watch of these profiles is for it" in done.stdout
    assert_agrees(json.loads(report.read_text()), database_url)


def assert_agrees(report: Mapping[str, Any], url: str) -> None:
    tables = [str(table) for (table,) in query(url, "SELECT table_name FROM reading_table")]
    rows = distinct = 0
    for table in tables:
        counted = sql.SQL("SELECT count(*), count(DISTINCT (device_id, ts)) FROM {}").format(sql.Identifier(table))
        ((these, identities),) = query(url, counted)
        rows, distinct = rows + these, distinct + identities
    ((quarantined,),) = query(url, "SELECT count(*) FROM quarantine WHERE topic LIKE '%/telemetry'")
    ((cases, doubles),) = query(
        url,
        "SELECT count(*), count(*) FILTER (WHERE EXISTS (SELECT FROM service_case o WHERE o.case_id <> c.case_id"
        " AND (o.asset_id, o.problem) = (c.asset_id, c.problem) AND o.opened_at <= c.opened_at"
        " AND coalesce(o.closed_at, 'infinity') > c.opened_at)) FROM service_case c",
    )
    assert (report["stored"], report["duplicate_rows"]) == (distinct, rows - distinct)
    assert report["quarantined"] == quarantined
    assert report["stored"] + report["quarantined"] == report["acknowledged"] == report["published"] > 1000
    assert (report["lost"], report["duplicate_rows"], report["cases"]["duplicate"], doubles) == (0, 0, 0, 0)
    assert report["crm"]["duplicate_records"] == report["crm"]["missing"] == 0
    assert 0 < report["crm"]["records"] <= cases
    assert report["faults"]["detected"] > 0
    assert report["latency_s"]["alarm_to_crm_p99"] >= report["latency_s"]["alarm_to_crm_p50"] >= 0


def test_real_data_comes_out_as_stored_readings_and_one_contradiction(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = run_demo("--replay", NAB, "--report", report)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert (found["published"], found["stored"], found["quarantined"]) == (2495, 2494, 1)
    assert found["recall"] is None
    assert "quarantine" in done.stdout


def test_wrong_use_is_said_with_exit_code_2(tmp_path: Path) -> None:
    assert run_demo("--devices", "0").returncode == 2
    assert run_demo("--replay", tmp_path / "nothing.csv").returncode == 2
    (tmp_path / "odd.csv").write_text("timestamp,value\nnever,1\n")
    odd = run_demo("--replay", tmp_path / "odd.csv")
    assert odd.returncode == 2
    assert "line 2" in odd.stdout


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """What is begun hears Ctrl-C, also where these tests themselves run in the background of a script, which do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interrupts")
@pytest.mark.parametrize(
    ("command", "number"),
    [
        (("demo", "--devices", "8", "--days", "60"), signal.SIGINT),
        (("simulate", "rollout", "--devices", "100", "--days", "60"), signal.SIGTERM),
    ],
    ids=["demo, Ctrl-C", "rollout, SIGTERM"],
)
def test_whoever_ends_it_leaves_no_process_behind(
    tmp_path: Path, command: Sequence[str], number: signal.Signals
) -> None:
    folder = tmp_path / "stage"
    tmp_path.chmod(0o711)
    with (tmp_path / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [CARELOOP, *command, "--folder", folder], stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        note = folder / "state" / "gateway.json"
        assert wait_until(note.exists, 300)
        gateway = int(json.loads(note.read_text())["pid"])
        data = Path(json.loads((folder / "state" / "database" / "connection.json").read_text())["data"])
        database = int((data / "postmaster.pid").read_text().split()[0])
        process.send_signal(number)
        assert process.wait(300) == 130
    for pid in (gateway, database):  # of which somebody else may still have to take note
        assert wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), PATIENCE_S)


def test_it_ends_in_a_console_whose_inbox_has_cases_to_approve(tmp_path: Path, plain_database_url: str) -> None:
    with subprocess.Popen(
        [CARELOOP, "demo", "--devices", "24", "--days", "3", "--serve", "--folder", tmp_path / "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"CARELOOP_DATABASE__URL": plain_database_url},
    ) as process:
        try:
            url, name, password = _signing_in(process)
            with httpx.Client(base_url=url, verify=IN_THE_CLEAR, timeout=PATIENCE_S, follow_redirects=True) as browser:
                form = {"name": name, "password": password, "next": "/?show=proposed"}
                inbox = browser.post("/sign-in", data=form).text
                assert "This is a demo" in inbox
                approve = re.search(r"/cases/(\w+)/approve", inbox)
                csrf = re.search(r'name="csrf" value="([^"]+)"', inbox)
                assert approve is not None
                assert csrf is not None
                case = browser.post(approve[0], data={"csrf": csrf[1]})
                assert case.url.path == f"/cases/{approve[1]}"
                assert browser.get("/scorecard").status_code == 200
        finally:
            process.terminate()
        assert process.stdout is not None
        assert "Traceback" not in process.stdout.read()  # the fleet has stopped before the gateway did
        assert process.wait(300) == 130
    actors = query(plain_database_url, "SELECT DISTINCT actor FROM case_transition WHERE actor LIKE 'person:%'")
    assert actors == [("person:demo",)]


def _signing_in(process: "subprocess.Popen[str]") -> tuple[str, str, str]:
    assert process.stdout is not None
    url = ""
    for line in process.stdout:
        url = found[1] if (found := re.search(r"console +(http\S+)", line)) else url
        if found := re.search(r"sign in +as (\S+) with the password (\S+)", line):
            return url, found[1], found[2]
    raise AssertionError("it has ended before its console was open")
