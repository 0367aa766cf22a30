"""Tables and times as people's files have them."""

from pathlib import PurePath

import pytest

from devices.errors import CareloopError
from gateway.detect.columns import Asked
from gateway.detect.instants import BadTime, Instants
from gateway.detect.lines import parse_line
from gateway.detect.tables import Table, TableRow, device_of

DAY_S = 1_767_225_600.0  # 1 January 2026


def rows_of(text: str, asked: Asked | None = None, form: str | None = None) -> tuple[list[TableRow], list[str]]:
    """The rows of a table, and what was said of it."""
    table = Table(asked or Asked("m"), Instants(form))
    lines = [(number, line.encode()) for number, line in enumerate(text.split("\n"), 1)]
    return [*table.rows(lines), *table.end()], table.take_notes()


def metrics_of(text: str) -> list[dict[str, float]]:
    """What was measured, row by row."""
    return [{} if row.line is None else row.line.metrics for row in rows_of(text)[0]]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("1767225600", None),
        ("1767225600.0", None),
        ("1767225600000", None),
        ("1767225600000000", None),
        ("1767225600000000000", None),
        ("2026-01-01", None),
        ("20260101", None),
        ("2026-01-01 00:00:00", None),
        ("2026-01-01T01:00:00+01:00", None),
        ("2026-01-01 00:00:00 UTC", None),
        ("01.01.2026 00:00", None),
        ("2026/01/01", None),
        ("2026-1-1 0:00", None),
        ("1/1/2026 12:00:00 AM", None),
        ("01/01/2026 12:00 AM", None),
        ("1/1/2026 12:00 AM", "%d/%m/%Y %I:%M %p"),
        ("12/31/25 16 -0800", "%m/%d/%y %H %z"),
        ("490896", "h"),
        ("20454", "d"),
    ],
)
def test_a_time_is_what_people_mean_by_it(text: str, form: str | None) -> None:
    assert Instants(form).read(text) == pytest.approx(DAY_S)


def test_what_a_number_counts_is_decided_by_the_first_one_and_said() -> None:
    instants = Instants()
    assert [instants.read(text) for text in ("1", "2.5", "1767225600000", "20260101")] == [
        0.001,
        0.0025,
        DAY_S,
        20260.101,
    ]
    (note,) = instants.take_notes()
    assert "milliseconds" in note
    assert instants.take_notes() == []
    seconds = Instants()
    assert parse_line(b'{"device":"a","ts":1767225600,"metrics":{"x":1}}', seconds).ts_s == DAY_S
    assert seconds.read("12") == 12.0
    assert "seconds since 1970" in seconds.take_notes()[0]
    assert parse_line(b'{"device":"a","ts":1767225600,"metrics":{"x":1}}').ts_s == 1_767_225.6


