"""The service team of the benchmark: it looks into most cases within three days and says whether the fault was real."""

import heapq
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httpx
import numpy as np

from devices.clock import to_datetime
from simulators.api_client import Json, epoch_s
from simulators.crm.signature import sign
from simulators.fleet.habits import HOUR_S

WITHIN_H: Final = (8.0, 72.0)
ANSWERS: Final = 0.8  # of the cases
UNCLEAR: Final = 0.1  # of the answers


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    at_s: float
    number: int
    case_id: str = field(compare=False)
    outcome: str = field(compare=False)


@dataclass(slots=True)
class Agents:
    """Callbacks, on the simulated clock; `is_true` knows the labels, as somebody who asks the owner does."""

    url: str
    secret: str
    rng: np.random.Generator
    is_true: Callable[[Json], bool]
    said: int = 0
    _known: set[str] = field(default_factory=set[str])
    _due: list[_Due] = field(default_factory=list[_Due])

    def knows(self, case_id: str) -> bool:
        """Whether a case was seen before."""
        return case_id in self._known

    def see(self, case: Json) -> None:
        """A new case: decide when it is looked into, and what is found."""
        case_id = str(case["case_id"])
        self._known.add(case_id)
        hours, answers, unclear = self.rng.uniform(*WITHIN_H), self.rng.random(), self.rng.random()
        if answers < ANSWERS:
            outcome = "unclear" if unclear < UNCLEAR else "true" if self.is_true(case) else "false"
            due_s = epoch_s(case["opened_at"]) + hours * HOUR_S
            heapq.heappush(self._due, _Due(due_s, len(self._known), case_id, outcome))

    def work(self, http: httpx.Client, now_s: float) -> None:
        """Say what is due."""
        while self._due and self._due[0].at_s <= now_s:
            due = heapq.heappop(self._due)
            body = json.dumps(
                {
                    "type": "case.status",
                    "timestamp": to_datetime(now_s).isoformat(),
                    "data": {"case": due.case_id, "status": "resolved", "outcome": due.outcome},
                }
            ).encode()
            headers = {"content-type": "application/json", **sign(self.secret, f"msg_b{due.number}", time.time(), body)}
            http.post(self.url, content=body, headers=headers).raise_for_status()
            self.said += 1
