"""kill -9 of the embedded database under load: what was committed stays, and nothing else appears."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gateway.database.embedded import EmbeddedPostgres
from gateway.database.postmaster import wait_until
from tests.services.patience import PATIENCE_S

KILLS = 5


class Writer(threading.Thread):
    """Commits one number after another, and remembers which commits were confirmed and which may have happened."""

    def __init__(self, url: str) -> None:
        """Not started yet."""
        super().__init__()
        self.url = url
        self.confirmed: set[int] = set()
        self.uncertain: set[int] = set()
        self._next = 0
        self._stopping = threading.Event()

    def run(self) -> None:
        """Write until told to stop, connecting again whenever the database has gone."""
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True, connect_timeout=2) as connection:
                    self._write(connection)
            except psycopg.OperationalError:
                continue

    def stop(self) -> None:
        """Stop after the current commit."""
        self._stopping.set()
        self.join(PATIENCE_S)

    def _write(self, connection: psycopg.Connection) -> None:
        while not self._stopping.is_set():
            number, self._next = self._next, self._next + 1
            self.uncertain.add(number)
            connection.execute("INSERT INTO written VALUES (%s)", [number])
            self.uncertain.remove(number)
            self.confirmed.add(number)


@pytest.fixture
def postgres(service_folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(service_folder / "killed")
    server.start()
    yield server
    server.remove()


def test_confirmed_commits_survive_every_kill(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE written (number integer PRIMARY KEY)")
    writer = Writer(postgres.url)
    writer.start()
    for _ in range(KILLS):
        before = len(writer.confirmed)
        assert wait_until(lambda before=before: len(writer.confirmed) > before + 100, PATIENCE_S)
        assert postgres.pid is not None
        os.kill(postgres.pid, signal.SIGKILL)
        assert wait_until(lambda: postgres.pid is None, PATIENCE_S)
        postgres.start()
    writer.stop()
    with psycopg.connect(postgres.url) as connection:
        stored = {number for (number,) in connection.execute("SELECT number FROM written")}
    assert writer.confirmed <= stored <= writer.confirmed | writer.uncertain
