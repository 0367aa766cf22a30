"""Tables that name no columns, and tables whose cells are apart by blanks, as raw data sets have them."""

import pytest

from devices.errors import CareloopError
from gateway.detect.columns import Asked
from gateway.detect.instants import Instants
from gateway.detect.tables import Table

Read = list[tuple[str, float, dict[str, float]]]


def read(text: str, asked: Asked | None = None) -> tuple[Read, list[str]]:
    """Whose, when and what each row is, and what was said."""
    table = Table(asked or Asked("m"), Instants())
    rows = [*table.rows([(number, line.encode()) for number, line in enumerate(text.split("\n"), 1)]), *table.end()]
    return [(row.line.device, row.line.ts_s, row.line.metrics) for row in rows if row.line], table.take_notes()


DAY_S = 1_767_225_600.0  # 1 January 2026


def test_turbofans_that_ran_to_failure_are_read_as_they_are_published() -> None:
    """A unit, its cycle, settings and sensors, blanks between them and at the end, and no names: all was refused."""
    rows, notes = read("1 1 -0.0007 518.67  \n1 2 0.0019 518.7  \n2 1 -4e-04 519  \n")
    assert rows == [
        ("1", 0.001, {"column_3": -0.0007, "column_4": 518.67}),
        ("1", 0.002, {"column_3": 0.0019, "column_4": 518.7}),
        ("2", 0.001, {"column_3": -0.0004, "column_4": 519.0}),
    ]
    assert notes[:2] == [
        "the first line names no columns: they are called by their place",
        "time is 'column_2'; judged of each 'column_1': column_3, column_4",
    ]
    assert read("1.0e0,1.0,5\n1.0,2.0,6\n")[0][1] == ("1.0", 0.002, {"column_3": 6.0})


@pytest.mark.parametrize(
    "text",
    [
        "time  temp   amps\n2026-01-01  20.5 2,5\n2026-01-02 21   3",
        "ts temp amps\r\n1767225600 20.5 2,5\r\n1767312000 21 3\r\n",
        'time "temp" amps\n2026-01-01 20.5 2,5\n\n2026-01-02 21 3',
    ],
)
def test_blanks_may_stand_between_cells(text: str) -> None:
    assert read(text)[0] == [("m", DAY_S, {"temp": 20.5, "amps": 2.5}), ("m", DAY_S + 86_400, {"temp": 21, "amps": 3})]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("2026-01-01 00:00,press,5.5,7", {"column_3": 5.5, "column_4": 7.0}),
        ("1767225600000;5,5;;7", {"column_2": 5.5, "column_4": 7.0}),
        ("2026-01-01 00:00 5.5 7", {"column_3": 5.5, "column_4": 7.0}),
        ("2026-01-01 00:00:00 5.5 fine", {"column_3": 5.5}),
        ("5.5\t7\t2026-01-01T00:00:00Z", {"column_1": 5.5, "column_2": 7.0}),
        ("1767225600 5,5 7", {"column_2": 5.5, "column_3": 7.0}),
    ],
)
def test_a_first_line_of_a_time_and_numbers_names_nothing(text: str, seen: dict[str, float]) -> None:
    assert read(text)[0] == [("m", DAY_S, seen)]


@pytest.mark.parametrize(
    ("text", "asked", "seen"),
    [
        ("4.5,7,60000\n4.6,8,120000", Asked("m", time="3"), ("m", 60.0, {"column_1": 4.5, "column_2": 7.0})),
        ("7,60000,4.5", Asked("m", time="2", device="1"), ("7", 60.0, {"column_3": 4.5})),
        ("a,60000,4.5", Asked("m", "column_2", "1", has_header=False), ("a", 60.0, {"column_3": 4.5})),
        ("2026-01-01,press,4", Asked("m", device="2"), ("press", DAY_S, {"column_3": 4.0})),
    ],
)
def test_columns_without_names_are_asked_for_by_number(
    text: str, asked: Asked, seen: tuple[str, float, dict[str, float]]
) -> None:
    assert read(text, asked)[0][0] == seen


@pytest.mark.parametrize(
    ("text", "asked", "said"),
    [
        ("5.5,6,7\n5.6,8,9", Asked("m"), "`--time 2`"),
        ("1 1 5.5", Asked("m"), "`--time 2`"),
        ("1,2,5.5\n3,4,5.5", Asked("m"), "`--time 2`"),
        ("5,6,7", Asked("m", time="4"), "there are 1 to 3"),
        ("5,6,7", Asked("m", time="0"), "there are 1 to 3"),
        ("a,b,7", Asked("m", time="when", has_header=False), "no names"),
        ("7,60000", Asked("m", time="2", device="1"), "no column besides"),
    ],
)
def test_what_cannot_be_told_without_names_is_asked_for(text: str, asked: Asked, said: str) -> None:
    with pytest.raises(CareloopError, match=said):
        read(text, asked)


@pytest.mark.parametrize(
    "header", ["device,2026-01-01,2026-01-02", ",0,1,2", "Machine 7 of 2026-01-01", "2026-01-01,open,shut"]
)
def test_names_among_dates_and_numbers_are_names(header: str) -> None:
    with pytest.raises(CareloopError, match="no column is called timestamp"):
        read(f"{header}\nunknown,5,6,7\n")
    assert read("time,1,2\n2026-01-01,5,6\n")[0] == [("m", DAY_S, {"1": 5.0, "2": 6.0})]
