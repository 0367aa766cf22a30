"""What is kept for a picture, what is chosen, and that both kinds of file are drawn."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from devices.errors import CareloopError, ConfigError
from devices.profiles import AUTOMATIC
from gateway.detect.lines import Line
from gateway.detect.settings import DetectSettings
from gateway.detect.stream import Stream
from gateway.pictures.album import FEW, MOST_PANELS, MOST_SERIES, Album
from gateway.pictures.canvas import Sheet, check_name, save
from gateway.pictures.days import DaysPanel
from gateway.pictures.series import MOST_POINTS, Points, expected_range, thin_out, usual_per_day

HOUR_S = 3600.0
BEGIN_S = 1_700_000_000.0


def album_of(devices: int, days: int = 30) -> Album:
    """Devices that send an hourly level; the first one jumps for ten hours near the end."""
    rng = np.random.default_rng(1)
    stream, album = Stream(AUTOMATIC, DetectSettings(silence_grace=0.0)), Album()
    for hour in range(days * 24):
        jump = 20.0 if (days - 3) * 24 < hour < (days - 3) * 24 + 10 else 0.0
        lines = [
            Line(f"d{number:03}", BEGIN_S + hour * HOUR_S, {"level": 20 + float(rng.normal()) + jump * (number == 0)})
            for number in range(devices)
        ]
        changes = stream.take(lines)
        album.read(lines)
        album.tell(changes)
    return album


@pytest.mark.parametrize(
    ("words", "low", "high"),
    [
        ("19.8 to 23.1", 19.8, 23.1),
        ("19.8 °C to 23.1 °C", 19.8, 23.1),
        ("-1,250 to -3.5", -1250.0, -3.5),
        ("at most 90 °C", None, 90.0),
        ("at least 1,000", 1000.0, None),
        ("about 291 in 2.3 days", None, None),
        ("a sign of life every 6 hours", None, None),
    ],
)
def test_the_expected_band_is_read_from_the_explanation(words: str, low: float | None, high: float | None) -> None:
    assert expected_range(words) == (low, high)


def test_a_usual_day_is_read_from_what_is_usual_in_a_window() -> None:
    assert usual_per_day("about 1,200 in 4 days", 4 * 86_400.0) == 300.0
    assert usual_per_day("about 1,200 step in 4 days", 4 * 86_400.0) == 300.0
    assert usual_per_day("fewer than 6 within 24 hours and about 1.92 a day", 3600.0) == 1.92
    assert usual_per_day("about 5 km a day", 3600.0) == 5.0
    assert usual_per_day("about one in 2 weeks", 3600.0) == pytest.approx(1 / 14)
    assert usual_per_day("at most 3", 86_400.0) is None
    assert usual_per_day("about 3 in 0 days", 0.0) is None


def test_thinning_keeps_every_spike_and_the_order_of_time() -> None:
    ts = np.arange(100_000.0)
    values = np.zeros(100_000)
    values[[17, 50_000, 99_998]] = [5.0, -7.0, 9.0]
    thin_ts, thin = thin_out(ts, values, 1000)
    assert len(thin) <= 1000
    assert {5.0, -7.0, 9.0} <= set(thin.tolist())
    assert (np.diff(thin_ts) > 0).all()


def test_points_are_bounded_and_in_order() -> None:
    points = Points()
    for number in range(5 * MOST_POINTS):
        points.add(float(-number), float(number == 12_345))
    points.add(1.0, float("nan"))
    ts, values = points.columns()
    assert len(points) < 2 * MOST_POINTS
    assert values.max() == 1.0
    assert (np.diff(ts) >= 0).all()


def test_series_with_alarms_are_shown_and_the_others_are_counted() -> None:
    sheet = album_of(6).sheet("six.ndjson")
    assert sheet.subtitle == f"6 series, 1 with alarms; {FEW} shown, those with the most alarms first"
    assert len(sheet.panels) == FEW
    assert any("raised" in line and "record-level" in line for line in sheet.panels[0].words)
    assert all(not panel.words for panel in sheet.panels[1:])


def test_an_album_keeps_so_many_series_and_no_more() -> None:
    album = Album()
    album.read([Line(f"d{number}", BEGIN_S, {"level": 1.0}) for number in range(MOST_SERIES + 40)])
    sheet = album.sheet("many")
    assert sheet.subtitle.startswith(f"{MOST_SERIES + 40:,} series, 0 with alarms")
    assert len(sheet.panels) <= MOST_PANELS


def test_both_kinds_of_picture_are_drawn_and_drawn_the_same_twice(tmp_path: Path) -> None:
    sheet = album_of(2).sheet("two.ndjson")
    days = DaysPanel("Alarms raised", (BEGIN_S, BEGIN_S + 400 * 86_400), {"happened": [BEGIN_S], "as installed": []})
    sheet = Sheet(sheet.title, sheet.subtitle, [days, *sheet.panels])
    for name in ("one.png", "two.png", "one.svg", "two.svg"):
        save(sheet, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "one.svg").read_text()
    for words in ("two.ndjson", "Alarms raised a week", "expected", "raised", "cleared", "record-level"):
        assert words in drawn
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize("device", ["$a$b^$", "<&>", "水", "a" * 300, "line\nbreak"])
def test_names_are_drawn_as_they_are_whatever_is_in_them(tmp_path: Path, device: str) -> None:
    album = Album()
    album.read([Line(device, BEGIN_S + hour * HOUR_S, {"level": float(hour % 3)}) for hour in range(9)])
    for name in ("one.png", "one.svg"):
        save(album.sheet(device), tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.parametrize(("name", "words"), [("a.gif", "ends in .png or .svg"), ("no/such/a.png", "a folder")])
def test_a_name_that_cannot_be_a_picture_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_name(tmp_path / name)
    assert words in caught.value.faults[0].allowed


def test_nothing_at_all_is_a_picture_too_and_a_folder_is_no_file(tmp_path: Path) -> None:
    save(Album().sheet("nothing"), tmp_path / "nothing.png")
    assert (tmp_path / "nothing.png").exists()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(CareloopError, match=r"folder\.png"):
        save(Album().sheet("nothing"), tmp_path / "folder.png")


def test_nothing_is_imported_for_pictures_that_nobody_asked_for() -> None:
    code = "import sys, gateway.cli.detect, gateway.cli.backtest; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_long_list_of_changes_stays_on_the_sheet(tmp_path: Path) -> None:
    changes = "; ".join(f"kettle: watch number-{number}: severity major → minor" for number in range(12))
    days = DaysPanel("Alarms raised", (BEGIN_S, BEGIN_S + 9 * 86_400), {"happened": [BEGIN_S]})
    save(Sheet("Backtest", changes, [days]), tmp_path / "long.svg")
    lines = [line for line in (tmp_path / "long.svg").read_text().splitlines() if "watch number-" in line]
    assert len(lines) > 3
    assert max(map(len, lines)) < 400  # of which the text's own place and style take half
