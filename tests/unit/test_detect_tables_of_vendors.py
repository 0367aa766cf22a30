"""Tables as vendors export them: dates of either order, units beneath names, words for nothing, answers."""

from itertools import pairwise

import pytest

from gateway.detect.days import MOST
from gateway.detect.instants import BadTime, Instants
from tests.detect.tables import DAY, at, pipe, read, seen

DAYS_FIRST = ["%d-%m-%Y %H:%M", "%d/%m/%Y %H:%M", "%d/%m/%y %H:%M:%S", "%d/%m/%Y"]
MONTHS_FIRST = ["%m/%d/%Y %H:%M", "%m/%d/%y %H:%M", "%m/%d/%Y", "%m/%d/%Y %I:%M:%S %p"]


@pytest.mark.parametrize("form", [*DAYS_FIRST, *MONTHS_FIRST])
def test_the_first_rows_show_whether_the_day_or_the_month_comes_first(form: str) -> None:
    """Each row was refused, though the rows show it: by a number above twelve, or at midnight."""
    step = 1 if "%H" in form or "%I" in form else 24
    text = "date,x\n" + "".join(f"{at(turn * step, form)},{turn}\n" for turn in range(40))
    rows, notes = read(text)
    assert [row.line and (row.line.ts_s - DAY.timestamp()) / 3600 for row in rows] == [
        turn * step for turn in range(40)
    ]
    assert [note for note in notes if "first; `--time-format` says otherwise" in note]
    assert any("the day first" in note for note in notes) == (form in DAYS_FIRST)


def test_months_that_may_be_days_stay_open_and_are_refused() -> None:
    """A row a month and a row a day look alike: nothing is guessed."""
    text = "date,x\n" + "".join(f"01/{month:02}/2026 00:00,5\n" for month in range(1, 13))
    rows, notes = read(text)
    assert len([row for row in rows if row.fault]) == 12
    assert any("rows wait for one that shows it" in note for note in notes)
    rows, _ = read("date,x\n" + "02/03/2026,5\n" * (MOST + 7))
    assert len([row for row in rows if row.fault]) == MOST + 7
    done = pipe(text, "--time-format", "%d/%m/%Y %H:%M")
    assert (done.exit_code, "wait" in done.stderr) == (0, False)


def test_a_short_table_of_one_day_is_read_whichever_comes_first() -> None:
    """Nothing between its rows hangs on it, and each of them was refused."""
    rows, notes = read("date,x\n" + "".join(f"03/01/2026 10:{minute:02},5\n" for minute in range(50)))
    times = [row.line.ts_s for row in rows if row.line]
    assert [later - earlier for earlier, later in pairwise(times)] == [60.0] * 49
    assert any("taken with the month first" in note for note in notes)


def test_a_date_of_the_other_order_is_no_time_any_more() -> None:
    instants = Instants()
    assert instants.read("31/12/2025") == DAY.timestamp() - 86_400
    assert instants.read("01/01/2026") == DAY.timestamp()
    with pytest.raises(BadTime):
        instants.read("12/31/2025")


@pytest.mark.parametrize(
    "text",
    [
        *("01-Jan-2026 00:00:00", "1 Jan 2026", "Jan 1, 2026 12:00 AM", "January 1, 2026", "01-jan-26 00:00"),
        *(
            "2026-01-01 01:00:00 +0100",
            "2026-01-01 01:00:00 +01:00",
            "2026-01-01 12:00:00 AM",
            "01.01.26 00:00",
            "2026-01",
        ),
    ],
)
def test_a_time_of_a_vendor_is_read(text: str) -> None:
    assert Instants().read(text) == DAY.timestamp()


def test_a_time_of_day_alone_is_told_how_it_is_read() -> None:
    text = "time,x\n10:00:00,5\n10:00:01,6\n"
    assert "`--time-format %H:%M:%S` reads times of one day" in pipe(text).stderr
    assert pipe(text, "--time-format", "%H:%M:%S").exit_code == 0


def test_a_clock_with_points_beside_a_day_is_read_and_rows_of_nothing_are_passed_over() -> None:
    """Each of them was told of as one that cannot be read, and the whole table ended with 1."""
    lines = [f"{at(hour, '%d/%m/%Y')};{at(hour, '%H.%M.%S')};2,{hour};;" for hour in range(18, 30)]
    text = "\n".join(["Date;Time;CO(GT);;", *lines, *[";;;;"] * 3])
    assert seen(text) == [("m", hour, {"CO(GT)": float(f"2.{hour}")}) for hour in range(18, 30)]
    done = pipe(text, "--scores")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1 + 12 + 3)


