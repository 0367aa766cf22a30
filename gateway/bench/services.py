"""What a benchmark runs: a database server, brokers, and gateways as their users start them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devices.errors import Retryable
from gateway.bench.processor_time import main_thread_s
from gateway.database.embedded import EmbeddedPostgres
from gateway.database.postmaster import wait_until
from gateway.database.provisioned import TIMESCALEDB_SETTINGS, Provisioned

READY_TIMEOUT_S: Final = 180.0
_STOP_TIMEOUT_S: Final = 60.0
_LAST_WORDS: Final = 2000
_LOOK_S: Final = 0.1
_AT_REST_S: Final = 0.001  # of processor time between two looks


@contextmanager
def work_folder() -> Generator[Path]:
    """A folder for one run that is gone afterwards; a database under another account may pass through it."""
    folder = Path(tempfile.mkdtemp(prefix="careloop-bench-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def database_server(folder: Path, programs: Provisioned | None, *, keep: bool = False) -> Generator[EmbeddedPostgres]:
    """A server with the settings of the embedded one: TimescaleDB where it is provisioned, else PostgreSQL."""
    server = EmbeddedPostgres(folder / "database")
    if programs is not None:
        server = EmbeddedPostgres(server.folder, programs=programs.postgres_programs, settings=TIMESCALEDB_SETTINGS)
    try:
        server.start()
        yield server
    finally:
        if keep:
            server.stop()
        else:
            server.remove()


@contextmanager
def running(command: Sequence[str | Path], log: Path) -> Generator["subprocess.Popen[bytes]"]:
    """A process of ours, ended in good order where that works; it writes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle
            env={name: value for name, value in os.environ.items() if not name.startswith("CARELOOP_")},
        )
    try:
        yield process
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, and everything in its session if it does not listen."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass(frozen=True, slots=True)
class Broker:
    """A Mosquitto that runs."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def wait_for_subscription(self, count: int) -> None:
        """Wait until clients have subscribed this many times since the broker's start. Raises Retryable."""
        if not wait_until(lambda: self.log.read_text().count(" 1 devices/+/telemetry") >= count, READY_TIMEOUT_S):
            raise Retryable("not_subscribed", self.log.read_text()[-_LAST_WORDS:])

    @property
    def subscriptions(self) -> int:
        """How many times clients have subscribed to telemetry."""
        return self.log.read_text().count(" 1 devices/+/telemetry")

    def rest(self) -> None:
        """Wait until it works no more, or for as long as anybody is waited for.

        It reads one acknowledgement a pass, so that behind a client that acknowledges faster it has many left when the
        last message has long come. They would fall into the turn of whoever is next.
        """
        deadline_s, before_s = time.monotonic() + READY_TIMEOUT_S, -1.0
        while (used_s := main_thread_s(self.process.pid)) - before_s > _AT_REST_S and time.monotonic() < deadline_s:
            before_s = used_s
            time.sleep(_LOOK_S)


_BROKER: Final = """listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
persistence false
log_dest stdout
log_type error
log_type subscribe
"""


@contextmanager
def broker(folder: Path, name: str, programs: Provisioned) -> Generator[Broker]:
    """A Mosquitto that queues without bounds and writes nothing to disk: as fast as it can be."""
    port = free_port()
    config, log = folder / f"{name}.conf", folder / f"{name}.log"
    config.write_text(_BROKER.format(port=port))
    with running([programs.mosquitto, "-c", config], log) as process:
        wait_for(lambda: _listens(port), process, log)
        yield Broker(process, port, log)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A `careloop run` that takes readings."""

    process: "subprocess.Popen[bytes]"
    listen_port: int
    log: Path
    api_url: str = ""


@contextmanager
def gateway(folder: Path, name: str, sections: Mapping[str, Mapping[str, object]]) -> Generator[Gateway]:
    """A gateway with these settings, in a state folder of its own."""
    state, config, log = folder / name, folder / f"{name}.toml", folder / f"{name}.log"
    config.touch(mode=0o600)
    config.write_text("".join(_toml({"state": {"folder": str(state)}, "log": {"format": "json"}, **sections})))
    careloop = [sys.executable, "-c", "from gateway.cli.main import main; main()", "run", "--config", config]
    with running(careloop, log) as process:
        found = state / "gateway.json"
        wait_for(found.exists, process, log)
        address = json.loads(found.read_text())
        yield Gateway(process, address["listen_port"] or 0, log, address["api_url"] or "")


def _toml(sections: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    for name, entries in sections.items():
        yield f"[[{name}]]\n" if name == "crm.endpoints" else f"[{name}]\n"
        for key, value in entries.items():
            yield f"{key} = {json.dumps(value)}\n"  # what stands in these sections is the same in JSON and TOML


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a process has come up. Raises Retryable with its last words when it does not."""
    wait_until(lambda: condition() or process.poll() is not None, READY_TIMEOUT_S)
    if process.poll() is not None or not condition():
        raise Retryable("not_starting", log.read_text(errors="replace")[-_LAST_WORDS:])


def free_port() -> int:
    """A TCP port on the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
