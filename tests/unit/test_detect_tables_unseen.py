"""Tables that nobody has shown to careloop before: whose rows are whose, where a row ends, and what is the time."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from devices.errors import CareloopError
from gateway.cli.detect import detect
from gateway.detect.columns import Asked
from gateway.detect.instants import Instants
from gateway.detect.naming import COUNTING, WAITING
from gateway.detect.opened import Numbered, read_chunks
from gateway.detect.quoted import MOST_LINES
from gateway.detect.records import looks_like_table
from gateway.detect.tables import Table
from tests.detect.tables import DAY, at, pipe, read, seen


def test_the_id_of_a_wearable_export_names_its_wearers() -> None:
    """All wearers were one series, whose time went back with each of them."""
    hours = [at(hour, "%m/%d/%Y %I:%M:%S %p") for hour in range(30)]
    text = "Id,ActivityHour,StepTotal\n" + "".join(f"{who},{hour},7\n" for who in (1503960366, 22) for hour in hours)
    rows, notes = read(text)
    assert [row.line.device for row in rows if row.line] == ["1503960366"] * 30 + ["22"] * 30
    assert "'Id' comes again at other times, as devices do; `--device -` makes all one series" in notes
    assert "time is 'ActivityHour'; judged of each 'Id': StepTotal" in notes
    assert {device for device, _, _ in seen(text, Asked("m", device="-"))} == {"m"}


@pytest.mark.parametrize("name", ["id", "truck_id", "SensorID", "serial number"])
def test_ids_that_take_turns_name_devices_with_the_first_rows_too(name: str) -> None:
    text = f"{name},time,x\n" + "".join(f"{who},{at(turn)},{turn}\n" for turn in range(3) for who in range(1, 40))
    assert [device for device, _, _ in seen(text)] == [str(who) for _ in range(3) for who in range(1, 40)]


def test_an_id_that_numbers_rows_names_none_and_waits_for_few() -> None:
    """Not even where many rows are of one moment, as with times to the minute."""
    table = Table(Asked("m"), Instants())
    lines = ["id,time,x", *(f"{row},{at(row // 5)},{row}" for row in range(100_000))]
    got = [len(list(table.rows([(number, line.encode())]))) for number, line in enumerate(lines[:100], 1)]
    assert sum(got[: 1 + 5 + COUNTING]) == 5 + COUNTING
    assert "'id' is not judged, as it may number the rows; `--device id` makes one series of each" in table.take_notes()
    assert {device for device, _, _ in seen("\n".join(lines))} == {"m"}


def test_ids_of_which_none_comes_again_name_none() -> None:
    text = "id,time,x\n" + "".join(f"{row * 7919 % 1000:x},{at(row)},{row}\n" for row in range(WAITING + 5))
    assert {device for device, _, _ in seen(text)} == {"m"}


def test_the_same_id_with_each_metric_of_one_moment_numbers_readings() -> None:
    text = "id,time,metric,value\n" + "".join(
        f"{turn},{at(turn)},{name},5\n" for turn in range(20) for name in ("heat", "flow")
    )
    assert {device for device, _, _ in seen(text)} == {"m"}


def test_a_reading_with_an_id_waits_for_the_next_one_only_where_that_tells() -> None:
    table = Table(Asked("m"), Instants())
    lines = ["id,time,x", f"7,{at(0)},1", f"7,{at(1)},2", f"8,{at(1)},3"]
    got = [
        [row.line.device for row in table.rows([(number, line.encode())]) if row.line]
        for number, line in enumerate(lines, 1)
    ]
    assert got == [[], [], ["7", "7"], ["8"]]


def test_a_device_by_name_needs_no_id_which_is_not_judged() -> None:
    assert seen(f"id,machine,time,x\n1,a,{at(0)},5\n1,b,{at(1)},6\n") == [("a", 0, {"x": 5}), ("b", 1, {"x": 6})]


def test_a_cell_in_quotes_may_hold_ends_of_lines() -> None:
    """Each such row was two that could not be read."""
    text = f'time,"tem\nper",note\n{at(0)},5,"first, and\n\nsecond ""line"""\n{at(1)},6,fine\n'
    rows, _ = read(text)
    assert [row.line and row.line.metrics for row in rows] == [{"tem\nper": 5.0}, {"tem\nper": 6.0}]
    assert rows[0].cells[2] == 'first, and\n\nsecond "line"'
    spoilt, _ = read(text.replace(at(1), "then"))
    assert [str(row.fault)[:7] for row in spoilt if row.fault] == ["line 6:"]
    done = pipe(text.encode(), "--scores")
    assert (done.exit_code, done.stdout.startswith('time,"tem\nper",note,anomaly_score\n')) == (0, True)
    assert "judged: tem per, note\n" in done.stderr


@pytest.mark.parametrize("further", [5, 3 * MOST_LINES])
def test_a_quote_that_nobody_closes_costs_its_own_row(further: int) -> None:
    text = f'time,note,x\n{at(0)},fine,1\n{at(1)},"open,2\n' + "".join(
        f"{at(row)},fine,3\n" for row in range(2, 2 + further)
    )
    rows, _ = read(text)
    assert [str(row.fault) for row in rows if row.fault] == ["line 3: a quote in it is never closed"]
    assert len([row for row in rows if row.line]) == 1 + further
    assert len(read(f'time,note,x\n{at(0)},"open,2\n')[0]) == 1
    never = 'time,x,"note\n' + "".join(f"{at(row)},1,2\n" for row in range(2 * MOST_LINES))
    assert len(seen(never)) == 2 * MOST_LINES


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_lines_may_end_as_on_an_old_macintosh(size: int) -> None:
    """All of the file was one line."""

    class Drops(io.BytesIO):
        def read1(self, _: int | None = -1, /) -> bytes:
            return super().read1(size)

    def lines(data: bytes) -> list[bytes]:
        return [line for chunk in read_chunks(Drops(data)) for _, line in chunk]

    assert lines(b"time,x\r1,2\r3,4") == [b"time,x", b"1,2", b"3,4"]
    assert lines(b"time,x\r\n1,\r2\r\n") == [b"time,x\r", b"1,\r2\r"]
    assert lines(b"time,x\r\r\n1,2\r\r\n") == [b"time,x\r\r", b"1,2\r\r"]
    assert lines(b"time") == [b"time"]
    assert lines(b"time\r") == [b"time\r"]


