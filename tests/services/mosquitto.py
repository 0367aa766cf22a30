"""A Mosquitto broker: a fresh one a test, which the test may stop, kill, restart and configure."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

from gateway.database.postmaster import wait_until
from gateway.database.provisioned import Provisioned
from tests.services.folders import find_free_port

START_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Binaries:
    """The broker's own clients."""

    mosquitto_pub: Path
    mosquitto_sub: Path
    mosquitto_passwd: Path


class Mosquitto:
    """A broker on the loopback address. It lets in anybody, drops nothing, and persists on every change."""

    host = "127.0.0.1"

    def __init__(self, programs: Provisioned, folder: Path) -> None:
        """`folder` takes its configuration, its log and what it persists."""
        self.port = find_free_port()
        self.folder = folder
        self.binaries = Binaries(programs.mosquitto_pub, programs.mosquitto_sub, programs.mosquitto_passwd)
        self._program = programs.mosquitto
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The broker's process id; None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log(self) -> str:
        """What the broker has said since it was first started."""
        return (self.folder / "mosquitto.log").read_text()

    def settings(self) -> list[str]:
        """What it keeps and drops."""
        return [
            "max_queued_messages 0",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
        ]

    def start(self, *extra_lines: str) -> None:
        """Start the broker, with more lines of configuration, and wait until it listens."""
        lines = [
            f"listener {self.port} {self.host}",
            "allow_anonymous true",
            f"user {'root' if os.geteuid() == 0 else 'mosquitto'}",
            *self.settings(),
            *extra_lines,
        ]
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text("\n".join(lines) + "\n")
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-v", "-c", configuration], stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )
        if not wait_until(self._has_started_or_died, START_TIMEOUT_S) or self.pid is None:
            pytest.fail(f"mosquitto did not start:\n{self.log}")

    def stop(self) -> None:
        """Stop the broker in an orderly way, so that it persists what it holds."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_TIMEOUT_S)

    def kill(self) -> None:
        """Kill the broker as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_TIMEOUT_S)

    def _has_started_or_died(self) -> bool:
        with suppress(ConnectionRefusedError), socket.create_connection((self.host, self.port), timeout=1):
            return True
        return self.pid is None


@pytest.fixture
def mosquitto(provisioned: Provisioned, service_folder: Path) -> Iterator[Mosquitto]:
    """A running broker; `stop` and `start("more lines")` configure it anew."""
    broker = Mosquitto(provisioned, Path(mkdtemp(prefix="mosquitto-", dir=service_folder)))
    broker.start()
    yield broker
    broker.kill()
