"""`careloop detect` as its users run it."""

import csv
import gzip
import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tests.detect.kettle import KETTLE
from tests.detect.stories import START_S, habit, stories
from tests.services.patience import PATIENCE_S

COMMAND = [sys.executable, "-c", "from gateway.cli.main import main; main()", "detect"]
QUIET = """
[[watches]]
name = "quiet"
detector = "silence"
parameters = { after = "2h" }
"""


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], input=given, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def line(device: str, hour: float, **metrics: float) -> str:
    return json.dumps({"device": device, "ts": round((START_S + hour * 3600) * 1000), "metrics": metrics})


def told(output: str) -> list[tuple[str, str, str, str]]:
    events = [cast("dict[str, str]", json.loads(text)) for text in output.splitlines()]
    return [(event["device"], event["ts"][11:16], event["kind"], event["state"]) for event in events]


@pytest.fixture
def kettle(tmp_path: Path) -> str:
    path = tmp_path / "kettle.toml"
    path.write_text(KETTLE + QUIET)
    return str(path)


def test_events_bear_the_time_of_the_line_that_decided(kettle: str) -> None:
    lines = [
        *(line(device, hour, heat=20) for hour in range(4) for device in "ab"),
        line("a", 4, heat=120),
        line("a", 5, heat=95),
        line("a", 6, heat=80),
        line("a", 7.5, heat=80),
        line("b", 8, heat=20),
    ]
    done = run("--profile", kettle, given="\n".join(lines))
    assert (done.returncode, done.stderr) == (0, "")
    assert told(done.stdout) == [
        ("a", "04:00", "threshold", "raised"),
        ("a", "06:00", "threshold", "cleared"),
        ("b", "06:00", "silence", "raised"),
        ("b", "08:00", "silence", "cleared"),
    ]


def test_cutting_the_input_cuts_the_output_and_the_end_raises_nothing() -> None:
    rng = np.random.default_rng(1)
    lines: list[str] = []
    for hour in range(24 * 30):
        for number in range(3):
            if number == 2 and hour > 500:
                continue
            heat = 20 + rng.normal() + (40 if (number, hour) == (1, 560) else 0)
            steps = 0.0 if number == 0 and hour > 550 else habit(30, number)[hour]
            lines.append(line(f"d{number}", hour, heat=heat, steps=float(steps)))
    whole = run(given="\n".join(lines)).stdout
    kinds = {(device, kind) for device, _, kind, state in told(whole) if state == "raised"}
    assert {("d2", "silence"), ("d1", "record"), ("d0", "usage_drop")} <= kinds
    for cut in (1000, 1500, 1520, 1900):
        assert whole.startswith(run(given="\n".join(lines[:cut])).stdout)


