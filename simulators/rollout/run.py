"""Plays a rollout through a gateway of its own, and counts what it came to: incidents, cases, messages."""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np

from simulators.api_client import ApiClient, Json, epoch_s
from simulators.fleet.habits import DAY_S, HOUR_S
from simulators.rollout.fleet import NEW, RolloutFleet
from simulators.stage import open_stage

STEP_S: Final = HOUR_S
SETTINGS: Final = """
[budget]
enabled = false # what is counted is what the fleet layer spares
"""


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


def play(fleet: RolloutFleet, folder: Path, tell: Callable[[float, int], None]) -> Score:
    """Play a fleet from its first day to its last; `tell` hears the day and the packets so far."""
    began, start_s = time.monotonic(), fleet.plan.span.start_s
    rng = np.random.default_rng(fleet.plan.seed)
    with open_stage(fleet, folder, rng, step_s=STEP_S, more=SETTINGS) as stage:

        def reach(moment_s: float) -> None:
            stage.wait_for_cases()
            if (moment_s - start_s) % DAY_S < STEP_S:
                tell((moment_s - start_s) / DAY_S, stage.ledger.came)

        stage.play(fleet, STEP_S, reach)
        return judge(fleet, stage.api, stage.ledger.came, time.monotonic() - began)


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
