"""What a campaign runs against: a gateway, its database, a broker and a CRM, with a wire before each that can break."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from devices.clock import SystemClock
from gateway.database.embedded import EmbeddedPostgres
from gateway.database.provisioned import TIMESCALEDB_SETTINGS, Provisioned
from simulators.crm.agent import AgentHabits
from simulators.crm.misbehave import Misbehaviour
from simulators.crm.sandbox import SandboxServer
from simulators.crm.serve import SandboxPlan, make_sandbox, new_secret
from tests.faults.campaign.broker import DurableMosquitto
from tests.faults.campaign.disk import Disk
from tests.faults.campaign.own_database import Database, OwnDatabase
from tests.ledger.sender import wait_for
from tests.ledger.wire import Roads, Wire
from tests.ledger.witness import Witness
from tests.services.folders import find_free_port
from tests.services.in_the_clear import IN_THE_CLEAR

CARELOOP = Path(sys.executable).with_name("careloop")
START_S = 120.0
STOP_S = 120.0
EMBEDDED = "embedded"
PASSWORD = secrets.token_hex(20)
DATABASE_SETTINGS = {"max_connections": "30", "shared_buffers": "64MB", "max_wal_size": "256MB"}

PROBE = """
model = "probe"
title = "Ledger probe"
[metrics.celsius]
kind = "gauge"
unit = "Cel"
minimum = -50
maximum = 300
[metrics.ticks]
kind = "counter"
[[watches]]
name = "too-hot"
detector = "threshold"
metric = "celsius"
problem = "overheating"
severity = "critical"
for = "5m"
parameters = { above = 90, clear_below = 80 }
[[watches]]
name = "spell"
detector = "threshold"
metric = "celsius"
problem = "overheating"
severity = "major"
for = "5s"
keep_firing_for = "3s"
parameters = { above = 90, clear_below = 80 }
[[watches]]
name = "never-seen"
detector = "record"
metric = "celsius"
problem = "overheating"
severity = "minor"
parameters = { warm_up = "10m" }
[[playbooks]]
problem = "overheating"
title = "The probe runs too hot"
"""


@dataclass(frozen=True, slots=True)
class Make:
    """What to build a world of."""

    folder: Path
    provisioned: Provisioned
    edition: str  # plain, timescale, embedded (the gateway's own)
    seed: int
    small_disk: bool

    @property
    def is_embedded(self) -> bool:
        """Whether the gateway runs the database; then there is no wire between them either."""
        return self.edition == EMBEDDED


class Gateway:
    """`careloop run` on settings of the campaign; ended by signals only."""

    def __init__(self, folder: Path, listen_port: int, api_port: int) -> None:
        self.folder = folder
        self.config = folder / "careloop.toml"
        self.listen_port = listen_port
        self.engine = "fast"
        self.starts = 0
        self.api_port = api_port
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = ""

    def configure(self, settings: str) -> None:
        """Take settings; the subscription's engine is chosen at each start."""
        self._settings = settings

    def write_config(self) -> Path:
        """Write the settings file."""
        self.config.write_text(self._settings.replace("ENGINE", self.engine))
        return self.config

    def start(self) -> None:
        """Start it, without waiting for anything."""
        self.write_config()
        self.starts += 1
        with (self.folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(
                [CARELOOP, "run", "--config", self.config], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def pid(self) -> int | None:
        """Its process id; None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def readiness(self) -> tuple[bool, str]:
        """Whether `/readyz` says that it can work; and if not, why not."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.api_port}/readyz", verify=IN_THE_CLEAR, timeout=3.0)
            said: Mapping[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError):
            return False, ""
        why = [f"{name}: {check['says']}" for name, check in said.get("checks", {}).items() if not check["ok"]]
        return bool(said.get("ready")), "; ".join(why)

    def wait_until_ready(self, timeout_s: float = START_S) -> bool:
        """Whether it became ready in time."""
        return wait_for(lambda: self.readiness()[0], timeout_s)

    def kill(self) -> None:
        """Kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_S)

    def command(self, *arguments: str | Path) -> str:
        """Run another careloop command on its settings; what it printed."""
        done = subprocess.run(
            [CARELOOP, *arguments, "--config", self.write_config()],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            message = f"careloop {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            raise RuntimeError(message)
        return done.stdout

    def log(self, last_bytes: int = 4000) -> str:
        """The end of what it has said."""
        return (self.folder / "gateway.log").read_text(errors="replace")[-last_bytes:]


@dataclass
class World:
    """Everything, running."""

    make: Make
    disk: Disk
    postgres: Database
    broker: DurableMosquitto
    gateway: Gateway
    crm: SandboxServer
    device_wire: Wire
    broker_wire: Wire  # between careloop and the broker
    database_wire: Wire
    witness: Witness
    notes: list[str] = field(default_factory=list)  # what could not be done as described, and what was done instead

    @property
    def database_url(self) -> str:
        """The database itself, not by the wire."""
        return self.postgres.url

    @contextmanager
    def sql(self) -> Generator[psycopg.Connection[tuple[Any, ...]]]:
        """A connection of the ledger's own."""
        with psycopg.connect(self.database_url, autocommit=True, connect_timeout=10) as conn:
            yield conn

    def backends(self) -> list[int]:
        """The server's processes that serve careloop."""
        query = (
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() "
            "AND datname = current_database() ORDER BY pid"
        )
        with self.sql() as conn:
            return [int(pid) for (pid,) in conn.execute(query)]

    def server_processes(self) -> list[int]:
        """The postmaster and all its children."""
        postmaster = self.postgres.pid
        assert postmaster is not None
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, children)]

    def start_database(self) -> None:
        """Start the server, again and again until it comes up, as a service manager would."""
        deadline = time.monotonic() + START_S
        while not self.make.is_embedded and self.postgres.pid is None:
            try:
                self.postgres.start()
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def settings_of(world: World) -> str:
    """The gateway's settings."""
    url = ""
    if not world.make.is_embedded:
        parts = conninfo_to_dict(world.postgres.url)
        url = make_conninfo("", **{**parts, "host": "127.0.0.1", "port": world.database_wire.port})
    folder = world.gateway.folder
    return f"""
[state]
folder = "{folder / "state"}"
[database]
url = "{url}"
pool_size = 4
[listen]
port = {world.gateway.listen_port}
[subscribe]
enabled = true
engine = "ENGINE"
port = {world.broker_wire.port}
keep_alive = 6
reconnect_min = 0.1
reconnect_max = 0.5
[api]
port = {world.gateway.api_port}
[ingest]
checkpoint_every = 1.5
[profiles]
folders = ["{folder / "profiles"}"]
[log]
format = "json"
[crm]
poll_interval = 0.2
[[crm.endpoints]]
name = "sandbox"
url = "{world.crm.url}"
secret = "{world.crm.sandbox.secret}"
allow_http = true
allow_networks = ["127.0.0.0/8"]
ports = [{world.crm.port}]
schedule = [0, 0.2, 0.5, 1, 1, 1, 1, 1, 1, 1]
breaker = {{ probe_after = 1, probe_at_most = 2 }}
"""


