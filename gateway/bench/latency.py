"""The latency benchmark: from a reading's sending to the CRM's HTTP request, while the gateway is under load.

The top rate comes first, from the same gateway: a round as fast as it is acknowledged. Then a process of its own sends
at half of that, in the same way unless the plan says otherwise: a device sends half of its window at once. Devices of
their own, one after the other, send a battery temperature that cannot wait. The clock runs from just before the packet
is written to the socket until the CRM has the request's head: the road to the gateway and from it is counted too.
"""

import json
import secrets
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np

from devices.errors import Retryable
from gateway.bench.crm import Crm, crm
from gateway.bench.load import Senders, window_of
from gateway.bench.packets import connect, publish, streams
from gateway.bench.rows import METRICS, Fleet, device_id
from gateway.bench.services import database_server, gateway, work_folder
from gateway.bench.stage import registered
from gateway.database.postmaster import wait_until
from gateway.database.provisioned import Provisioned

_SENDERS_SEED: Final = 1
_SICK_SEED: Final = 2
_HOT_CELSIUS: Final = 71.0
_DAYS_BACK: Final = 60
_SETTLE_S: Final = 1.0
_TELL_TIMEOUT_S: Final = 60.0
_CONNACK_BYTES: Final = 4
_WELCOME: Final = bytes((0x20, 2, 0, 0))
_GUESS_PER_S: Final = 40_000.0
_LATER: Final = 10_000  # the load's first reading of each device, behind all that the top rate took


@dataclass(frozen=True, slots=True)
class LatencyPlan:
    """What is measured, and for how long."""

    seconds: float = 20.0
    connections: int = 1000
    cases_per_s: float = 5.0
    in_flight: int = 20_000
    top_seconds: float = 3.0  # how long the search for the top rate lasts, twice
    together: int | None = None  # packets that a device of the load sends at once; None as for the top rate

    @property
    def cases(self) -> int:
        """Faults that are told while the load runs."""
        return max(int(self.seconds * self.cases_per_s), 1)


@dataclass(frozen=True, slots=True)
class LatencyFigures:
    """What `careloop bench latency` found."""

    p50_s: float
    p99_s: float
    at_readings_per_s: float
    top_readings_per_s: float


def run_latency(plan: LatencyPlan, programs: Provisioned | None, say: Callable[[str], None]) -> LatencyFigures:
    """Measure. Raises Retryable when something does not start, or a case is not told."""
    with ExitStack() as stack:
        folder = stack.enter_context(work_folder())
        server = stack.enter_context(database_server(folder, programs))
        receiver = stack.enter_context(crm())
        fleet = Fleet(plan.connections, int(time.time()) - _DAYS_BACK * 86_400, _SENDERS_SEED)
        sick = [device_id(number, _SICK_SEED).replace("EB", "EC") for number in range(plan.cases)]
        url = registered(server, "latency", [*fleet.device_ids, *sick], with_assets=True)
        running = stack.enter_context(gateway(folder, "latency", _settings(url, receiver)))
        say("finding the top rate")
        top_per_s = _top_rate(fleet, plan, running.listen_port)
        say(f"half of {top_per_s:,.0f} readings a second, and {plan.cases} faults")
        scene = _Scene(folder, fleet, sick, running.listen_port, receiver)
        latencies_s, per_s = _measure(plan, scene, top_per_s / 2)
    p50_s, p99_s = np.quantile(latencies_s, [0.5, 0.99]).tolist()
    return LatencyFigures(round(p50_s, 4), round(p99_s, 4), round(per_s, 1), round(top_per_s, 1))


@dataclass(frozen=True, slots=True)
class _Scene:
    """Who is there while latency is measured."""

    folder: Path
    fleet: Fleet
    sick: Sequence[str]  # device ids
    port: int
    receiver: Crm


