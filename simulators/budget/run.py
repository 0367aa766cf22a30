"""Plays a fleet through a gateway of its own, step by step, with a service team that answers."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
import numpy as np

from simulators.api_client import ApiClient, epoch_s
from simulators.budget.agents import Agents, CallBack
from simulators.budget.fleet import SYNC_S, Fleet
from simulators.budget.result import Result, Told, judged, tells_of_any
from simulators.budget.score import Score
from simulators.fleet.habits import DAY_S, HOUR_S
from simulators.stage import Stage, open_stage


@dataclass(slots=True)
class _Play:
    """What goes on at the end of each step."""

    stage: Stage
    call_back: CallBack
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
        for word in self.agents.due(moment_s):
            self.call_back.say(word, moment_s)
        if (moment_s - self.start_s) % DAY_S < SYNC_S:
            day = (moment_s - self.start_s) / DAY_S
            self.tell(Told(day, self.stage.ledger.came, self.cases, self.agents.said))

    def _is_budgeted(self, moment_s: float) -> bool:
        """Whether the budget was looked at for this hour."""
        as_of = self.stage.api.get("/v1/budget")["as_of"]
        return as_of is not None and epoch_s(as_of) > moment_s - HOUR_S


def play(fleet: Fleet, folder: Path, tell: Callable[[Told], None]) -> Result:
    """Play a fleet from its first day to its last."""
    began, rng = time.monotonic(), np.random.default_rng(fleet.plan.seed)
    with open_stage(fleet, folder, rng, step_s=SYNC_S) as stage, httpx.Client(trust_env=False) as http:
        agents = Agents(rng, lambda case: tells_of_any(case, fleet.labels))
        steps = _Play(
            stage, CallBack(stage.callback_url, stage.crm_secret, http), agents, fleet.plan.span.start_s, tell
        )
        stage.play(fleet, SYNC_S, steps.reach)
        return Result(_score(stage.api, fleet), stage.ledger.came, time.monotonic() - began)


def _score(api: ApiClient, fleet: Fleet) -> Score:
    held_back = cast("dict[str, int]", api.get("/v1/budget", exact=True)["held_back"])
    alarms = list(api.pages("/v1/alarms", limit=1000))
    return judged(fleet, alarms, list(api.pages("/v1/cases", limit=1000)), held_back)
