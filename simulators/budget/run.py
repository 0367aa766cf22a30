"""Plays a fleet through a gateway of its own, step by step, with a service team that answers."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
import numpy as np

from simulators.api_client import ApiClient, Json, epoch_s
from simulators.budget.agents import Agents
from simulators.budget.fleet import SYNC_S, Fleet
from simulators.budget.score import Score, Watched, judge
from simulators.fleet.faults import Label
from simulators.fleet.habits import DAY_S, HOUR_S
from simulators.stage import Stage, open_stage


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

    stage: Stage
    http: httpx.Client
    agents: Agents
    start_s: float
    tell: Callable[[Told], None]
    cases: int = 0

    def reach(self, moment_s: float) -> None:
        """Let the gateway's cases open up to here, and the team work."""
        self.stage.wait_for_cases(lambda: self._is_budgeted(moment_s))
        for case in self.stage.api.pages("/v1/cases", limit=100):
            if self.agents.knows(str(case["case_id"])):
                break
            self.cases += 1
            self.agents.see(case)
        self.agents.work(self.http, moment_s)
        if (moment_s - self.start_s) % DAY_S < SYNC_S:
            day = (moment_s - self.start_s) / DAY_S
            self.tell(Told(day, self.stage.ledger.came, self.cases, self.agents.said))

    def _is_budgeted(self, moment_s: float) -> bool:
        """Whether the budget was looked at for this hour."""
        as_of = self.stage.api.get("/v1/budget")["as_of"]
        return as_of is not None and epoch_s(as_of) > moment_s - HOUR_S


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    score: Score
    packets: int
    elapsed_s: float
    watches: list[Json]


def play(fleet: Fleet, folder: Path, tell: Callable[[Told], None]) -> Result:
    """Play a fleet from its first day to its last."""
    began, rng = time.monotonic(), np.random.default_rng(fleet.plan.seed)
    with open_stage(fleet, folder, rng, step_s=SYNC_S) as stage, httpx.Client(trust_env=False) as http:
        agents = Agents(stage.callback_url, stage.crm_secret, rng, lambda case: tells_of_any(case, fleet.labels))
        steps = _Play(stage, http, agents, fleet.plan.span.start_s, tell)
        stage.play(fleet, SYNC_S, steps.reach)
        watches = cast("list[Json]", stage.api.get("/v1/watches"))
        return Result(_score(stage.api, fleet), stage.ledger.came, time.monotonic() - began, watches)


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