def _settings(url: str, receiver: Crm) -> Mapping[str, Mapping[str, object]]:
    endpoint = {
        "name": "crm",
        "url": f"http://127.0.0.1:{receiver.port}/",
        "secret": f"whsec_{b64encode(secrets.token_bytes(24)).decode()}",
        "allow_http": True,
        "allow_networks": ["127.0.0.0/8"],
        "ports": [receiver.port],
    }
    return {
        "database": {"url": url},
        "listen": {"port": 0, "connections_per_s": 1e6},
        "api": {"port": 0},
        "crm.endpoints": endpoint,
    }


def _top_rate(fleet: Fleet, plan: LatencyPlan, port: int) -> float:
    """Readings a second with nothing to wait for but acknowledgements; the second try, when all is warm."""
    per_s, first = _GUESS_PER_S, 0
    window = window_of(plan.in_flight, plan.connections)
    for _ in range(2):
        per_device = max(int(plan.top_seconds * per_s / fleet.senders), 1)
        block = fleet.block(first, per_device)
        with Senders("127.0.0.1", port, streams(fleet, block)) as senders:
            per_s = len(block) / senders.run(window)
        first += per_device
    return per_s


@dataclass(frozen=True, slots=True)
class _Background:
    """The load, as its process is told it."""

    fleet: Fleet
    port: int
    per_device: int
    window: int
    per_s: float
    together: int | None

    def run(self, ready: Path) -> float:
        """Encode, connect, say so, then send; readings a second that were reached."""
        block = self.fleet.block(_LATER, self.per_device)
        with Senders("127.0.0.1", self.port, streams(self.fleet, block)) as senders:
            ready.touch()
            return len(block) / senders.run(self.window, self.per_s, wakes_after=self.together)


def _measure(plan: LatencyPlan, scene: _Scene, per_s: float) -> tuple[list[float], float]:
    """Seconds from sending to the CRM's request, fault by fault, and the rate that the load reached meanwhile."""
    per_device = max(int((plan.seconds + 2 * _SETTLE_S) * per_s / scene.fleet.senders), 1)
    window = window_of(plan.in_flight, plan.connections)
    load = _Background(scene.fleet, scene.port, per_device, window, per_s, plan.together)
    ready = scene.folder / "load-is-ready"
    with ProcessPoolExecutor(1, get_context("spawn")) as process, ExitStack() as stack:
        reached = process.submit(load.run, ready)
        sockets = [_connected(scene.port, name, stack) for name in scene.sick]
        if not wait_until(lambda: ready.exists() or reached.done(), _TELL_TIMEOUT_S):
            raise Retryable("not_starting", "the load did not start")
        time.sleep(_SETTLE_S)  # the load is to be under way; this is no test
        sent_s = [_send_hot(each, 1 / plan.cases_per_s) for each in sockets]
        if not scene.receiver.wait_for(len(sent_s), _TELL_TIMEOUT_S):
            told = len(scene.receiver.heard_s)
            raise Retryable("not_told", f"the CRM heard of {told} of {len(sent_s)} faults")
        rate = reached.result()
    heard_s = scene.receiver.heard_s
    return [heard_s[name] - at_s for name, at_s in zip(scene.sick, sent_s, strict=True)], rate


def _connected(port: int, name: str, stack: ExitStack) -> tuple[socket.socket, str]:
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), _TELL_TIMEOUT_S))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(connect(name))
    if connection.recv(_CONNACK_BYTES, socket.MSG_WAITALL) != _WELCOME:
        raise Retryable("not_let_in", f"{name} was refused")
    return connection, name


def _send_hot(connected: tuple[socket.socket, str], wait_s: float) -> float:
    """Wait, then tell of a battery that gets dangerously hot; when that was."""
    connection, name = connected
    time.sleep(wait_s)
    metrics = dict.fromkeys(METRICS, 20.0) | {
        "distance": 0.0,
        "full_capacity": 495.0,
        "battery_temperature": _HOT_CELSIUS,
    }
    payload = json.dumps({"ts": int(time.time() * 1000), "metrics": metrics}).encode()
    packet = publish(f"devices/{name}/telemetry", 1, payload)
    at_s = time.time()
    connection.sendall(packet)
    return at_s
