"""A named CRM's imitation as the demo's CRM: seen from outside it has records, and somebody who works on them."""

import asyncio
import heapq
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import httpx
import numpy as np

from devices.clock import Clock
from simulators.crm.agent import AgentHabits
from simulators.crm.misbehave import Misbehaviour, Whim
from simulators.crm.records import Book, Record
from simulators.crm.server import AppServer
from simulators.crm.vendors import VENDORS
from simulators.crm.vendors.desk import Ticket
from simulators.crm.vendors.hubspot import CALLBACK_URL
from simulators.crm.vendors.sandbox import Fault, VendorSandbox
from simulators.crm.vendors.serve import settings_for

NAMED: Final = ("dynamics365", "hubspot", "salesforce", "zendesk")
_TURN_S: Final = 0.1
_WHIMS: Final[Mapping[str, Whim]] = {
    Fault.UNAVAILABLE: Whim.UNAVAILABLE,
    Fault.FAIL_AFTER: Whim.FAIL_AFTER,
    Fault.CUT_AFTER: Whim.CUT_AFTER,
    Fault.RACE: Whim.TWICE,
}
_OVERLAY: Final = """
[limits] # weeks pass in a minute here
requests = 1_000_000
in_flight = 8
"""
_ACCOUNT: Final = 'tenant = "tenant-1", authority = "{origin}"'
_FALLBACK: Final = ', fallback_contact = "/contacts(owner-1)"'


class Crm(Protocol):
    """What the demo looks at in a CRM."""

    @property
    def requests(self) -> int:
        """How often it was asked."""
        ...

    @property
    def whims(self) -> Mapping[Whim, int]:
        """What became of that."""
        ...

    @property
    def book(self) -> Book:
        """What it keeps."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class _Turn:
    due_s: float
    number: str
    word: str


class Imitation:
    """The vendor behind HTTP, and an agent who moves tickets, of which its hooks tell."""

    def __init__(self, flavour: str, plan: "ImitationPlan", clock: Clock) -> None:
        self.token, self.hooks = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
        self.requests = 0
        self.whims: Counter[Whim] = Counter()
        whims, self._rng = (np.random.default_rng(seed) for seed in np.random.SeedSequence(plan.seed).spawn(2))
        misbehaviour = replace(plan.misbehaviour, throttle=0.0)  # their pauses are longer than the demo
        vendor = VENDORS[flavour](self.token)
        self.sandbox = VendorSandbox(vendor, misbehaviour, whims, watch=self._watch)
        self._plan, self._clock = plan, clock
        self._known: dict[str, float] = {}  # record -> machine time at which it was seen first
        self._turns: list[_Turn] = []

    @property
    def book(self) -> Book:
        """Its records in careloop's words, as they stand."""
        found = [ticket for ticket in list(self.sandbox.vendor.book.tickets.values()) if ticket.key]
        return Book(records=[self._record(ticket) for ticket in found if not ticket.removed])

    async def work(self) -> None:
        """Take tickets up and solve some of them, until cancelled."""
        async with httpx.AsyncClient(timeout=10.0, trust_env=False) as http:
            while True:
                self._consider()
                while self._turns and self._turns[0].due_s <= self._clock.now_s() and self._plan.callback_url():
                    await self._move(http, heapq.heappop(self._turns))
                await asyncio.sleep(_TURN_S)

    def _watch(self, kind: str, status: int, fault: str) -> None:
        del kind, status
        self.requests += 1
        self.whims[_WHIMS.get(fault, Whim.BEHAVE)] += 1

    def _record(self, ticket: Ticket) -> Record:
        closed = ticket.status == self.sandbox.vendor.word("closed")
        heard = [(self._known.get(ticket.number, 0.0), "case.opened", 1)]
        heard += [(0.0, "case.updated", at) for at, _ in enumerate(ticket.notes, 2)]
        state = "resolved" if closed else "open"
        return Record(ticket.number, ticket.key, heard[0][0], state, len(heard), ticket.title, heard)

    def _consider(self) -> None:
        """Decide what will be done about new records."""
        habits, rng, now_s = self._plan.habits, self._rng, self._clock.now_s()
        for number in list(self.sandbox.vendor.book.tickets):
            if number in self._known:
                continue
            self._known[number] = time.time()
            taken_s = now_s + 3600 * float(rng.uniform(*habits.takes_up_within_h))
            if rng.random() < habits.takes_up:
                heapq.heappush(self._turns, _Turn(taken_s, number, "waiting"))
                if rng.random() < habits.resolves:
                    solved_s = taken_s + 3600 * float(rng.uniform(*habits.resolves_within_h))
                    heapq.heappush(self._turns, _Turn(solved_s, number, "closed"))

    async def _move(self, http: httpx.AsyncClient, turn: _Turn) -> None:
        vendor = self.sandbox.vendor
        ticket, url = vendor.book.tickets[turn.number], self._plan.callback_url()
        if url is None or ticket.status == vendor.word("closed"):
            return
        ticket.status, ticket.changed_s = vendor.word(turn.word), time.time()
        hook = vendor.hook([ticket], time.time(), self.hooks)
        for _ in range(2 if self._rng.random() < self._plan.habits.sends_twice else 1):
            try:
                await http.post(url, content=hook.body, headers=dict(hook.headers), params=dict(hook.query) or None)
            except httpx.HTTPError:
                return  # as one that is lost: asking, or comparing, finds it


@dataclass(frozen=True, slots=True)
class ImitationPlan:
    """What an imitation is made of."""

    seed: int
    misbehaviour: Misbehaviour
    habits: AgentHabits
    callback_url: Callable[[], str | None]


class ImitationServer(AppServer):
    """Runs an imitation, and its agent, in a thread; use as a context manager."""

    def __init__(self, flavour: str, plan: ImitationPlan, clock: Clock) -> None:
        self.crm = Imitation(flavour, plan, clock)
        self._flavour = flavour
        super().__init__(self.crm.sandbox, beside=self.crm.work)

    def endpoint(self, folder: Path) -> str:
        """The settings by which a gateway reaches it, and in the folder a file that lifts the limits of an account."""
        overlay = folder / f"{self._flavour}.toml"
        overlay.write_text(_OVERLAY, encoding="utf-8")
        told = settings_for(self._flavour, self.origin, CALLBACK_URL, self.crm.token, self.crm.hooks)
        usual = _ACCOUNT.format(origin=self.origin)
        return f'{told.replace(usual, usual + _FALLBACK)}spec_file = "{overlay}"\n'