def test_a_pipe_sees_an_event_before_the_input_ends(kettle: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "--profile", kettle], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line("a", 0, heat=120) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["state"] == "raised"
        process.stdin.write(line("a", 1, heat=20) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["state"] == "cleared"
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0


def test_lines_that_cannot_be_read_are_named_and_the_rest_goes_on(kettle: str) -> None:
    done = run("--profile", kettle, given="\n".join(["nonsense", line("a", 0, heat=120), "{}", ""]))
    assert done.returncode == 1
    assert told(done.stdout) == [("a", "00:00", "threshold", "raised")]
    assert [text.split(":")[0] for text in done.stderr.splitlines()] == ["line 1", "line 3"]


def test_every_row_of_a_series_comes_back_with_its_score(tmp_path: Path) -> None:
    story = stories()["record"]
    rows = [f"{int(ts_s * 1000)},{value:.3f}" for ts_s, value in zip(story.ts_s, story.values, strict=True)]
    rows.insert(300, rows[299])  # twice the same row
    rows.insert(301, f"{int(story.ts_s[299] * 1000)},")  # without a value
    path = tmp_path / "series.csv"
    path.write_text("\n".join(["timestamp,value", *rows]) + "\n")
    done = run("--scores", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    out = list(csv.reader(io.StringIO(done.stdout)))
    assert out[0] == ["timestamp", "value", "anomaly_score"]
    assert [f"{timestamp},{value}" for timestamp, value, _ in out[1:]] == rows
    scores = [float(score) for _, _, score in out[1:]]
    assert all(0 <= score <= 1 for score in scores)
    assert scores.index(max(scores)) == 602
    cut = run("--format", "csv", "--scores", "-", given="\n".join(["timestamp,value", *rows[:650]]))
    assert done.stdout.startswith(cut.stdout)


def test_rows_that_cannot_be_read_come_back_too() -> None:
    done = run("--format", "csv", "--scores", given="timestamp,value\n2024-03-04T00:00:00Z,1\nthen,2\n2024-03-05,x\n")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == [
        "2024-03-04T00:00:00Z,1,0.000000",
        "then,2,0.000000",
        "2024-03-05,x,0.000000",
    ]
    assert "line 3" in done.stderr
    assert "line 4" in done.stderr


def test_a_series_is_one_device_named_after_its_file(tmp_path: Path) -> None:
    story = stories()["record"]
    path = tmp_path / "boiler.csv"
    path.write_text("timestamp,value\n" + "".join(f"{int(t * 1000)},{v}\n" for t, v in zip(story.ts_s, story.values)))  # noqa: B905
    assert {(device, kind) for device, _, kind, _ in told(run(str(path)).stdout)} == {("boiler", "record")}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--scores"],
        ["--format", "xml"],
        ["--profile", "teapot"],
        ["--profile", "missing.toml"],
        ["--scores", "--format", "csv", "--profile", "e-bike"],
        ["missing.ndjson"],
        ["--time", "when"],
        ["--scores", "--format", "csv", "--sort"],
    ],
)
def test_options_that_cannot_be_used_are_refused(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr


def test_a_table_without_the_right_columns_is_named() -> None:
    done = run("--format", "csv", given="when,temperature\n1,2\n")
    assert done.returncode == 1
    assert "timestamp" in done.stderr


def test_a_name_in_brackets_is_told_as_it_is_and_ends_nothing() -> None:
    """Words in brackets were taken for colours: `temp [C]` lost its unit, and `[/h]` ended in a traceback."""
    done = run("--format", "csv", given="when [/h],temp [C]\n1,2\n")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "when [/h],temp [C]" in done.stderr


def test_a_table_of_a_public_set_is_read_as_it_is(tmp_path: Path) -> None:
    story = stories()["record"]
    rows = [
        f"{datetime.fromtimestamp(ts_s, UTC):%d.%m.%Y %H:%M};{str(value).replace('.', ',')};{number % 7};0,0"
        for number, (ts_s, value) in enumerate(zip(story.ts_s, story.values, strict=True))
    ]
    path = tmp_path / "press.csv.gz"
    path.write_bytes(gzip.compress("\r\n".join(["datetime;Pressure;Current;anomaly", *rows]).encode("utf-8-sig")))
    done = run(str(path))
    assert (done.returncode, {(device, kind) for device, _, kind, _ in told(done.stdout)}) == (0, {("press", "record")})
    assert {json.loads(text)["metric"] for text in done.stdout.splitlines()} == {"Pressure"}
    assert "judged: Pressure, Current" in done.stderr
    assert "labels, no measurements: anomaly" in done.stderr
    scored = run("--scores", str(path)).stdout.splitlines()
    assert scored[0] == "datetime;Pressure;Current;anomaly;anomaly_score"
    scores = [float(text.rpartition(";")[2]) for text in scored[1:]]
    assert len(scores) == len(rows)
    assert story.trouble_s <= story.ts_s[scores.index(max(scores))] <= story.over_s + 24 * 3600


def test_what_would_be_read_otherwise_than_meant_is_said() -> None:
    story = stories()["record"]
    rows = [f"{int(ts_s)},{value}" for ts_s, value in zip(story.ts_s, story.values, strict=True)]
    in_order = run("--format", "csv", given="\n".join(["timestamp,value", *rows]))
    assert "taken as seconds since 1970" in in_order.stderr
    assert {kind for _, _, kind, _ in told(in_order.stdout)} == {"record"}
    backwards = "\n".join(["timestamp,value", *reversed(rows)])
    late = run("--format", "csv", given=backwards)
    assert late.stdout == ""
    assert f"{len(rows) - 1:,} of {len(rows):,} lines are older" in late.stderr
    assert run("--format", "csv", "--sort", given=backwards).stdout == in_order.stdout
    for given, arguments in (("", []), ("timestamp,value\n", ["--format", "csv"])):
        nothing = run(*arguments, given=given)
        assert (nothing.returncode, nothing.stdout) == (0, "")
        assert "holds no readings" in nothing.stderr
    many = run("--format", "csv", given="timestamp,value\n" + "01/02/2026,1\n02/02/2026,1\n" * 25)
    assert many.returncode == 1
    assert len(many.stderr.splitlines()) == 23
    assert "whether day or month comes first in 02/02/2026 does not show" in many.stderr
    assert "30 further lines" in many.stderr


def test_what_is_no_table_is_said_to_be_none() -> None:
    done = run("--format", "csv", given="\x1f\x08time\rstamp,value\n1,2\n")
    assert done.returncode == 1
    assert "timestamp" in done.stderr
    assert "Traceback" not in done.stderr
    done = run("--format", "csv", "--scores", given="timestamp,value\n1,\r2\n3,4\n")
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert "3,4" in done.stdout


def test_shipped_profiles_are_found_by_name() -> None:
    done = run("--profile", "coffee-machine", given=line("a", 0, boiler_temperature=130))
    assert told(done.stdout) == [("a", "00:00", "threshold", "raised")]


def test_a_table_in_the_long_form_is_judged_as_the_wide_one(tmp_path: Path) -> None:
    """By moment or by metric: a reading is what one device tells of one moment."""
    rng = np.random.default_rng(5)
    steps = habit(30)
    steps[24 * 18 : 24 * 22] = 0
    pulse = np.round(60 + 5 * rng.normal(size=len(steps)), 1)
    pulse[620:690] = 61.3
    cells = {"steps": steps.tolist(), "pulse": pulse.tolist()}
    times = [datetime.fromtimestamp(START_S + hour * 3600, UTC).strftime("%Y-%m-%d %H:%M") for hour in range(24 * 30)]
    wide = [
        f"{ts},{device},{cells['steps'][at]},{cells['pulse'][at]}" for at, ts in enumerate(times) for device in "ab"
    ]
    told_of = run("--format", "csv", given="\n".join(["time,device,steps,pulse", *wide])).stdout
    assert {kind for _, _, kind, state in told(told_of) if state == "raised"} >= {"usage_drop", "stuck"}
    by_moment = [
        f"{ts},{device},{name},{values[at]}"
        for at, ts in enumerate(times)
        for device in "ab"
        for name, values in cells.items()
    ]
    header = "time,device,metric,value"
    assert run("--format", "csv", given="\n".join([header, *by_moment])).stdout == told_of
    by_metric = sorted(by_moment, key=lambda row: row.split(",")[1:3], reverse=True)
    path = tmp_path / "melted.csv"
    path.write_text("\n".join([header, *by_metric]))
    melted = run("--sort", str(path)).stdout
    assert sorted(melted.splitlines()) == sorted(told_of.splitlines())
    scored = run("--scores", "--format", "csv", given="\n".join([header, *by_moment])).stdout.splitlines()
    assert len(scored) == 1 + len(by_moment)
    alone = [f"{ts},{value}" for ts, value in zip(times, cells["pulse"], strict=True)]
    alone = run("--scores", "--format", "csv", given="\n".join(["time,pulse", *alone])).stdout.splitlines()
    of_pulse = [row.rsplit(",", 1)[1] for row in scored if ",a,pulse," in row]
    assert of_pulse == [row.rsplit(",", 1)[1] for row in alone[1:]]


def test_what_comes_through_a_pipe_is_a_table_where_nothing_of_it_is_json() -> None:
    table = "ts,heat\n2026-01-01T00:00:00Z,20\n"
    done = run("-", given=table)
    assert (done.returncode, done.stderr) == (0, "note: time is 'ts'; judged: heat\n")
    done = run("-", given="ts,heat\n")
    assert (done.returncode, "holds no readings" in done.stderr) == (0, True)
    done = run("--format", "ndjson", "-", given="ts,heat\n")
    assert (done.returncode, done.stderr.count("`--format csv` reads a table")) == (1, 1)
    assert "--format csv" not in run("-", given='{"device": "a"\n').stderr
    assert "--format csv" not in run("-", given=line("a", 0, heat=20) + "\nts,heat\n").stderr


def test_a_list_of_events_in_a_line_is_said_to_be_no_event(kettle: str) -> None:
    """One line an event is what is read; a metric of that name, or an empty list, is nothing to speak of."""
    listed = '{"device":"a","ts":1709510400000,"metrics":{"heat":20},"events": [{"code":"E1"}]}'
    done = run("--profile", kettle, given=f"{listed}\n{listed}\n")
    assert (done.returncode, done.stderr.count("note: `events` is not read")) == (0, 1)
    calm = '{"device":"a","ts":1709510400000,"metrics":{"events":2},"events":[]}'
    assert run("--profile", kettle, given=calm).stderr == ""
