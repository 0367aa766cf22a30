"""`careloop backtest` as it is run: on a history that was lived, with a changed watch, in words, JSON and a picture."""

import json
from collections.abc import Sequence
from pathlib import Path

from devices.clock import to_datetime
from tests.backtest.lived import BEGIN_S, DAYS, HOUR_S, live, profiles_in
from tests.services.gateway import run_careloop

CHANGED = """
model = "boiler"
remove = ["silence"]
[[watches]]
name = "too-hot"
detector = "threshold"
metric = "celsius"
problem = "overheating"
severity = "major"
parameters = { above = 80.0 }
"""


def options(url: str, folder: Path) -> Sequence[str | Path]:
    """What every call is given: the database, the boiler's profile, and the time."""
    (folder / "profiles").mkdir(exist_ok=True)
    profiles_in(folder / "profiles")
    config = folder / "careloop.toml"
    config.write_text(
        f'[database]\nurl = "{url}"\n[profiles]\nfolders = ["{folder / "profiles"}"]\n'
        '[[crm.endpoints]]\nname = "crm-a"\nurl = "https://crm.example.com/hook"\n'
        'secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"\n'
    )
    until = to_datetime(BEGIN_S + (DAYS * 24 + 1) * HOUR_S).isoformat()
    return ["backtest", "--config", config, "--since", "8d", "--until", until]


async def test_a_changed_watch_is_told_in_words_in_json_and_in_a_picture(
    plain_database_url: str, tmp_path: Path
) -> None:
    await live(plain_database_url, tmp_path)
    common = options(plain_database_url, tmp_path)
    changed = tmp_path / "changed.toml"
    changed.write_text(CHANGED)
    picture = tmp_path / "backtest.svg"

    told = run_careloop(*common, "--watch", changed, "--plot", picture)
    assert told.returncode == 0, told.stderr
    assert "912 readings of 4 devices" in told.stdout
    assert "proposed: boiler: watch too-hot: parameters {above = 90.0} → {above = 80.0}" in told.stdout
    assert "proposed: boiler: watch silence is gone" in told.stdout
    assert "As installed, against what happened: alarms 2 the same, 0 new, 0 gone" in told.stdout
    assert "As proposed, against as installed: alarms 1 the same, 1 new, 1 gone" in told.stdout
    assert "too-hot: Celsius 85 °C, above its limit of 80 °C" in told.stdout
    (by_email,) = [line.split() for line in told.stdout.splitlines() if line.strip().startswith("by email")]
    assert by_email == ["by", "email", "0", "0", "1"]
    drawn = picture.read_text()
    assert drawn.startswith("<?xml")
    for words in ("Alarms raised a day", "too-hot, only as proposed", "silence, only as installed", "as proposed: 2"):
        assert words in drawn

    as_json = json.loads(run_careloop(*common, "--watch", changed, "--json", "--device", "b2", "--device", "b9").stdout)
    assert as_json["missing"] == ["b9"]
    assert as_json["devices"] == 1
    assert as_json["installed"]["alarms"]["raised"] == 0
    (new,) = as_json["proposed_against_installed"]["alarms"]["new"]
    assert (new["device_id"], new["watch"], new["state"]) == ("b2", "too-hot", "cleared")

    for arguments, code, words in (
        (["--watch", changed, "--profile", changed], 2, "do not go together"),
        (["--plot", tmp_path / "picture.gif"], 2, "ends in .png or .svg"),
        (["--since", "2020-01-01", "--until", "2020-02-01"], 1, "no reading of that time is stored"),
    ):
        refused = run_careloop(*common, *arguments)
        assert (refused.returncode, words in refused.stderr) == (code, True), refused.stderr
