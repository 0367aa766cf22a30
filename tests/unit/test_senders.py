"""The environments of the field's libraries: locked like ours, and found again by what is in them."""

import re
from pathlib import Path

import pytest

from scripts.senders import LOCKS, interpreter, senders

NAMES = ["build", *senders()]


def test_every_program_has_a_lock() -> None:
    assert senders() == ["helpdesk", "roundup", "sparkplug", "thingsboard"]


@pytest.mark.parametrize("name", NAMES)
def test_locks_name_no_place_and_have_a_hash_for_everything(name: str) -> None:
    text = (LOCKS / f"{name}.lock").read_text()
    assert "://" not in text
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.partition("==")[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", NAMES)
def test_locks_fulfil_what_is_asked_for(name: str) -> None:
    asked = {line.split()[0] for line in (LOCKS / f"{name}.in").read_text().splitlines()}
    pins = set(re.findall(r"^[a-z0-9-]+==\S+", (LOCKS / f"{name}.lock").read_text(), re.MULTILINE))
    assert [one for one in asked if "==" in one and one not in pins] == []


def test_an_environment_is_known_by_its_lock() -> None:
    found = [interpreter(name, Path("/cache")) for name in senders()]
    assert len(set(found)) == len(found)
    assert all(path.is_relative_to("/cache/senders") for path in found)
