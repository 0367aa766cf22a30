"""What a run of the budget's fleet came to, however it was played."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from simulators.api_client import Json, epoch_s
from simulators.budget.fleet import Fleet
from simulators.budget.score import Score, Watched, judge
from simulators.fleet.faults import Label
from simulators.fleet.habits import DAY_S, HOUR_S


@dataclass(frozen=True, slots=True)
class Told:
    """How far a run is."""

    day: float
    packets: int
    cases: int
    said: int


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    score: Score
    packets: int
    elapsed_s: float


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


def judged(fleet: Fleet, alarms: Sequence[Json], cases: Sequence[Json], held_back: Mapping[str, int]) -> Score:
    """The score of a fleet's run."""
    plan = fleet.plan
    watched = Watched(plan.span.start_s + plan.healthy_days * DAY_S, plan.span.end_s, plan.devices)
    return judge(fleet.labels, alarms, cases, watched, held_back)
