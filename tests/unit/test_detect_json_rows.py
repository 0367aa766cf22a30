"""`careloop detect` on JSON as pandas and others write it: an object a row, in lines or in an array."""

import gzip
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from devices.errors import CareloopError
from gateway.cli.detect import detect
from gateway.detect.opened import Numbered
from gateway.detect.records import looks_like_table
from tests.detect.kettle import KETTLE

HOUR_MS = 3_600_000
START_MS = 1_767_225_600_000
ROWS: Sequence[dict[str, object]] = [
    {"timestamp": START_MS + HOUR_MS * hour, "machine": machine, "heat": heat, "mode": "auto"}
    for hour, heats in enumerate(((20, 20), (20, 120), (None, 20)))
    for machine, heat in enumerate(heats, 1)
]
ALARMS = [("2", "2026-01-01T01:00:00Z", "raised"), ("2", "2026-01-01T02:00:00Z", "cleared")]
LINES = [{"device": row["machine"], "ts": row["timestamp"], "metrics": {"heat": row["heat"]}} for row in ROWS]


def judge(folder: Path, text: str | bytes, *arguments: str, name: str = "kettles.json") -> Result:
    """What comes of a file with a profile that has a limit."""
    profile, file = folder / "kettle.toml", folder / name
    profile.write_text(KETTLE)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return CliRunner().invoke(detect, [*arguments, "--profile", str(profile), str(file)])


def alarms(done: Result) -> list[tuple[str, str, str]]:
    """Whose, when and what."""
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return [(each["device"], each["ts"], each["state"]) for each in told]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        "\ufeff\n" + json.dumps(ROWS),
        gzip.compress(json.dumps(ROWS).encode()),
        "\n".join(json.dumps(row) for row in ROWS),
    ],
    ids=["array", "indented", "with a mark", "packed", "lines"],
)
def test_rows_of_objects_are_a_table(tmp_path: Path, text: str | bytes) -> None:
    """All that was said of an array was "Expected `object`"."""
    done = judge(tmp_path, text)
    assert (done.exit_code, alarms(done)) == (0, ALARMS)
    assert "judged of each 'machine': heat, mode" in done.stderr
    assert "'mode' holds text" in done.stderr


@pytest.mark.parametrize("text", [json.dumps(LINES), "\n".join(json.dumps(line) for line in LINES)])
def test_a_device_may_be_a_number_as_in_a_table(tmp_path: Path, text: str) -> None:
    done = judge(tmp_path, text)
    assert (done.exit_code, alarms(done), done.stderr) == (0, ALARMS, "")


def test_columns_of_objects_may_be_named(tmp_path: Path) -> None:
    rows = json.dumps([{"when": row["timestamp"], "who": row["machine"], "heat": row["heat"]} for row in ROWS])
    assert alarms(judge(tmp_path, rows, "--time", "when", "--device", "who")) == ALARMS
    done = judge(tmp_path, json.dumps(LINES), "--time", "when")
    assert (done.exit_code, "columns of a table" in done.stderr) == (2, True)


def test_rows_of_objects_come_back_with_their_scores(tmp_path: Path) -> None:
    file = tmp_path / "kettles.json"
    file.write_text(json.dumps(ROWS[:2]))
    done = CliRunner().invoke(detect, ["--scores", str(file)])
    assert done.stdout.splitlines() == [
        "timestamp,machine,heat,mode,anomaly_score",
        f"{START_MS},1,20,auto,0.000000",
        f"{START_MS},2,20,auto,0.000000",
    ]
    file.write_text(json.dumps(LINES))
    done = CliRunner().invoke(detect, ["--scores", str(file)])
    assert (done.exit_code, "--scores gives back the rows of a table" in done.stderr) == (2, True)


