"""The embedded database of the gateway itself: the gateway starts it, and brings it back when it has died."""

import json
import os
import signal
from pathlib import Path
from typing import Protocol

from gateway.database.embedded import EmbeddedPostgres, read_url
from gateway.database.postmaster import running_server
from tests.ledger.sender import wait_for
from tests.services.patience import PATIENCE_S


class Database(Protocol):
    """A PostgreSQL server that harm may be done to."""

    @property
    def url(self) -> str:
        """Where to connect; it has to run."""
        ...

    @property
    def pid(self) -> int | None:
        """Its first process; None when it does not run."""
        ...

    def start(self) -> str:
        """Start it, and return where to connect."""
        ...

    def stop(self) -> None:
        """Stop it in good order."""
        ...

    def remove(self) -> None:
        """Stop it, and delete what it stored."""
        ...


class OwnDatabase:
    """Seen from outside: nobody but the gateway starts it, and a stop is a signal."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the database's in the gateway's state folder."""
        self._folder = folder

    @property
    def url(self) -> str:
        """Where to connect, as its file says."""
        assert wait_for(lambda: read_url(self._folder) is not None, PATIENCE_S)
        url = read_url(self._folder)
        assert url is not None
        return url

    @property
    def pid(self) -> int | None:
        """By its pid file."""
        connection = self._folder / "connection.json"
        return running_server(Path(json.loads(connection.read_text())["data"])) if connection.exists() else None

    def start(self) -> str:
        """The gateway does; where it will be is known afterwards only."""
        return ""

    def stop(self) -> None:
        """PostgreSQL's fast shutdown, as by an administrator who does not know whose it is."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGINT)
            wait_for(lambda: self.pid != pid, PATIENCE_S)

    def remove(self) -> None:
        """What a killed gateway leaves."""
        EmbeddedPostgres(self._folder).remove()
