"""The house around the code: what is shipped, what is locked, what is registered."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from fcntl import LOCK_EX, flock
from importlib.metadata import EntryPoint
from os import environ, getpid
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway.database.migrate import PACKAGES, read_migrations

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("requirements.lock", "requirements-dev.lock")
SHIPPED: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def entry_points() -> list[EntryPoint]:
    groups: dict[str, dict[str, str]] = {"console_scripts": PROJECT["project"]["scripts"]}
    groups |= PROJECT["project"]["entry-points"]
    return [EntryPoint(name, value, group) for group, entries in groups.items() for name, value in entries.items()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[str]]:
    """The names of the files in the wheel that would be released now, and of those in the packages' folders.

    It is built once, however many processes share the tests: building compiles into the folders that are looked at.
    """
    folder = tmp_path_factory.getbasetemp().parent / f"wheel-{environ.get('PYTEST_XDIST_TESTRUNUID', getpid())}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        names = folder / "names.json"
        if not names.exists():
            names.write_text(json.dumps(_build(folder)))
        return json.loads(names.read_text())


def _build(folder: Path) -> dict[str, list[str]]:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    files = [path for package in SHIPPED for path in (ROOT / package).rglob("*") if path.is_file()]
    there = [str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts]
    with ZipFile(next(folder.glob("*.whl"))) as archive:
        return {"wheel": archive.namelist(), "there": there}


@pytest.fixture(scope="module")
def wheel(built: Mapping[str, list[str]]) -> set[str]:
    """The names of the files in the wheel that would be released now."""
    return set(built["wheel"])


def test_the_wheel_holds_every_file_of_the_packages(built: Mapping[str, list[str]]) -> None:
    assert set(built["there"]) - set(built["wheel"]) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_the_migrations(wheel: set[str], package: str) -> None:
    assert any(re.fullmatch(rf"{package}/migrations/\d{{4}}_\w+\.sql", name) for name in wheel)


def test_the_wheel_holds_the_default_settings(wheel: set[str]) -> None:
    assert "gateway/settings.default.toml" in wheel


@pytest.mark.parametrize("entry", PROJECT["project"]["entry-points"]["careloop.profiles"].values())
def test_the_wheel_holds_what_a_profile_is(wheel: set[str], entry: str) -> None:
    folder = entry.replace(".", "/")
    assert {f"{folder}/{name}" for name in ("profile.toml", "sample.json", "README.md")} <= wheel


def test_the_wheel_holds_nothing_but_the_packages(wheel: set[str]) -> None:
    assert {name.partition("/")[0] for name in wheel if ".dist-info/" not in name} == set(SHIPPED)


@pytest.mark.parametrize("entry", entry_points(), ids=lambda entry: f"{entry.group}:{entry.name}")
def test_what_is_registered_can_be_imported(entry: EntryPoint) -> None:
    assert entry.load() is not None


def test_migrations_are_numbered_without_gaps() -> None:
    for package in PACKAGES:
        versions = [migration.version for migration in read_migrations([package])]
        assert versions == list(range(1, len(versions) + 1)), package


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_place(lock: str) -> None:
    """Whoever installs chooses the index; a lock says only what."""
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert re.search(r"^\s*--(?!hash=)", text, re.MULTILINE) is None


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_have_a_hash_for_everything(lock: str) -> None:
    entries = re.split(r"^(?=[a-z0-9])", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.partition("==")[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize(("lock", "group"), [("requirements.lock", "build"), ("requirements-dev.lock", "dev")])
def test_locks_fulfil_what_the_project_asks_for(lock: str, group: str) -> None:
    pins = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"][group]]
    requirements = [Requirement(text) for text in asked if isinstance(text, str)]
    unfulfilled = [
        str(requirement)
        for requirement in requirements
        if not requirement.specifier.contains(pins.get(canonicalize_name(requirement.name), "0"))
    ]
    assert unfulfilled == []


def test_both_locks_agree() -> None:
    runtime, development = (
        set(re.findall(r"^[a-z0-9.-]+==\S+", (ROOT / lock).read_text(), re.MULTILINE)) for lock in LOCKS
    )
    assert runtime <= development


def test_no_test_is_skipped() -> None:
    """A missing service fails the run."""
    words = re.compile(r"pytest\.(skip|importorskip)|mark\.skip")
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    assert [path.name for path in tests if words.search(path.read_text())] == []


LIGHT = """
import sys, gateway.cli.devices
assert not {"numpy", "httpx"} & sys.modules.keys()
import gateway.outreach.process
assert not {"numpy", "joserfc"} & sys.modules.keys()
import gateway.cli.run
assert not {"matplotlib", "joserfc"} & sys.modules.keys()
"""


def test_what_takes_long_to_load_is_loaded_where_it_is_needed() -> None:
    """A command about devices answers sooner for it, and a gateway starts sooner, whose CRM side takes less memory."""
    subprocess.run([sys.executable, "-P", "-c", LIGHT], cwd=ROOT, check=True)
