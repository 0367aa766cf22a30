"""Where the embedded database lies, and under which account it runs, when careloop is root."""

import os
from pathlib import Path

import pytest

from gateway.database.unprivileged import ROOT_DATA, Account, account_for, data_folder

STRANGER = Account("stranger", uid=54321, gid=54321)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder that only its owner can enter, like /root."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


def test_an_ordinary_user_keeps_the_data_in_the_folder(home: Path) -> None:
    assert data_folder(home / "database", None) == home / "database" / "data"


def test_a_closed_home_sends_the_data_elsewhere(home: Path) -> None:
    data = data_folder(home / "database", STRANGER)
    assert data.parent == ROOT_DATA
    assert data == data_folder(home / "database", STRANGER)
    assert data != data_folder(home / "other" / "database", STRANGER)


def test_an_open_folder_keeps_the_data() -> None:
    assert data_folder(Path("/usr/careloop"), STRANGER) == Path("/usr/careloop/data")


def test_the_owner_enters_a_closed_folder(home: Path) -> None:
    about = home.stat()
    mine = Account("me", about.st_uid, about.st_gid)
    assert mine.uid == 0 or all(folder.stat().st_uid in {0, mine.uid} for folder in home.parents)
    assert mine.enters(home)
    assert not STRANGER.enters(home)


def test_a_group_without_permission_is_not_saved_by_the_others_bits(tmp_path: Path) -> None:
    """The kernel looks at one triple of bits only: the owner's, or the group's, or the others'."""
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o701)
    member = Account("member", uid=54321, gid=folder.stat().st_gid)
    assert not member.enters(folder)


def test_the_account_is_nobody_privileged(tmp_path: Path) -> None:
    account = account_for(tmp_path / "data")
    assert (account is None) == (os.geteuid() != 0)
    assert account is None or account.uid != 0