@pytest.mark.parametrize("name", ["t", "n", "step", "sample", "index", "", "Unnamed: 0"])
def test_what_counts_steps_is_the_time_where_nothing_else_is(name: str) -> None:
    assert [metrics for _, _, metrics in seen(f"{name},x\n0,5\n1,6\n")] == [{"x": 5}, {"x": 6}]
    falls = f"{name},x\n5,5\n4,6\n"
    with pytest.raises(CareloopError, match="`--time -` takes row after row"):
        read(falls)


def test_numbers_of_rows_beside_a_time_are_no_measurements() -> None:
    """They rise, and were judged."""
    rows, notes = read(f"No,time,NO\n1,{at(0)},3\n2,{at(1)},9\n")
    assert [row.line and row.line.metrics for row in rows] == [{"NO": 3}, {"NO": 9}]
    assert "numbers of the rows, no measurements: No" in notes
    assert [metrics for _, _, metrics in seen(f"time,no\n{at(0)},7\n{at(1)},3\n")] == [{"no": 7}, {"no": 3}]


def test_a_date_is_the_time_whatever_its_column_is_called() -> None:
    rows, notes = read(f"Messwert,wann,bed time\n5,{at(0)},420\n6,{at(1)},400\n")
    assert [row.line and row.line.metrics for row in rows] == [
        {"Messwert": 5, "bed time": 420},
        {"Messwert": 6, "bed time": 400},
    ]
    assert notes[0].startswith("time is 'wann'")


def test_year_month_day_and_hour_are_one_time() -> None:
    """The number of the day and the hour were taken for it, and no row could be read."""
    rows, notes = read("No,year,month,day,hour,pm\n1,2026,1,1,0,5\n2,2026,1,1,23,6\n3,2026,1,2,0,7\n4,2026,2,30,0,8\n")
    assert [row.line and ((row.line.ts_s - DAY.timestamp()) / 3600, row.line.metrics) for row in rows] == [
        (0, {"pm": 5}),
        (23, {"pm": 6}),
        (24, {"pm": 7}),
        None,
    ]
    assert notes[0] == "time is 'year' and 'month' and 'day' and 'hour'; judged: pm"
    assert "2026-2-30" in str(rows[3].fault)


NUMBERS = [f"{value / 97 % 1:.4f},{value / 31 % 1:.4f}" for value in range(5, 1000, 83)]


def test_rows_without_any_time_are_taken_one_after_the_other() -> None:
    """Sets of servers' metrics have no time at all, and could not be read."""
    for header in ("a,b,c\n", ""):
        text = header + "\n".join(f"{row},7" for row in NUMBERS)
        rows, notes = read(text)
        assert [row.line and round(row.line.ts_s * 1000) for row in rows] == [*range(1, 1 + len(NUMBERS))]
        assert any(note.startswith("time is the number of a row, as no column is one") for note in notes)
    rising = "\n".join(f"{10 * row},5,7" for row in range(12))
    with pytest.raises(CareloopError, match="`--time -` that none is"):
        read(rising)
    with pytest.raises(CareloopError, match="as 'a' may be"):
        read("a,b,c\n" + rising)
    dated = "\n".join(["a,b,c", *(f"{row},7" for row in NUMBERS[:5]), f"7,{at(0)},5", *(f"{row},7" for row in NUMBERS)])
    with pytest.raises(CareloopError, match="`--time -` takes row after row"):
        read(dated)
    for header in ("a,b,c\n", ""):
        found, _ = read(header + rising, Asked("m", time="-"))
        assert [row.line and len(row.line.metrics) for row in found] == [3] * 12


@pytest.mark.parametrize(
    "text",
    [
        "units\n[s],[m]\nx,y\n1,2\n",
        "time,state\n2026-01-01,open\n2026-01-02,shut\n",
        '"ti\nme",x\n1,2\n',
        "hello\nworld",
    ],
)
def test_what_has_no_name_is_a_table_where_nothing_of_it_is_json(text: str) -> None:
    """Through a pipe, but not from a file, each line was told of as JSON that cannot be read."""
    assert looks_like_table(read_chunks(io.BytesIO(text.encode())))[0]


def test_a_row_with_a_number_waits_for_no_third_line() -> None:
    def come() -> Iterator[Numbered]:
        yield [(1, b"time,x")]
        yield [(2, b"2026-01-01,5")]
        pytest.fail("the third line is asked for")

    assert looks_like_table(come())[0]


def test_a_file_without_an_ending_and_a_pipe_are_read_alike(tmp_path: Path) -> None:
    line = json.dumps({"device": "a", "ts": 1_767_225_600_000, "metrics": {"x": 1}})
    for text in (f"starting\n{line}\n", f"time,x\n{at(0)},5\n", "hello\nworld\n"):
        file = tmp_path / "export"
        file.write_text(text)
        of_file = CliRunner().invoke(detect, [str(file)])
        of_pipe = pipe(text.encode())
        assert (of_file.exit_code, of_file.stderr) == (of_pipe.exit_code, of_pipe.stderr)
        assert str(of_file.exception) == str(of_pipe.exception)
