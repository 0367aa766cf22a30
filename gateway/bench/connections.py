"""The benchmark of connections: what an idle device costs, how fast devices come in, and a storm of all of them.

Two gateways are asked, one after the other. The first lets in as fast as it can: from it come the memory, the rate and
the storm, in which every connection is cut and comes back at once. The second paces logins as its default setting
says, and knows many more devices that never come: from it come the memory of a registered device, and how long all
take to come in after a restart.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

from devices.errors import Retryable
from gateway.bench.crowd import Arrival, CrowdPlan
from gateway.bench.services import Gateway, database_server, end, gateway, work_folder
from gateway.bench.stage import registered
from gateway.database.provisioned import Provisioned
from gateway.doors.settings import ListenSettings

_WARM_UP: Final = 100
_UNPACED_PER_S: Final = 1e6


@dataclass(frozen=True, slots=True)
class ConnectionsPlan:
    """How many devices connect, how many more are registered, and the certificate and key for TLS."""

    devices: int = 10_000
    registered: int = 100_000
    tls: tuple[Path, Path] | None = None


@dataclass(frozen=True, slots=True)
class ConnectionsFigures:
    """What `careloop bench connections` found. Bytes are those of the gateway's process, not the kernel's."""

    devices: int
    is_tls: bool
    bytes_per_connection: int
    bytes_per_registered_device: int
    connects_per_s: float
    storm: Arrival  # every connection cut, as fast as the gateway lets in
    restart: Arrival  # every device at once, at the pace of the default settings
    paced_per_s: float  # that pace


def run_connections(
    plan: ConnectionsPlan, programs: Provisioned | None, say: Callable[[str], None]
) -> ConnectionsFigures:
    """Measure. Raises Retryable when something does not start, or a device is missing."""
    crowd = CrowdPlan(0, plan.devices, plan.tls is not None)
    with ExitStack() as stack:
        folder = stack.enter_context(work_folder())
        server = stack.enter_context(database_server(folder, programs))
        few = registered(server, "few", crowd.device_ids)
        many = registered(server, "many", crowd.device_ids, idle=plan.registered)
        with gateway(folder, "open", _settings(plan, few, {"connections_per_s": _UNPACED_PER_S})) as running:
            empty_bytes = _private_bytes(running)
            say(f"{plan.devices:,} devices connect")
            with _crowd(folder, plan, running.listen_port) as tell:
                first, full_bytes = tell("connect"), _private_bytes(running)
                say("every connection is cut, and comes back")
                storm = tell("storm")
        with gateway(folder, "paced", _settings(plan, many, {})) as running:
            known_bytes = _private_bytes(running)
            say("every device comes in, at the pace of the default settings")
            with _crowd(folder, plan, running.listen_port) as tell:
                restart = tell("connect")
    return ConnectionsFigures(
        devices=plan.devices,
        is_tls=plan.tls is not None,
        bytes_per_connection=(full_bytes - empty_bytes) // plan.devices,
        bytes_per_registered_device=max(known_bytes - empty_bytes, 0) // max(plan.registered, 1),
        connects_per_s=round(plan.devices / first.took_s, 1),
        storm=storm,
        restart=restart,
        paced_per_s=ListenSettings().connections_per_s,
    )


def _settings(plan: ConnectionsPlan, url: str, more: Mapping[str, object]) -> Mapping[str, Mapping[str, object]]:
    listen = {"port": 0, "max_connections": plan.devices + _WARM_UP, **more}
    tls: dict[str, Mapping[str, object]] = {}
    if plan.tls is not None:
        certificate, key = plan.tls
        tls = {"listen.tls": {"certificate": str(certificate.absolute()), "key": str(key.absolute())}}
    return {"database": {"url": url}, "listen": listen, "api": {"port": 0}, **tls}


@contextmanager
def _crowd(folder: Path, plan: ConnectionsPlan, port: int) -> Generator[Callable[[str], Arrival]]:
    """The crowd's process; tell it a word and hear how the devices came in."""
    devices = CrowdPlan(port, plan.devices, plan.tls is not None)
    log = folder / "crowd.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.bench.crowd", json.dumps(asdict(devices))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )

    def tell(word: str) -> Arrival:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{word}\n".encode())
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise Retryable("no_crowd", log.read_text(errors="replace"))
        arrival = Arrival(**json.loads(answer))
        if arrival.connected != plan.devices:
            raise Retryable("not_let_in", f"{arrival.connected} of {plan.devices} devices came in")
        return arrival

    with process:
        try:
            yield tell
        finally:
            end(process)


def _private_bytes(running: Gateway) -> int:
    """Memory that the gateway's process has to itself."""
    return int(psutil.Process(running.process.pid).memory_full_info().uss)
