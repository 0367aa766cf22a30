"""`careloop detect --plot` beside its lines: the same alarms, and a picture of them."""

import json
import math
from pathlib import Path

from tests.services.gateway import run_careloop

HOUR_MS = 3_600_000
BEGIN_MS = 1_700_000_000_000


def readings(path: Path) -> Path:
    """Two devices for forty days; one becomes hot for half a day."""
    lines: list[str] = []
    for hour in range(40 * 24):
        for device in ("oven-1", "oven-2"):
            is_hot = device == "oven-1" and 36 * 24 <= hour < 36 * 24 + 12
            value = 20 + 5 * math.sin(hour / 24 * math.tau) + 0.1 * (hour * 7 % 11) + 30 * is_hot
            lines.append(json.dumps({"device": device, "ts": BEGIN_MS + hour * HOUR_MS, "metrics": {"celsius": value}}))
    path.write_text("\n".join(lines))
    return path


def test_a_picture_is_drawn_beside_the_same_lines(tmp_path: Path) -> None:
    source, picture = readings(tmp_path / "ovens.ndjson"), tmp_path / "ovens.svg"
    plain = run_careloop("detect", source)
    drawn = run_careloop("detect", source, "--plot", picture)
    assert (drawn.returncode, drawn.stdout) == (0, plain.stdout), drawn.stderr
    alarms = [json.loads(line) for line in plain.stdout.splitlines()]
    assert {alarm["device"] for alarm in alarms} == {"oven-1"}
    text = picture.read_text()
    for words in ("ovens.ndjson", "2 series, 1 with alarms", "oven-1", "raised", alarms[0]["explanation"][:20]):
        assert words in text


def test_what_cannot_be_drawn_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    source = readings(tmp_path / "ovens.ndjson")
    for arguments, words in (
        (["--plot", tmp_path / "ovens.pdf"], "ends in .png or .svg"),
        (["--plot", tmp_path / "no" / "ovens.png"], "a folder that exists"),
        (["--format", "csv", "--scores", "--plot", tmp_path / "ovens.png"], "--scores raises none"),
    ):
        refused = run_careloop("detect", source, *arguments)
        assert refused.returncode == 2
        assert words in refused.stderr
        assert refused.stdout == ""