@pytest.mark.parametrize("units", ["s,°C,l/min", "[-],[degC],[m3/h]", ",(bar),\n,Avg,Smp"])
def test_units_beneath_the_names_are_no_row(units: str) -> None:
    """The line was one that cannot be read."""
    text = f"time,temp,flow\n{units}\n{at(0)},5,6\n{at(1)},7,8\n"
    assert seen(text) == [("m", 0, {"temp": 5, "flow": 6}), ("m", 1, {"temp": 7, "flow": 8})]
    done = pipe(text, "--scores")
    assert (done.exit_code, done.stdout.splitlines()[1]) == (0, f"{units.splitlines()[0]},0.000000")
    assert "note: line 2 holds units or the like, and is no row" in done.stderr
    spoilt = pipe(f"time,temp,flow\n{at(0)},5,6\ns,°C,l/min\n")
    assert (spoilt.exit_code, "line 3: timestamp 's'" in spoilt.stderr) == (1, True)


@pytest.mark.parametrize("word", ["?", "--", "No Data", "#DIV/0!", "<NA>", "\\N", "NaT", "n.a."])
def test_words_for_nothing_are_absent(word: str) -> None:
    """A column that began with one was taken for text, and never judged."""
    assert [metrics for _, _, metrics in seen(f"time,x,y\n{at(0)},{word},5\n{at(1)},7,{word}\n")] == [
        {"y": 5},
        {"x": 7},
    ]


def test_thousands_in_quotes_are_numbers_and_it_is_said() -> None:
    """All of a year's steps were text."""
    rows, notes = read(f'Date,Steps,Share\n{at(0)},"12,345","0,125"\n{at(1)},950,\n')
    assert [row.line and row.line.metrics for row in rows] == [{"Steps": 12345}, {"Steps": 950}]
    assert "12,345 of 'Steps' is taken as 12345, and so are others like it" in notes
    assert [metrics for _, _, metrics in seen(f"time\tx\n{at(0)}\t1,234.5\n")] == [{"x": 1234.5}]


@pytest.mark.parametrize("name", ["Machine failure", "Normal/Attack", "pump_anomaly", "attack label", "isOutlier"])
def test_answers_are_left_out_by_a_word_in_their_name(name: str) -> None:
    rows, notes = read(f"time,x,{name}\n{at(0)},5,0\n{at(1)},6,1\n")
    assert [row.line and row.line.metrics for row in rows] == [{"x": 5}, {"x": 6}]
    assert f"labels, no measurements: {name}" in notes


def test_an_export_with_a_type_a_row_is_the_long_form_and_begins_when_it_starts() -> None:
    """The unit was the device, and steps and heartbeats one series."""
    text = "type,unit,creationDate,startDate,value\n" + "".join(
        f"{kind},count,{at(90)} +0000,{at(hour)} +0000,{hour}\n" for hour in range(2) for kind in ("Steps", "Beats")
    )
    assert seen(text) == [("m", hour, {kind: hour}) for hour in range(2) for kind in ("Steps", "Beats")]


def test_a_table_of_the_wide_code_of_windows_needs_no_mark() -> None:
    for code in ("utf-16-le", "utf-16-be"):
        done = pipe(f"time,x\n{at(0)},5\n".encode(code), "--scores")
        assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, f"{at(0)},5,0.000000")


def test_rows_that_score_nothing_as_they_are_late_are_counted() -> None:
    """They had a score of 0 without a word."""
    text = "timestamp,x,y\n" + "".join(f"{at(hour)},5,6\n" for hour in (5, 3, 4, 6))
    assert (
        "note: 2 of 4 rows are older than one of the same device before them, and score 0"
        in pipe(text, "--scores").stderr
    )
    assert "older" not in pipe("timestamp,x,y\n" + f"{at(1)},5,6\n" * 2, "--scores").stderr


def test_names_of_rows_that_have_no_name_themselves_are_passed_over() -> None:
    """As R writes them: each row was said to have a column too many."""
    text = f'"date","Light","Occupancy"\n"1","{at(0)}",426,1\n"2","{at(1)}",429,0\n'
    assert seen(text) == [("m", 0, {"Light": 426, "Occupancy": 1}), ("m", 1, {"Light": 429, "Occupancy": 0})]
    done = pipe(text, "--scores")
    assert (done.exit_code, done.stdout.splitlines()[1]) == (0, f"1,{at(0)},426,1,0.000000")
    assert done.stderr == "note: time is 'date'; judged: Light, Occupancy\n"
    wider = f"time,x\n{at(0)},5,6\n"
    assert [row.line for row in read(wider)[0]] == [None]


@pytest.mark.parametrize("header", ["", "load\n"])
def test_a_file_of_one_number_a_line_is_a_series(header: str) -> None:
    """The first number was taken for the name of a column, and there was no time."""
    done = pipe(header + "".join(f"  {number}.5e0\n" for number in range(9)), "--scores")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 10)
    assert "time is the number of a row" in done.stderr
