"""Real series are read line by line, and played as devices."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from devices.registry.import_ import read_records
from simulators.replay import Playback, UnreadableSeries, device_id_of, read_series, write_playback_registry


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_timestamp_and_value(tmp_path: Path) -> None:
    series = read_series(
        write(tmp_path / "machine temp.csv", "timestamp,value\n2014-01-01 00:00:00,1.5\n2014-01-01 00:05:00,2\n")
    )
    assert series.device_id == "machine-temp"
    assert [(line.ts_ms, line.metrics) for line in series.lines] == [
        (1388534400000, {"value": 1.5}),
        (1388534700000, {"value": 2.0}),
    ]


def test_several_columns_empty_cells_and_epoch_times(tmp_path: Path) -> None:
    series = read_series(
        write(tmp_path / "a.csv", "t,steps,heart rate\n1388534400,1,\n1388534400500,,70\n"), prefix="x-"
    )
    assert series.device_id == "x-a"
    assert [(line.ts_ms, line.metrics) for line in series.lines] == [
        (1388534400000, {"steps": 1.0}),
        (1388534400500, {"heart_rate": 70.0}),
    ]


def test_a_compressed_file(tmp_path: Path) -> None:
    path = tmp_path / "b.csv.gz"
    path.write_bytes(gzip.compress(b"timestamp,value\n2014-01-01T00:00:00+01:00,1\n"))
    assert read_series(path).lines[0].ts_ms == 1388530800000


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("timestamp\n1\n", "line 1"),
        ("timestamp,value\n", "no line"),
        ("timestamp,value\n2014-01-01,1\nnever,2\n", "line 3"),
        ("timestamp,value\n2014-01-01,warm\n", "line 2"),
        ("timestamp,value\n2014-01-01,1,2\n", "line 2"),
    ],
)
def test_what_is_no_series_is_refused_with_its_line(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(UnreadableSeries, match=where):
        read_series(write(tmp_path / "c.csv", text))


def test_a_name_without_a_usable_letter_makes_no_device(tmp_path: Path) -> None:
    assert device_id_of(Path("é.csv")) == ""
    with pytest.raises(UnreadableSeries, match="device id"):
        read_series(write(tmp_path / "é.csv", "timestamp,value\n1,1\n"))


def test_every_line_is_played_once_whatever_its_order(tmp_path: Path) -> None:
    text = "timestamp,value\n" + "".join(
        f"{1388534400 + second},{n}\n" for n, second in enumerate((0, 60, 30, 60, 7200))
    )
    playback = Playback([read_series(write(tmp_path / "d.csv", text))])
    steps = [list(playback.errands_until(playback.span.start_s + hours * 3600)) for hours in (1, 2, 3)]
    packets = [errand.packet for step in steps for errand in step if errand.packet is not None]
    values = [item["metrics"]["value"] for p in packets for item in np.atleast_1d(json.loads(p.payload)).tolist()]
    assert values == [0, 1, 2, 3, 4]
    assert sum(len(packet.ts_ms) for packet in packets) == playback.lines


def test_series_can_be_shifted_and_introduced(tmp_path: Path) -> None:
    series = read_series(write(tmp_path / "e.csv", "timestamp,value\n2014-01-01,1\n"))
    moved = series.shifted(60.0)
    assert moved.start_s == series.start_s + 60.0
    moved.give_secret(np.random.default_rng(1))
    write_playback_registry(Playback([moved]), tmp_path / "registry.json")
    (record,) = read_records(tmp_path / "registry.json")
    assert record.device_id == "e"
