"""The gateway as its users run it: `careloop run`, a process that a test may stop, kill and start again."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, LiteralString

import httpx
import psycopg
import pytest
from psycopg import sql

from gateway.database.embedded import EmbeddedPostgres, read_url
from gateway.database.postmaster import wait_until
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S
from tests.services.postgres import SHARED_SERVER, migrate_apart

START_TIMEOUT_S = PATIENCE_S
STOP_TIMEOUT_S = PATIENCE_S
CARELOOP = Path(sys.executable).with_name("careloop")


class GatewayProcess:
    """One gateway on a state folder of its own; started again, it goes on where it was."""

    def __init__(self, folder: Path, prepared: Path | None = None, url: str = "") -> None:
        """`prepared` is the folder of a database to begin with; without one it makes its own, which takes a while.

        `url` is a database of somebody else's, in place of an embedded one.
        """
        self.folder = folder
        self._url = url
        self.config = folder / "careloop.toml"
        self.state = folder / "state"
        self._process: subprocess.Popen[bytes] | None = None
        if prepared is not None:
            _copy_database(prepared, self.state / "database")

    def configure(self, more: str = "") -> None:
        """Write the settings file: free ports, its database, and whatever the test adds."""
        database = f'[database]\nurl = "{self._url}"\n' if self._url else ""
        doors = "[listen]\nport = 0\n[api]\nport = 0\n"
        self.config.write_text(f'[state]\nfolder = "{self.state}"\n{database}{doors}[log]\nformat = "json"\n{more}')

    def start(self) -> None:
        """Start it, and wait until it takes readings."""
        (self.state / "gateway.json").unlink(missing_ok=True)
        with (self.folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(
                [CARELOOP, "run", "--config", self.config], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        if not wait_until(self._is_ready_or_dead, START_TIMEOUT_S) or self._process.poll() is not None:
            pytest.fail(f"the gateway did not become ready:\n{self.log[-4000:]}")

    @property
    def log(self) -> str:
        """What it has said since its first start."""
        return (self.folder / "gateway.log").read_text()

    @property
    def address(self) -> Mapping[str, Any]:
        """Where it is, as it says itself."""
        found: Mapping[str, Any] = json.loads((self.state / "gateway.json").read_text())
        return found

    @property
    def port(self) -> int:
        """The listen door's port."""
        return int(self.address["listen_port"])

    @property
    def database_url(self) -> str:
        """Its database, for a second opinion by SQL."""
        url = self._url or read_url(self.state / "database")
        assert url is not None
        return url

    def ask(self, path: str, **params: str | int) -> Any:
        """What its API answers."""
        headers = {"Authorization": f"Bearer {self.address['api_token']}"}
        answer = httpx.get(
            f"{self.address['api_url']}{path}", params=params, headers=headers, verify=IN_THE_CLEAR, timeout=PATIENCE_S
        )
        answer.raise_for_status()
        return answer.json()

    def query(self, query: sql.Composed | LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """Rows straight from its database."""
        with psycopg.connect(self.database_url) as conn:
            return conn.execute(query, values).fetchall()

    def command(self, *arguments: str | Path, code: int = 0) -> str:
        """Run another careloop command against it; what it printed."""
        done = run_careloop(*arguments, "--config", self.config)
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def stop(self) -> int:
        """End it in good order; its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End it as a crash would; its database is left behind running."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def kill_database(self) -> None:
        """End its database as a crash would."""
        data = Path(json.loads((self.state / "database" / "connection.json").read_text())["data"])
        os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def remove(self) -> None:
        """Leave nothing behind."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        EmbeddedPostgres(self.state / "database").remove()

    def _is_ready_or_dead(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None or ((self.state / "gateway.json").exists() and self._has_open_doors())

    def _has_open_doors(self) -> bool:
        """Whether each door takes readings: a broker keeps nothing for a gateway that has not subscribed yet."""
        try:
            answer = httpx.get(f"{self.address['api_url']}/readyz", verify=IN_THE_CLEAR, timeout=PATIENCE_S)
        except httpx.TransportError:  # it died meanwhile: its log says why
            return False
        checks = answer.json()["checks"]
        return all(checks[door]["ok"] for door in ("listen", "subscribe") if door in checks)


def run_careloop(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run one careloop command to its end."""
    return subprocess.run([CARELOOP, *arguments], capture_output=True, text=True, timeout=300, check=False)


def _copy_database(prepared: Path, folder: Path) -> None:
    """Put a copy of a stopped embedded database where a gateway will look for its own."""
    folder.mkdir(mode=0o700, parents=True)
    data = EmbeddedPostgres(folder).data
    data.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    subprocess.run(["/bin/cp", "-a", EmbeddedPostgres(prepared).data, data], check=True, timeout=PATIENCE_S)
    connection = json.loads((prepared / "connection.json").read_text())
    (folder / "connection.json").touch(mode=0o600)
    (folder / "connection.json").write_text(json.dumps(connection | {"data": str(data), "port": 0}))


@pytest.fixture(scope="session")
def prepared_database(service_folder: Path) -> Path:
    """The folder of an embedded database that is made and migrated, and does not run."""
    folder = service_folder / "prepared"
    with EmbeddedPostgres(folder, settings=SHARED_SERVER) as server:
        migrate_apart(server.url)
    return folder


@pytest.fixture
def new_gateway(service_folder: Path, prepared_database: Path) -> Iterator[Callable[[], GatewayProcess]]:
    """Makes gateways, each with a folder of its own, that are gone after the test."""
    made: list[GatewayProcess] = []

    def make() -> GatewayProcess:
        folder = Path(mkdtemp(prefix="gateway-", dir=service_folder))
        made.append(GatewayProcess(folder, prepared_database))
        made[-1].configure()
        return made[-1]

    yield make
    for gateway in made:
        gateway.remove()


@pytest.fixture(scope="module")
def shared_gateway(service_folder: Path, prepared_database: Path) -> Iterator[GatewayProcess]:
    """A gateway that runs, for those tests of one file that add devices of their own to it, or leave it as it was."""
    made = GatewayProcess(Path(mkdtemp(prefix="shared-", dir=service_folder)), prepared_database)
    made.configure()
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def gateway(new_gateway: Callable[[], GatewayProcess]) -> GatewayProcess:
    """A gateway that runs."""
    made = new_gateway()
    made.start()
    return made