@pytest.mark.parametrize("text", ["yesterday", "", "1e300", "01/02/2026", "2026-13-01", "1_000", "nan", "inf"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadTime):
        Instants().read(text)
    with pytest.raises(BadTime):
        Instants("%Y").read("01/2026")


def test_each_column_is_a_series_but_for_labels_and_texts() -> None:
    rows, notes = rows_of("Time,unit,Heat,note,anomaly,amps\n2026-01-01,a,1.5,ok,0,2\n2026-01-02,b,,7,1,true\n")
    assert [(row.line.device, row.line.metrics) for row in rows if row.line] == [
        ("a", {"Heat": 1.5, "amps": 2.0}),
        ("b", {"amps": 1.0}),
    ]
    assert len(notes) == 3
    assert "of each 'unit': Heat, note, amps" in notes[0]
    assert "anomaly" in notes[1]
    assert "'note' holds text" in notes[2]


def test_a_plain_series_is_told_by_nobody() -> None:
    rows, notes = rows_of("\ufeff Timestamp ,Value,label\r\n\n2026-01-01,7,x\r\n2026-01-02,\r\n")
    assert [row.line and row.line.metrics for row in rows] == [{"value": 7.0}, {}]
    assert notes == []


def test_numbers_are_those_of_the_country() -> None:
    assert metrics_of("time;x;y\n2026-01-01;1.234,5;-0,25\n2026-01-02;1.5;,5") == [
        {"x": 1234.5, "y": -0.25},
        {"x": 1.5, "y": 0.5},
    ]
    assert metrics_of('time,x,y\n2026-01-01,"7",N/A\n') == [{"x": 7.0}]


def test_what_cannot_be_read_is_named_and_the_rest_of_the_row_counts() -> None:
    told = "2026-01-01,1,2 2026-01-02,much,3 2026-01-03,4,5,6 then,1,2 2026-01-04,inf,1_0 2026-01-05,1,2,,"
    rows, _ = rows_of("\n".join(["time,x,y", *told.split()]))
    assert [row.line and row.line.metrics for row in rows] == [
        {"x": 1.0, "y": 2.0},
        {"y": 3.0},
        None,
        None,
        {},
        {"x": 1.0, "y": 2.0},
    ]
    assert [str(row.fault)[:6] for row in rows if row.fault] == ["line 3", "line 4", "line 5", "line 6"]


def test_columns_may_be_named_and_must_be_there() -> None:
    rows, _ = rows_of("a,b,c\n2026-01-01,press,3\n", Asked("m", time="A", device="b"))
    assert [(row.line.device, row.line.metrics) for row in rows if row.line] == [("press", {"c": 3.0})]
    rows, notes = rows_of("2026-01-01,3\n2026-01-02,4\n")
    assert [row.line and row.line.metrics for row in rows] == [{"value": 3.0}, {"value": 4.0}]
    assert "names no columns" in notes[0]
    for text, asked in (
        ("a,b\n1,2", Asked("m")),
        ("time,anomaly\n1,2", Asked("m")),
        ("time,x\n1,2", Asked("m", device="y")),
    ):
        with pytest.raises(CareloopError, match="column"):
            rows_of(text, asked)


@pytest.mark.parametrize(
    "header",
    [
        *(
            "id,cycle",
            "engine,time",
            "Unit Number,Time (cycles)",
            "unitNumber,cycle_number",
            "ENGINE-ID,time_in_cycles",
        ),
        *("unit,cycle_no", "asset_id,Flight No", "machine,time step"),
    ],
)
def test_machines_of_a_table_are_told_apart_however_it_calls_them(header: str) -> None:
    rows, notes = rows_of(f"{header},s1\n1,1,5\n2,1,6\n")
    assert [(row.line.device, row.line.metrics) for row in rows if row.line] == [("1", {"s1": 5.0}), ("2", {"s1": 6.0})]
    assert f"judged of each {header.split(',', maxsplit=1)[0]!r}" in notes[0]


def test_a_time_stamp_may_be_written_as_two_words() -> None:
    rows, _ = rows_of("Time Stamp,flow\n2026-01-01,5\n")
    assert [row.line.metrics for row in rows if row.line] == [{"flow": 5.0}]


def test_an_id_beside_a_clock_may_number_the_rows() -> None:
    rows, _ = rows_of("id,time,s1\n1,2026-01-01,5\n2,2026-01-02,6\n")
    assert {row.line.device for row in rows if row.line} == {"m"}


def test_an_id_beside_a_clock_is_no_measurement_and_it_is_said_how_it_names_devices() -> None:
    rows, notes = rows_of("Id,time,s1\n7,2026-01-01,5\n8,2026-01-01,6\n")
    assert [row.line.metrics for row in rows if row.line] == [{"s1": 5.0}, {"s1": 6.0}]
    assert "`--device Id`" in notes[1]


@pytest.mark.parametrize("header", ["user_id", "userId", "Participant", "Subject ID", "patient"])
def test_wearers_of_a_table_are_told_apart_however_it_calls_them(header: str) -> None:
    rows, _ = rows_of(f"{header},ts,steps\n17,2026-01-01,5\n18,2026-01-01,6\n")
    assert [(row.line.device, row.line.metrics) for row in rows if row.line] == [
        ("17", {"steps": 5.0}),
        ("18", {"steps": 6.0}),
    ]


@pytest.mark.parametrize("header", ["ActivityHour", "start_time", "Date of reading", "measuredDate"])
def test_a_time_is_known_by_part_of_its_name_where_no_column_bears_the_usual_one(header: str) -> None:
    rows, notes = rows_of(f"steps,{header}\n5,2026-01-01\n")
    assert [(row.line.ts_s, row.line.metrics) for row in rows if row.line] == [(DAY_S, {"steps": 5.0})]
    assert f"time is {header!r}" in notes[0]
    with pytest.raises(CareloopError, match="--time"):
        rows_of("steps,timely,update\n5,6,7\n")


def test_the_month_is_first_beside_a_clock_of_twelve_hours_and_it_is_said_once() -> None:
    rows, notes = rows_of("time,x\n1/2/2026 1:30:00 PM,5\n1/3/2026 1:30:00 PM,6\n")
    assert [row.line.ts_s for row in rows if row.line] == [DAY_S + 37.5 * 3600, DAY_S + 61.5 * 3600]
    assert [note for note in notes if "month first" in note] == [notes[1]]


@pytest.mark.parametrize(
    ("header", "day", "clock"),
    [
        ("date,time", "2026-01-01", "09:00"),
        ("Datum;Uhrzeit", "01.01.2026", "9:00"),
        ("day,hour", "2026-01-01", "9"),
        ("date,time", "01.01.2026", "2026-01-01T09:00:00Z"),
        ("date,time", "2025-12-31", "1767258000"),
        ("date,time", "2026-01-01", "0900"),
        ("date,time", "2026-01-01 00:00:00", "09:00"),
        ("date,hour", "2026-01-01 00:00:00", "9"),
    ],
)
def test_a_day_and_a_clock_in_two_columns_are_one_time(header: str, day: str, clock: str) -> None:
    mark = ";" if ";" in header else ","
    rows, notes = rows_of(f"{header}{mark}x\n{day}{mark}{clock}{mark}5\n{day}{mark}noonish{mark}5\n")
    assert [row.line and row.line.ts_s for row in rows] == [DAY_S + 9 * 3600, None]
    assert rows[0].line is not None
    assert rows[0].line.metrics == {"x": 5.0}
    assert " and " in notes[0]


@pytest.mark.parametrize("clock", ["", "-", "25", "930", "0.375", "noonish"])
def test_a_day_whose_clock_is_no_time_of_day_is_no_time(clock: str) -> None:
    """Such a number was taken as milliseconds since 1970."""
    rows, _ = rows_of(f"date,time,x\n2026-01-01,{clock},5\n2026-01-01,9:00,5\n")
    assert [row.line and row.line.ts_s for row in rows] == [None, DAY_S + 9 * 3600]
    assert "2026-01-01" in str(rows[0].fault)


@pytest.mark.parametrize("clock", ["9", "12.5", "09:00:00"])
def test_a_day_that_says_its_time_of_day_needs_no_clock_beside_it(clock: str) -> None:
    rows, _ = rows_of(f"date,hour,x\n2026-01-01 09:00:00,{clock},5\n")
    assert [row.line and row.line.ts_s for row in rows] == [DAY_S + 9 * 3600]


@pytest.mark.parametrize(
    "header", ["datetime,day,hour,temp", "timestamp,date,hour,temp", "time,day,hour,temp", "epoch,day,hour,temp"]
)
def test_a_time_that_says_all_of_it_needs_no_day_and_hour_which_are_measured(header: str) -> None:
    """The number of a weekday and that of an hour were taken as the time, and no row was read."""
    rows, notes = rows_of(f"{header}\n1767225600,3,10,5\n1767229200,3,11,6\n")
    time, named, clock, _ = header.split(",")
    assert [row.line and (row.line.ts_s, row.line.metrics) for row in rows] == [
        (DAY_S + 3600 * at, {named: 3.0, clock: 10.0 + at, "temp": 5.0 + at}) for at in (0, 1)
    ]
    assert notes[0].startswith(f"time is {time!r}; judged")


def test_the_user_of_a_processor_is_nobody() -> None:
    """Each share of its time was taken as a machine of its own."""
    rows, _ = rows_of("time,user,system,idle\n2026-01-01,3.5,1,95.5\n2026-01-02,4,1,95\n")
    assert [row.line and (row.line.device, row.line.metrics["user"]) for row in rows] == [("m", 3.5), ("m", 4.0)]
    rows, _ = rows_of("time,user,steps\n2026-01-01,anna,7\n")
    assert [row.line and row.line.device for row in rows] == ["anna"]


def test_the_hours_of_a_day_may_be_counted_from_one() -> None:
    rows, _ = rows_of("date,hour,x\n2026-01-01,23,5\n2026-01-01,24,5\n2026-01-02,1,5\n")
    assert [row.line and row.line.ts_s for row in rows] == [DAY_S + hour * 3600 for hour in (23, 24, 25)]


def test_a_metric_of_the_long_form_that_holds_text_or_answers_is_left_out_as_a_column_is() -> None:
    told = "time,metric,value\n1,state,open\n1,temp,4\n2,state,shut\n2,rul,7\n2,temp,hot\n3,rul,6\n"
    rows, notes = rows_of(told)
    assert [row.line and row.line.metrics for row in rows] == [{}, {"temp": 4.0}, {}, {}, {}, {}]
    assert [number for number, row in enumerate(rows) if row.fault] == [4]
    assert [note for note in notes if "state" in note] == [
        "metric 'state' holds text, such as 'open', and is not judged"
    ]
    assert [note for note in notes if "rul" in note] == ["a label, no measurement: rul"]


def test_a_column_of_numbers_is_measured_and_names_no_metrics_though_it_is_called_so() -> None:
    """Each strength of a signal was taken as a metric of its own."""
    rows, _ = rows_of("time,device,signal,value\n2026-01-01,a,-71,5\n2026-01-02,a,-72,6\n")
    assert [row.line and row.line.metrics for row in rows] == [
        {"signal": -71.0, "value": 5.0},
        {"signal": -72.0, "value": 6.0},
    ]
    rows, _ = rows_of("timestamp,value,signal\n2026-01-01,5,-71\n")
    assert [row.line and row.line.metrics for row in rows] == [{"value": 5.0}]


def test_in_the_long_form_a_unit_that_is_numbered_is_a_machine_and_any_other_one_the_values() -> None:
    """All machines became one."""
    rows, _ = rows_of("unit,cycle,metric,value\n1,1,temp,5\n2,1,temp,6\n")
    assert [row.line and row.line.device for row in rows] == ["1", "2"]
    rows, _ = rows_of("time,metric,value,unit\n1,temp,5,bpm\n")
    assert [row.line and row.line.device for row in rows] == ["m"]


def test_a_sensor_with_a_name_says_whose_value_it_is() -> None:
    """The values of all sensors became one series."""
    assert metrics_of("timestamp,sensor,value\n1,inlet,5\n1,outlet,7\n") == [{"inlet": 5.0}, {"outlet": 7.0}]


def test_a_row_may_be_one_measurement_and_say_which() -> None:
    told = "ts,device,metric,value,unit\n2026-01-01,a,steps,5,1\n2026-01-01,a,heart_rate,,bpm\n2026-01-01,b,,5,bpm\n"
    rows, notes = rows_of(told)
    assert [row.line and (row.line.device, row.line.metrics) for row in rows] == [
        ("a", {"steps": 5.0}),
        ("a", {}),
        None,
    ]
    assert "metric is empty" in str(rows[2].fault)
    assert notes == ["time is 'ts'; judged of each 'device': each 'metric' by its value", "not judged: unit"]
    rows, _ = rows_of("timestamp,variable,value,unit\n2026-01-01,steps,5,bpm\n")
    assert [row.line and (row.line.device, row.line.metrics) for row in rows] == [("m", {"steps": 5.0})]


def test_a_cell_that_is_no_time_decides_nothing() -> None:
    instants = Instants()
    for text in ("nan", "inf"):
        with pytest.raises(BadTime):
            instants.read(text)
    assert instants.read("1767225600") == DAY_S


def test_that_times_lie_far_ahead_is_said() -> None:
    instants = Instants()
    assert instants.read("20260101000000") > 10 * DAY_S
    assert "%Y%m%d%H%M%S" in instants.take_notes()[0]
    assert Instants("%Y%m%d%H%M%S").read("20260101000000") == DAY_S


def test_that_several_devices_are_read_as_one_series_is_said() -> None:
    found, notes = rows_of("machine,timestamp,value\na,2026-01-01,1\nb,2026-01-01,2")
    assert [row.line.device for row in found if row.line] == ["m", "m"]
    assert notes == ["all rows are one series; `--device machine` makes one of each 'machine'"]


def test_a_file_is_named_after_a_device() -> None:
    assert [device_of(PurePath(name)) for name in ("boiler.csv.gz", "a/unit 3.v2.csv", "x.ndjson")] == [
        "boiler",
        "unit 3.v2",
        "x",
    ]


def test_the_line_that_tells_excel_the_separator_is_no_header() -> None:
    """The file was refused: no column was called timestamp."""
    assert metrics_of("sep=;\nTimestamp;Temp\n2026-01-01 00:00;1,5") == [{"Temp": 1.5}]
    assert metrics_of('"sep=,"\nTimestamp,Temp\n2026-01-01 00:00,1.5') == [{"Temp": 1.5}]


def test_the_nameless_index_of_pandas_is_the_time_where_it_says_one() -> None:
    rows, notes = rows_of(",temp\n2026-01-01 00:00:00+00:00,1.5\n2026-01-01 00:01:00+00:00,2.5")
    assert [row.line and (row.line.ts_s, row.line.metrics) for row in rows] == [
        (DAY_S, {"temp": 1.5}),
        (DAY_S + 60, {"temp": 2.5}),
    ]
    assert notes[0] == "time is the first column, which has no name; judged: temp"
    assert metrics_of(",timestamp,temp\n0,2026-01-01,1.5") == [{"temp": 1.5}]


@pytest.mark.parametrize("first", ["0", "17", "row 1", ""])
def test_a_nameless_column_of_row_numbers_or_names_is_no_time(first: str) -> None:
    with pytest.raises(CareloopError, match="no column is called timestamp"):
        rows_of(f",temp\n{first},1.5")


def test_columns_of_one_name_are_both_judged() -> None:
    """The last one took the place of the others, and nobody was told."""
    rows, notes = rows_of("timestamp,temp,temp\n2026-01-01,1,2")
    assert [row.line and row.line.metrics for row in rows] == [{"temp": 1.0, "temp (3)": 2.0}]
    assert "columns of one name are told apart by their place: temp" in notes


def test_values_with_a_unit_behind_them_are_numbers_of_it() -> None:
    """As Grafana exports them; the whole table was called text."""
    rows, notes = rows_of("Time,Oven,Load,Flat\n2026-01-01,20.5 °C,51.3%,12A\n2026-01-02,21 °C,49%,12B")
    assert [row.line and row.line.metrics for row in rows] == [
        {"Oven": 20.5, "Load": 51.3},
        {"Oven": 21.0, "Load": 49.0},
    ]
    assert "values of 'Oven' are taken as numbers of °C" in notes
    said = "column 'Flat' holds text, such as '12A', and is not judged; `--device Flat` makes one series of each"
    assert said in notes


def test_a_value_of_another_unit_is_not_taken_for_one_of_the_first() -> None:
    rows, _ = rows_of("timestamp,power\n2026-01-01,900 W\n2026-01-02,1.2 kW")
    assert [row.line and row.line.metrics for row in rows] == [{"power": 900.0}, {}]
    assert "value '1.2 kW' is not in W" in str(rows[1].fault)


def test_thousands_apart_and_in_quotes_are_numbers_where_a_point_shows_that_they_are() -> None:
    assert metrics_of('timestamp,a,b\n2026-01-01,"1,254.03",2\n2026-01-02,"-1,254,000.5",2') == [
        {"a": 1254.03, "b": 2.0},
        {"a": -1_254_000.5, "b": 2.0},
    ]


def test_the_metric_of_an_export_from_influx_is_its_field() -> None:
    """All fields of a measurement were judged as one series."""
    header = "#group,false,false,true\n,result,table,_time,_value,_field,_measurement\n"
    rows = ",,0,2026-01-01T00:00:00Z,1,t,oven\n,,1,2026-01-01T00:00:00Z,9,p,oven"
    assert metrics_of(header + rows) == [{"t": 1.0}, {"p": 9.0}]


def test_a_workbook_is_called_one() -> None:
    with pytest.raises(CareloopError, match="save its sheet as CSV"):
        rows_of("PK\x03\x04\x14\x00rubbish")
