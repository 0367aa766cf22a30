"""connection.json of an embedded database's folder: its port, its password, and where its data lies.

A folder may be copied or moved. What lies in it is its own, wherever the file says that it lay before; data that lies
elsewhere, because PostgreSQL's account cannot enter the folder, belongs to one folder, whose name stands beside it.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from devices.errors import ConfigError, Fault

USER: Final = "careloop"
DATABASE: Final = "careloop"
HOST: Final = "127.0.0.1"
SETTING: Final = "state.folder"
"""The setting that errors name: the database is kept below it."""

_FILE: Final = "connection.json"


@dataclass(frozen=True, slots=True)
class Connection:
    """What connection.json holds: all that is needed to connect to the database of a folder."""

    data: str
    port: int
    password: str

    @property
    def url(self) -> str:
        """The connection as libpq and psycopg take it."""
        return f"postgresql://{USER}:{self.password}@{HOST}:{self.port}/{DATABASE}"


def read_connection(folder: Path) -> Connection | None:
    """The connection of a folder, its data where it is by now; None where there is none.

    Raises ConfigError where the file cannot be read, where it cannot be seen whose the data is, and where the data is
    another folder's, of which this is a copy.
    """
    try:
        saved = Connection(**json.loads((folder / _FILE).read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise unusable(f"{folder / _FILE}: {error}", "the file as careloop wrote it") from error
    own, data = folder / "data", Path(saved.data)
    if _is_there(own):
        return replace(saved, data=str(own))
    owner = _owner_of(data)
    if owner is not None and _is_there(owner / _FILE) and not owner.samefile(folder):
        raise unusable(
            f"{folder}, a copy of {owner} without its data, which lies in {data}",
            "a copy made by a backup, with data of its own; or a new folder",
        )
    return saved


def write_connection(folder: Path, connection: Connection) -> None:
    """Write the file, for its user's eyes only; it is there whole or not at all."""
    unfinished = folder / f"{_FILE}.new"
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(connection), file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(folder / _FILE)


def claim(data: Path, folder: Path) -> None:
    """Write beside data that lies elsewhere whose it is."""
    if data.parent != folder:
        _mark_of(data).write_text(str(folder))


def disclaim(data: Path) -> None:
    """The data is gone."""
    _mark_of(data).unlink(missing_ok=True)


def _owner_of(data: Path) -> Path | None:
    """The folder whose data this is, as far as anybody knows."""
    with suppress(OSError):
        return Path(_mark_of(data).read_text())
    return data.parent if _is_there(data.parent / _FILE) else None


def _is_there(path: Path) -> bool:
    """Whether a file is there. Raises ConfigError where the way to it is closed to us."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unusable(f"{path} ({error.strerror})", "folders that careloop's user may enter") from error
    return True


def _mark_of(data: Path) -> Path:
    return data.with_name(f"{data.name}.of")


def unusable(found: str, allowed: str) -> ConfigError:
    """The folder cannot be used: what was found there, and what could be."""
    return ConfigError([Fault(SETTING, found, allowed)])
