"""Tables as programs of this world leave them: code pages, thousands apart, devices that no column tells apart."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from devices.errors import CareloopError
from gateway.cli.detect import detect
from gateway.detect.figures import read_number
from gateway.detect.lines import BadLine


def judge(path: Path, text: str | bytes, *arguments: str) -> Result:
    """What is said of a file."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return CliRunner().invoke(detect, [*arguments, str(path)])


def test_a_code_page_of_windows_is_read(tmp_path: Path) -> None:
    """The unit of a column was a question mark in its alarms."""
    done = judge(tmp_path / "ofen.csv", "Zeit;Wärme [°C]\r\n01.01.2026 10:00;20,5\r\n".encode("cp1252"))
    assert (done.exit_code, done.stderr) == (0, "note: time is 'Zeit'; judged: Wärme [°C]\n")


@pytest.mark.parametrize(
    ("text", "separator", "number"),
    [
        ("3 000,5", ";", 3000.5),
        ("1\u202f234\u00a0567", ",", 1_234_567),
        ("-3'000.5", ",", -3000.5),
        ("\u22125", ",", -5),
        ("\u22120,5", "\t", -0.5),
    ],
)
def test_thousands_may_stand_apart_and_a_minus_may_be_long(text: str, separator: str, number: float) -> None:
    assert read_number(text, separator) == number


@pytest.mark.parametrize("text", ["3 00", "3 0000", "1 000,5", "12 34", "3 000 x", "''", "1_0", "\u2212"])
def test_what_is_no_number_stays_none(text: str) -> None:
    with pytest.raises(BadLine):
        read_number(text, ",")


def test_lines_of_one_moment_are_said_to_be_of_several_devices_perhaps(tmp_path: Path) -> None:
    """Two machines in one table were judged as one without a word."""
    two = "time,number,x\n2026-01-01,7,5\n2026-01-01,8,9\n2026-01-02,7,5\n2026-01-02,8,9\n"
    for more in ((), ("--sort",)):
        assert (
            "2 of 4 lines tell of a moment what a line before them did" in judge(tmp_path / "a.csv", two, *more).stderr
        )
    assert "a moment" not in judge(tmp_path / "a.csv", two, "--device", "number").stderr
    apart = '{"device":"a","ts":1,"metrics":{"x":1}}\n{"device":"a","ts":1,"metrics":{"y":1}}\n'
    assert "a moment" not in judge(tmp_path / "a.ndjson", apart).stderr


def test_a_column_of_text_is_said_to_name_devices_perhaps(tmp_path: Path) -> None:
    text = "time,press,x\n2026-01-01,left,5\n2026-01-01,right,9\n"
    assert "`--device press` makes one series of each" in judge(tmp_path / "a.csv", text).stderr
    assert "makes one series" not in judge(tmp_path / "a.csv", text.replace("time,press", "time,device")).stderr


def test_a_file_without_an_ending_is_known_by_how_it_begins(tmp_path: Path) -> None:
    """Each row was called malformed JSON."""
    assert judge(tmp_path / "export", "time;x\n2026-01-01;5\n").exit_code == 0
    assert judge(tmp_path / "log.1", '{"device":"a","ts":1,"metrics":{"x":1}}\n').exit_code == 0


@pytest.mark.parametrize(
    ("begins", "said"),
    [(b"PK\x03\x04\x00", "workbook"), (b"\xd0\xcf\x11\xe0\xa1\xb1", "workbook"), (b"PAR1\x15\x04", "Parquet")],
)
def test_files_of_programs_are_called_what_they_are(tmp_path: Path, begins: bytes, said: str) -> None:
    done = judge(tmp_path / "sheet.xls", begins + bytes(range(128, 256)))
    assert isinstance(done.exception, CareloopError)
    assert said in done.exception.detail


def test_a_time_in_words_is_read_by_its_pattern(tmp_path: Path) -> None:
    text = "time,x\n13_Jan_2026 10:00,5\n"
    assert "`--time-format` gives its pattern, such as %d-%b-%Y" in judge(tmp_path / "a.csv", text).stderr
    assert judge(tmp_path / "a.csv", text, "--time-format", "%d_%b_%Y %H:%M").exit_code == 0