@contextmanager
def running_world(make: Make, devices: Sequence[Mapping[str, Any]]) -> Generator[World]:
    """Build everything, start it, import the devices; leave nothing behind."""
    make.folder.chmod(0o711)
    with ExitStack() as stack:
        disk = stack.enter_context(Disk.made(make.folder / "disk", is_small=make.small_disk))
        postgres = _postgres(make, disk)
        stack.callback(postgres.remove)
        postgres.start()
        broker = DurableMosquitto(make.provisioned, _subfolder(make.folder, "broker"))
        broker.start()
        stack.callback(broker.kill)
        rng = np.random.default_rng(make.seed)
        plan = SandboxPlan(new_secret(rng), Misbehaviour(), AgentHabits(takes_up=0.0), make.seed)
        crm = stack.enter_context(make_sandbox(plan, SystemClock(), lambda: None))
        roads = Roads()
        stack.callback(roads.close)
        gateway = Gateway(_subfolder(make.folder, "gateway"), find_free_port(), find_free_port())
        witness = Witness()
        wires = [
            Wire(roads, gateway.listen_port),
            Wire(roads, broker.port, witness.new_tap),
            Wire(roads, 0 if make.is_embedded else int(str(conninfo_to_dict(postgres.url)["port"]))),
        ]
        for wire in wires:
            stack.callback(wire.close)
        world = World(make, disk, postgres, broker, gateway, crm, wires[0], wires[1], wires[2], witness)
        stack.callback(_end, gateway)
        _subfolder(gateway.folder, "profiles").joinpath("probe.toml").write_text(PROBE)
        gateway.configure(settings_of(world))
        if make.is_embedded:
            gateway.start()
            _expect_ready(gateway)
        gateway.command("migrate")
        registry = gateway.folder / "registry.json"
        registry.write_text(json.dumps({"devices": list(devices)}))
        gateway.command("devices", "import", registry)
        if gateway.pid is None:
            gateway.start()
        _expect_ready(gateway)
        yield world


def _expect_ready(gateway: Gateway) -> None:
    if not gateway.wait_until_ready():
        raise RuntimeError(f"the gateway did not become ready:\n{gateway.log()}")


def _postgres(make: Make, disk: Disk) -> Database:
    if make.is_embedded:
        return OwnDatabase(make.folder / "gateway" / "state" / "database")
    folder = disk.folder / "postgres"
    if make.edition == "plain":
        return EmbeddedPostgres(folder, settings=DATABASE_SETTINGS)
    settings = {**DATABASE_SETTINGS, **TIMESCALEDB_SETTINGS}
    return EmbeddedPostgres(folder, programs=make.provisioned.postgres_programs, settings=settings)


def _subfolder(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir(mode=0o755)
    return made


def _end(gateway: Gateway) -> None:
    if gateway.pid is not None:
        gateway.kill()


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to processes, those that are gone already excepted."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
