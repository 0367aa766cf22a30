"""Plays a rollout through a gateway of its own, and counts what it came to: incidents, cases, messages."""

import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np

from simulators.api_client import ApiClient, GatewayAway, Json, epoch_s
from simulators.crm.agent import AgentHabits
from simulators.crm.misbehave import Misbehaviour
from simulators.crm.serve import SandboxPlan, make_sandbox, new_secret
from simulators.demo.gateway_process import GatewayPlan, GatewayProcess
from simulators.fleet.clocks import WorldClock
from simulators.fleet.drive import Driver, Pace
from simulators.fleet.habits import DAY_S, HOUR_S
from simulators.fleet.ledger import Ledger
from simulators.fleet.link import Target
from simulators.fleet.packets import Packet
from simulators.fleet.publish import wait_until_let_in
from simulators.rollout.fleet import NEW, RolloutFleet

STEP_S: Final = HOUR_S
CAUGHT_UP_WITHIN_S: Final = 120.0
SETTINGS: Final = """
[budget]
enabled = false # what is counted is what the fleet layer spares

[[listen.gateways]]
device = "edge-*"
speaks_for = ["*"]
"""


class Tally(Ledger):
    """Counts packets; millions of readings need not be remembered one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.came = 0  # acknowledged

    def sent(self, packet: Packet) -> None:
        """Nothing is kept of it."""
        del packet

    def came_back(self, packet: Packet) -> None:
        """One more."""
        del packet
        self.came += 1


@dataclass(frozen=True, slots=True)
class Score:
    """What a run came to, against what is true."""

    devices: int
    updated: int
    broken: int
    away: int
    ill: int
    alarms: int
    incidents: Sequence[Json]
    major_cases: int
    children: int  # cases that opened before their incident was known
    other_cases: int  # of devices that are neither broken nor on holiday
    cases_of_members: int  # opened for a device that an incident explains, and no child
    absorbed: int  # alarms that opened no case
    messages: int  # to the CRM
    found_after_h: float | None  # from the first updated device to the incident
    packets: int
    elapsed_s: float

    def as_json(self) -> dict[str, object]:
        """For the report."""
        incidents = [
            {name: each[name] for name in ("kind", "model", "firmware", "region", "state", "devices", "alarms", "says")}
            for each in self.incidents
        ]
        figures: dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        return figures | {"incidents": incidents}


def play(fleet: RolloutFleet, folder: Path, database_url: str, tell: Callable[[float, int], None]) -> Score:
    """Play a fleet from its first day to its last; `tell` hears the day and the packets so far."""
    began, plan = time.monotonic(), fleet.plan
    secret, world = new_secret(np.random.default_rng(plan.seed)), WorldClock(plan.span.start_s)
    sandbox = SandboxPlan(secret, Misbehaviour.none(), AgentHabits(takes_up=0.0), plan.seed)
    with make_sandbox(sandbox, world, lambda: None) as crm:
        gateway = GatewayPlan(
            folder=folder,
            start_s=plan.span.start_s,
            token=secrets.token_urlsafe(24),
            crm_url=crm.url,
            crm_secret=secret,
            far_future_s=DAY_S + 4 * STEP_S,
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
            with ApiClient(address.api_url, address.api_token) as api:
                target = Target(address.listen_host, address.listen_port)
                wait_until_let_in(target, fleet.accounts()[0])
                ledger = Tally()

                def reach(moment_s: float) -> None:
                    world.reach(moment_s)
                    api.hold_clock(moment_s)
                    wait_for_cases(api)
                    if (moment_s - plan.span.start_s) % DAY_S < STEP_S:
                        tell((moment_s - plan.span.start_s) / DAY_S, ledger.came)

                Driver(fleet, target, Pace(step_s=STEP_S, ahead=1, window=200), ledger, reach).run()
                wait_for_cases(api)
                return judge(fleet, api, ledger.came, time.monotonic() - began)


def wait_for_cases(api: ApiClient) -> None:
    """Wait until no alarm waits to be worked. Raises GatewayAway."""
    deadline = time.monotonic() + CAUGHT_UP_WITHIN_S
    while cast("Json", api.counts()["inbox"])["pending"]:
        if time.monotonic() > deadline:
            raise GatewayAway(f"its cases did not catch up within {CAUGHT_UP_WITHIN_S:.0f} s")
        time.sleep(0.02)


def judge(fleet: RolloutFleet, api: ApiClient, packets: int, elapsed_s: float) -> Score:
    """What the gateway says, against what is true."""
    counts, devices = api.counts(), fleet.devices
    incidents = list(api.pages("/v1/incidents", limit=1000))
    cases = list(api.pages("/v1/cases", limit=1000))
    kinds = count_cases(cases, {device.device_id for device in devices if device.is_broken or device.is_away})
    first = next((each for each in reversed(incidents) if each["firmware"] == NEW), None)
    messages = cast("Mapping[str, int]", counts["outbox"])
    return Score(
        devices=len(devices),
        updated=sum(math.isfinite(device.updated_s) for device in devices),
        broken=sum(device.is_broken for device in devices),
        away=sum(device.is_away for device in devices),
        ill=sum(device.is_ill for device in devices),
        alarms=cast("int", cast("Json", counts["alarms"])["total"]),
        incidents=incidents,
        major_cases=kinds["major"],
        children=kinds["child"],
        other_cases=kinds["other"],
        cases_of_members=kinds["member"],
        absorbed=cast("int", cast("Json", counts["incidents"])["absorbed_alarms"]),
        messages=sum(messages.values()),
        found_after_h=None if first is None else (epoch_s(first["known_at"]) - fleet.plan.update_s) / HOUR_S,
        packets=packets,
        elapsed_s=round(elapsed_s, 1),
    )


def count_cases(cases: Sequence[Json], explained: set[str]) -> Counter[str]:
    """Cases: major ones, their children, others of devices that an incident explains, and the rest."""
    kinds: Counter[str] = Counter()
    for case in cases:
        if str(case["asset_id"]).startswith("inc_"):
            kinds["major"] += 1
        elif case["parent_id"] is not None:
            kinds["child"] += 1
        else:
            kinds["member" if case["device_id"] in explained else "other"] += 1
    return kinds
