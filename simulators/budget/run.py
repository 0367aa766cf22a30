"""Plays a fleet through a gateway of its own, step by step, with a service team that answers."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import httpx
import numpy as np

from simulators.api_client import ApiClient, GatewayAway, Json, epoch_s
from simulators.budget.agents import Agents
from simulators.budget.fleet import SYNC_S, Fleet
from simulators.budget.score import Score, Watched, judge
from simulators.crm.agent import AgentHabits
from simulators.crm.misbehave import Misbehaviour
from simulators.crm.serve import SandboxPlan, make_sandbox, new_secret
from simulators.demo.gateway_process import ENDPOINT, GatewayPlan, GatewayProcess
from simulators.fleet.clocks import WorldClock
from simulators.fleet.drive import Driver, Pace
from simulators.fleet.faults import Label
from simulators.fleet.habits import DAY_S, HOUR_S
from simulators.fleet.ledger import Ledger
from simulators.fleet.link import Target
from simulators.fleet.packets import Packet
from simulators.fleet.publish import wait_until_let_in

CAUGHT_UP_WITHIN_S: Final = 120.0
SETTINGS: Final = """
[[listen.gateways]]
device = "edge-*"
speaks_for = ["*"]
"""


class _Tally(Ledger):
    """Counts packets; ten million readings need not be remembered one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.came = 0  # acknowledged

    def sent(self, packet: Packet) -> None:
        del packet

    def came_back(self, packet: Packet) -> None:
        del packet
        self.came += 1


@dataclass(frozen=True, slots=True)
class Told:
    """How far a run is."""

    day: float
    packets: int
    cases: int
    said: int


@dataclass(slots=True)
class _Play:
    """What goes on at the end of each step."""

    api: ApiClient
    http: httpx.Client
    agents: Agents
    world: WorldClock
    ledger: _Tally
    start_s: float
    tell: Callable[[Told], None]
    cases: int = 0

    def reach(self, moment_s: float) -> None:
        """Everything up to here is acknowledged: let the gateway's clock follow, its cases open, and the team work."""
        self.world.reach(moment_s)
        self.api.hold_clock(moment_s)
        self._wait_for_cases(moment_s)
        for case in self.api.pages("/v1/cases", limit=100):
            if self.agents.knows(str(case["case_id"])):
                break
            self.cases += 1
            self.agents.see(case)
        self.agents.work(self.http, moment_s)
        if (moment_s - self.start_s) % DAY_S < SYNC_S:
            day = (moment_s - self.start_s) / DAY_S
            self.tell(Told(day, self.ledger.came, self.cases, self.agents.said))

    def _wait_for_cases(self, moment_s: float) -> None:
        """Wait until the budget was looked at for this hour, and no alarm waits to be worked."""
        deadline = time.monotonic() + CAUGHT_UP_WITHIN_S
        while time.monotonic() < deadline:
            as_of = self.api.get("/v1/budget")["as_of"]
            inbox = cast("Json", self.api.counts()["inbox"])
            if as_of is not None and epoch_s(as_of) > moment_s - HOUR_S and inbox["pending"] == 0:
                return
            time.sleep(0.02)
        raise GatewayAway(f"its cases did not catch up within {CAUGHT_UP_WITHIN_S:.0f} s")


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    score: Score
    packets: int
    elapsed_s: float
    watches: list[Json]


def play(fleet: Fleet, folder: Path, database_url: str, tell: Callable[[Told], None]) -> Result:
    """Play a fleet from its first day to its last."""
    began, plan = time.monotonic(), fleet.plan
    rng = np.random.default_rng(plan.seed)
    secret, world = new_secret(rng), WorldClock(plan.span.start_s)
    sandbox = SandboxPlan(secret, Misbehaviour.none(), AgentHabits(takes_up=0.0), plan.seed)
    with make_sandbox(sandbox, world, lambda: None) as crm:
        gateway = GatewayPlan(
            folder=folder,
            start_s=plan.span.start_s,
            token=secrets.token_urlsafe(24),
            crm_url=crm.url,
            crm_secret=secret,
            far_future_s=DAY_S + 4 * SYNC_S,
            database_url=database_url,
            poll_s=0.1,
            more=SETTINGS,
        )
        with GatewayProcess(gateway) as process:
            registry = folder / "registry.json"
            fleet.write_registry(registry)
            process.wait_until_ready()
            process.import_registry(registry)
            address = process.address
            with ApiClient(address.api_url, address.api_token) as api, httpx.Client(trust_env=False) as http:
                target = Target(address.listen_host, address.listen_port)
                wait_until_let_in(target, fleet.accounts()[0])
                url = f"{address.api_url}/v1/callbacks/{ENDPOINT}"
                agents = Agents(url, secret, rng, lambda case: tells_of_any(case, fleet.labels))
                ledger = _Tally()
                step = _Play(api, http, agents, world, ledger, plan.span.start_s, tell)
                Driver(fleet, target, Pace(step_s=SYNC_S, ahead=1, window=200), ledger, step.reach).run()
                score = _score(api, fleet)
                watches = cast("list[Json]", api.get("/v1/watches"))
                return Result(score, ledger.came, time.monotonic() - began, watches)


def tells_of_any(case: Json, labels: list[Label]) -> bool:
    """What somebody who asks the owner finds: whether a fault is there that one of the alarms can be about."""
    mine = [label for label in labels if label.device_id == case["device_id"]]
    for alarm in cast("list[Json]", case["alarms"]):
        at_s, metric = epoch_s(alarm["decided_ts"]), alarm["metric"]
        for label in mine:
            touched = label.trace.quiet if metric is None else str(metric) in label.trace.metrics
            until_s = float("inf") if label.ends_at_s is None else label.ends_at_s + DAY_S
            if touched and label.starts_at_s - HOUR_S <= at_s <= until_s:
                return True
    return False


def _score(api: ApiClient, fleet: Fleet) -> Score:
    plan = fleet.plan
    watched = Watched(plan.span.start_s + plan.healthy_days * DAY_S, plan.span.end_s, plan.devices)
    held_back = cast("dict[str, int]", api.get("/v1/budget", exact=True)["held_back"])
    alarms = list(api.pages("/v1/alarms", limit=1000))
    return judge(fleet.labels, alarms, list(api.pages("/v1/cases", limit=1000)), watched, held_back)
