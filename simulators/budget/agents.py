"""The service team of the benchmark: it looks into most cases within three days and says whether the fault was real."""

import heapq
import json
import time
from collections.abc import Callable, Iterator
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
class Word:
    """What somebody found, and when they say so."""

    at_s: float
    number: int
    case_id: str = field(compare=False)
    outcome: str = field(compare=False)


@dataclass(slots=True)
class Agents:
    """On the simulated clock; `is_true` knows the labels, as somebody who asks the owner does."""

    rng: np.random.Generator
    is_true: Callable[[Json], bool]
    said: int = 0
    _known: set[str] = field(default_factory=set[str])
    _words: list[Word] = field(default_factory=list[Word])

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
            heapq.heappush(self._words, Word(due_s, len(self._known), case_id, outcome))

    def due(self, now_s: float) -> Iterator[Word]:
        """What is said by now."""
        while self._words and self._words[0].at_s <= now_s:
            self.said += 1
            yield heapq.heappop(self._words)


@dataclass(frozen=True, slots=True)
class CallBack:
    """How the team's CRM tells a gateway."""

    url: str
    secret: str
    http: httpx.Client

    def say(self, word: Word, now_s: float) -> None:
        """One callback."""
        body = json.dumps(
            {
                "type": "case.status",
                "timestamp": to_datetime(now_s).isoformat(),
                "data": {"case": word.case_id, "status": "resolved", "outcome": word.outcome},
            }
        ).encode()
        headers = {
            "content-type": "application/json",
            **sign(self.secret, f"msg_b{word.number}", time.time(), body),
        }
        self.http.post(self.url, content=body, headers=headers).raise_for_status()
