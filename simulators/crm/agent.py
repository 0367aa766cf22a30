"""The sandbox CRM's agent: takes cases up, resolves some after a while, calls the gateway back, not always tidily."""

import asyncio
import heapq
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httpx
import numpy as np

from devices.clock import Clock, to_datetime
from simulators.crm.records import Record
from simulators.crm.signature import sign

_TURN_S: Final = 0.05
_TRIES: Final = 6
_CLOSED: Final = frozenset({"resolved", "retracted", "expired"})


@dataclass(frozen=True, slots=True)
class AgentHabits:
    """How the agent works; hours are on the agent's clock."""

    takes_up: float = 0.7  # share of the cases that are taken up at all
    resolves: float = 0.4  # of those
    takes_up_within_h: tuple[float, float] = (0.5, 8.0)
    resolves_within_h: tuple[float, float] = (12.0, 60.0)
    sends_twice: float = 0.15
    sends_out_of_order: float = 0.15


@dataclass(frozen=True, slots=True, order=True)
class _Callback:
    due_s: float
    number: int
    case_id: str = field(compare=False)
    external_id: str = field(compare=False)
    status: str = field(compare=False)
    version: int = field(compare=False)


@dataclass(slots=True)
class AgentCounts:
    """What the agent did."""

    sent: int = 0
    refused: int = 0
    resolved: int = 0


class Agent:
    """Works on records in the sandbox's own event loop."""

    def __init__(
        self,
        callback_url: Callable[[], str | None],
        secret: str,
        clock: Clock,
        rng: np.random.Generator,
        habits: AgentHabits | None = None,
    ) -> None:
        self.counts = AgentCounts()
        self._url = callback_url
        self._secret = secret
        self._clock = clock
        self._rng = rng
        self._habits = habits or AgentHabits()
        self._due: list[_Callback] = []
        self._number = 0

    def consider(self, record: Record) -> None:
        """Decide what will be done about a new record."""
        habits, rng = self._habits, self._rng
        now_s = self._clock.now_s()
        takes_up, resolves = rng.random() < habits.takes_up, rng.random() < habits.resolves
        accepted_s = now_s + 3600 * float(rng.uniform(*habits.takes_up_within_h))
        resolved_s = accepted_s + 3600 * float(rng.uniform(*habits.resolves_within_h))
        out_of_order = rng.random() < habits.sends_out_of_order
        if not takes_up:
            return
        self._plan(record, accepted_s, "accepted", 1)
        self._plan(record, resolved_s + 60 if out_of_order else accepted_s + 600, "in_progress", 2)
        if resolves:
            self._plan(record, resolved_s, "resolved", 3)

    def _plan(self, record: Record, due_s: float, status: str, version: int) -> None:
        self._number += 1
        heapq.heappush(self._due, _Callback(due_s, self._number, record.case_id, record.number, status, version))

    async def work(self, state_of: Callable[[str], str]) -> None:
        """Send callbacks as they fall due, until cancelled; what the gateway has closed is left alone."""
        async with httpx.AsyncClient(timeout=10.0, trust_env=False) as http:
            while True:
                while self._due and self._due[0].due_s <= self._clock.now_s() and self._url() is not None:
                    callback = heapq.heappop(self._due)
                    if state_of(callback.case_id) not in _CLOSED:
                        await self._send(http, callback)
                await asyncio.sleep(_TURN_S)

    async def _send(self, http: httpx.AsyncClient, callback: _Callback) -> None:
        body = json.dumps(
            {
                "type": "case.status",
                "timestamp": to_datetime(self._clock.now_s()).isoformat(),
                "data": {
                    "case": callback.case_id,
                    "status": callback.status,
                    "external_id": callback.external_id,
                    "version": callback.version,
                    **({"outcome": "true", "note": "Spoke with the owner."} if callback.status == "resolved" else {}),
                },
            }
        ).encode()
        message_id = f"msg_sandbox{callback.number}"
        for _ in range(2 if self._rng.random() < self._habits.sends_twice else 1):
            await self._deliver(http, message_id, body)
        if callback.status == "resolved":
            self.counts.resolved += 1

    async def _deliver(self, http: httpx.AsyncClient, message_id: str, body: bytes) -> None:
        for attempt in range(_TRIES):
            url = self._url()
            if url is None:
                return
            headers = {"content-type": "application/json", **sign(self._secret, message_id, time.time(), body)}
            try:
                answer = await http.post(url, content=body, headers=headers)
            except httpx.HTTPError:
                await asyncio.sleep(0.1 * 2**attempt)
                continue
            if answer.status_code < 500:
                self.counts.sent += 1
                self.counts.refused += not answer.is_success
                return
            await asyncio.sleep(0.1 * 2**attempt)
        self.counts.refused += 1