def test_objects_that_cannot_be_read_are_named_by_their_place(tmp_path: Path) -> None:
    spoilt = [*ROWS[:3], {**ROWS[3], "timestamp": "then", "hum": 7}, *ROWS[4:]]
    done = judge(tmp_path, json.dumps(spoilt, indent=1))
    assert done.exit_code == 1
    assert "object 4: timestamp 'then'" in done.stderr
    assert done.stderr.count("'hum' is not in the first object") == 1
    done = judge(tmp_path, "\n".join(json.dumps(row) for row in ROWS[:2]) + "\n{\n" + json.dumps(ROWS[2]))
    assert (done.exit_code, "line 3: " in done.stderr) == (1, True)
    done = judge(tmp_path, json.dumps([*LINES[:2], {"device": True, "ts": 1, "metrics": {}}]))
    assert (done.exit_code, "object 3: " in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "object 1 of the array is 1"),
        ('[{"ts": 1}, [2]]', "object 2 of the array is"),
        ('[{"ts": 1, "x": 2}, {"ts"', "cannot be read"),
        ('{"ts": {"0": 1}, "x": {"0": 2}}', "holds ts, x"),
        ('{"data": [{"ts": 1}]}', "holds data"),
        ('{\n  "data": []\n}', "in several lines"),
        ('[{"a": 1, "b": 2}]', "object 1: no column is called timestamp or time"),
    ],
)
def test_json_that_holds_no_rows_is_told_what_is_read(tmp_path: Path, text: str, said: str) -> None:
    done = judge(tmp_path, text)
    assert isinstance(done.exception, CareloopError)
    assert said in done.exception.detail


def test_an_array_of_nothing_is_nothing_to_judge(tmp_path: Path) -> None:
    """With `--scores` it was told that a CSV needs `--format csv`."""
    file, nothing = tmp_path / "kettles.json", "note: nothing to judge: it holds no readings\n"
    file.write_text("[]")
    for arguments in ((), ("--scores",), ("--time", "when")):
        done = CliRunner().invoke(detect, [*arguments, str(file)])
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", nothing)


@pytest.mark.parametrize("are_rows", [True, False])
@pytest.mark.parametrize("is_array", [True, False])
def test_what_python_writes_for_no_number_is_absent(tmp_path: Path, *, are_rows: bool, is_array: bool) -> None:
    """One NaN, as of `json.dumps`, kept a whole array from being read."""
    each: list[dict[str, object]] = []
    for row in ROWS:
        metrics = {"heat": math.nan if row["heat"] is None else row["heat"], "hum": -math.inf}
        each.append(
            {"device": row["machine"], "ts": row["timestamp"], **(metrics if are_rows else {"metrics": metrics})}
        )
    done = judge(tmp_path, json.dumps(each) if is_array else "\n".join(map(json.dumps, each)))
    assert (done.exit_code, alarms(done)) == (0, ALARMS)


def test_names_of_objects_may_have_blanks_around_them(tmp_path: Path) -> None:
    """As of `pandas.read_csv` where blanks follow the commas: such a column counted as one that is always empty."""
    rows = [{"timestamp": row["timestamp"], " machine": row["machine"], " heat ": row["heat"]} for row in ROWS]
    done = judge(tmp_path, json.dumps(rows))
    assert (done.exit_code, alarms(done)) == (0, ALARMS)
    assert "is not in the first object" not in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--scores",)])
