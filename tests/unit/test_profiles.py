"""Reading profiles: from packages, from an operator's folders, and what is wrong with them."""

from pathlib import Path

import pytest

from devices.errors import ConfigError
from devices.profiles import AUTOMATIC, load_profiles
from devices.profiles.model import Watch

GOOD = """
model = "kettle"
title = "Kettle"
reporting_interval = "10m"

[metrics.temperature]
kind = "gauge"
unit = "Cel"
minimum = 0
maximum = 120

[metrics.boilings]
kind = "delta"
function = "boiling"

[[watches]]
name = "too-hot"
detector = "threshold"
metric = "temperature"
for = "90s"
parameters = { above = 110 }

[[watches]]
name = "used-less"
detector = "usage_drop"
metric = "boilings"

[[watches]]
name = "gone"
detector = "silence"
parameters = { after = "1d" }
"""


def faults_of(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_profiles([folder])
    return [str(fault) for fault in raised.value.faults]


def test_the_automatic_profile_is_always_there() -> None:
    assert load_profiles()["automatic"] is AUTOMATIC
    assert AUTOMATIC.automatic


def test_an_operators_own_profile(tmp_path: Path) -> None:
    (tmp_path / "kettle.toml").write_text(GOOD)
    (tmp_path / "notes.txt").write_text("not a profile")
    kettle = load_profiles([tmp_path])["kettle"]
    assert kettle.reporting_interval == 600
    assert kettle.watches[0].for_ == 90
    assert [kettle.problem_of(watch) for watch in kettle.watches] == ["temperature", "boiling", "connection"]


def test_a_watch_may_name_its_problem(tmp_path: Path) -> None:
    (tmp_path / "kettle.toml").write_text(GOOD.replace('name = "gone"', 'name = "gone"\nproblem = "stolen"'))
    kettle = load_profiles([tmp_path])["kettle"]
    assert kettle.problem_of(kettle.watches[2]) == "stolen"


def test_an_operators_profile_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "band.toml").write_text(GOOD.replace('"kettle"', '"fitness-band"'))
    assert load_profiles([tmp_path])["fitness-band"].title == "Kettle"


def test_every_fault_of_every_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD.replace('"gauge"', '"gage"').replace('"90s"', '"soon"'))
    (tmp_path / "b.toml").write_text('model = "b"\ntitle = "B"\ncolour = "red"\n')
    (tmp_path / "c.toml").write_text("model = ")
    (tmp_path / "d.toml").write_bytes(b"\xff")
    faults = "\n".join(faults_of(tmp_path))
    for words in ("a.toml: metrics.temperature.kind", "'gage'", "a.toml: watches.0.for", "'soon'", "b.toml: colour"):
        assert words in faults
    for words in ("c.toml: found", "d.toml: found"):
        assert words in faults


def test_a_watch_of_a_metric_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "kettle.toml").write_text(GOOD.replace('metric = "boilings"', 'metric = "boils"'))
    (fault,) = faults_of(tmp_path)
    assert "no metric named 'boils'" in fault


def test_two_watches_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "kettle.toml").write_text(GOOD.replace('"used-less"', '"too-hot"'))
    (fault,) = faults_of(tmp_path)
    assert "too-hot" in fault


def test_one_model_in_two_files(tmp_path: Path) -> None:
    for name in ("one.toml", "two.toml"):
        (tmp_path / name).write_text(GOOD)
    (fault,) = faults_of(tmp_path)
    assert "two.toml: model" in fault
    assert "one.toml" in fault


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path / "nowhere")
    assert "profiles.folders" in fault


@pytest.mark.parametrize("text", ["Kettle", "two words", "-kettle", "kettle-", "a" * 41, ""])
def test_names_that_are_no_slugs(tmp_path: Path, text: str) -> None:
    (tmp_path / "kettle.toml").write_text(GOOD.replace('"kettle"', f'"{text}"'))
    (fault,) = faults_of(tmp_path)
    assert "kettle.toml: model" in fault


def test_spans_are_words_or_seconds() -> None:
    for span, expected_s in (("1.5h", 5400.0), ("2d", 172_800.0), (30, 30.0), ("0s", 0.0)):
        watch = Watch.model_validate({"name": "w", "detector": "silence", "for": span})
        assert watch.for_ == expected_s


def test_models_that_only_punctuation_tells_apart(tmp_path: Path) -> None:
    (tmp_path / "band.toml").write_text(GOOD.replace('"kettle"', '"fitness_band"'))
    (fault,) = faults_of(tmp_path)
    assert "fitness_band" in fault
    assert "fitness-band" in fault


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("maximum = 120", "maximum = -1", "minimum 0 is above maximum -1"),
        ("maximum = 120", "maximum = nan", "finite"),
        ("[[watches]]", '[[playbooks]]\nproblem = "p"\ntitle = "P"\n' * 2 + "[[watches]]", "two playbooks"),
    ],
)
def test_contradictions(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    (tmp_path / "kettle.toml").write_text(GOOD.replace(right, wrong, 1))
    (fault,) = faults_of(tmp_path)
    assert said in fault