def test_a_table_of_text_says_that_there_is_nothing_to_judge(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """It ended as if all were well."""
    file = tmp_path / "states.csv"
    file.write_text("time,state,mode\n2026-01-01,open,auto\n2026-01-02,shut,\n")
    done = CliRunner().invoke(detect, [*arguments, str(file)])
    assert (done.exit_code, "no number in state, mode; expected is a column of numbers" in done.stderr) == (1, True)
    file.write_text("time,metric,value\n2026-01-01,door,open\n2026-01-02,door,shut\n")
    done = CliRunner().invoke(detect, [*arguments, str(file)])
    assert (done.exit_code, "no number in any 'metric'" in done.stderr) == (1, True)
    file.write_text("time,x,y\n2026-01-01,,\n")
    assert CliRunner().invoke(detect, [*arguments, str(file)]).exit_code == 1


@pytest.mark.parametrize("name", ["train.txt", "train.dat.gz"])
def test_a_file_whose_name_says_nothing_is_a_table_where_it_begins_as_no_json_does(tmp_path: Path, name: str) -> None:
    packed = gzip.compress if name.endswith(".gz") else bytes
    done = judge(tmp_path, packed(b"1 1 20\n1 2 120\n"), name=name)
    assert "time is 'column_2'" in done.stderr
    done = judge(tmp_path, packed("\n".join(json.dumps(line) for line in LINES).encode()), name=name)
    assert alarms(done) == ALARMS


TABLE = "machine,timestamp,heat\n1,2026-01-01T00:00:00Z,20.5\n2,2026-01-01T01:00:00Z,120\n2,2026-01-01T02:00:00Z,20\n"


def pipe(folder: Path, data: bytes, *arguments: str) -> Result:
    """What comes of standard input with a profile that has a limit."""
    profile = folder / "kettle.toml"
    profile.write_text(KETTLE)
    return CliRunner().invoke(detect, [*arguments, "--profile", str(profile), "-"], input=data)


@pytest.mark.parametrize(
    "data",
    [
        TABLE.encode(),
        ("\ufeff\n" + TABLE.replace("\n", "\r\n")).encode(),
        TABLE.replace(",", "\t").encode(),
        TABLE.replace(",", ";").replace("20.5", "20,5").encode(),
        ("sep=;\n" + TABLE.replace(",", ";")).encode(),
        TABLE.replace(",", " ").encode(),
        TABLE.replace("machine", '"machine"').replace("20.5", '"20.5"').encode(),
        TABLE.encode("utf-16"),
        gzip.compress(TABLE.encode()),
    ],
    ids=["commas", "with a mark", "tabs", "semicolons", "what Excel reads", "blanks", "quoted", "wide", "packed"],
)
def test_a_table_through_a_pipe_is_seen_to_be_one(tmp_path: Path, data: bytes) -> None:
    """Each of its lines was told of as JSON that is malformed."""
    done = pipe(tmp_path, data)
    assert (done.exit_code, alarms(done)) == (0, ALARMS)
    assert "time is 'timestamp'; judged of each 'machine': heat" in done.stderr


def test_scores_of_a_table_through_a_pipe_need_no_format() -> None:
    text = "timestamp,value\n2026-01-01 00:00:00,1\n2026-01-01 00:05:00,2\n"
    done = CliRunner().invoke(detect, ["--scores", "-"], input=text)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "timestamp,value,anomaly_score")


def test_numbers_without_names_through_a_pipe_are_a_table() -> None:
    done = CliRunner().invoke(detect, ["-"], input="1 1 0.5 642.1  \n1 2 0.4 642.2  \n")
    assert (done.exit_code, "time is 'column_2'; judged of each 'column_1'" in done.stderr) == (0, True)


@pytest.mark.parametrize(
    "begins",
    [
        "not json",
        "starting, please wait\nconnected to 3 machines, 2 idle",
        "2026-01-01 00:00:00,123 INFO begun\n2026-01-01 00:00:00,125 INFO going on",
        '"device": 1, "ts": 5',
    ],
)
def test_lines_of_json_are_read_behind_such_as_cannot_be(tmp_path: Path, begins: str) -> None:
    done = pipe(tmp_path, "\n".join([begins, *map(json.dumps, LINES)]).encode())
    assert (done.exit_code, alarms(done)) == (1, ALARMS)
    assert done.stderr.startswith("line 1: ")


def test_a_line_of_json_through_a_pipe_waits_for_no_second_one() -> None:
    def come() -> Iterator[Numbered]:
        yield [(1, b'{"device": "a"}')]
        pytest.fail("the second line is asked for")

    is_table, chunks = looks_like_table(come())
    assert (is_table, next(chunks)) == (False, [(1, b'{"device": "a"}')])
