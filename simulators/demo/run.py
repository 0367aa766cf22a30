"""Runs a demo: sandbox, gateway and fleet come up, a world is lived through, everything is compared, all goes down."""

import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self, cast

import numpy as np

from simulators.api_client import ApiClient, GatewayAway, Json
from simulators.crm.agent import AgentHabits
from simulators.crm.misbehave import Misbehaviour
from simulators.crm.serve import SandboxPlan, make_sandbox, new_secret
from simulators.crm.server import AppServer
from simulators.demo.gateway_process import ENDPOINT, GatewayPlan, GatewayProcess
from simulators.demo.imitation import Crm, ImitationPlan, ImitationServer
from simulators.demo.latency import alarm_to_crm_s, percentile
from simulators.demo.progress import Progress
from simulators.demo.state import Standing
from simulators.fleet.clocks import ClockHand, WorldClock
from simulators.fleet.drive import Driver, Pace
from simulators.fleet.faults import Label
from simulators.fleet.habits import DAY_S, Span
from simulators.fleet.ledger import Ledger
from simulators.fleet.link import Target
from simulators.fleet.playable import Playable
from simulators.fleet.publish import wait_until_let_in
from simulators.reckoning import reckon_cases, reckon_delivery, reckon_silent, seen_alarms
from simulators.scorecard import Scorecard, match, score

LOOK_EVERY_S: Final = 0.5
STOP_WITHIN_S: Final = 10.0
DRAIN_WITHIN_S: Final = 90.0
SETTLED_S: Final = 0.4  # an answer to one message may make the next
HELD_AFTER_S: Final = 4.0  # a message that nobody tries to send for so long waits for its owner's morning
PROPOSING_DAYS: Final = 4.0
LIVES_ON_DAYS: Final = 14.0
HUMANE: Final = Pace(step_s=600.0, ahead=1, speed=720.0)
"""Two minutes a day."""
LEFT_AFTER_S: Final = 20.0  # longer than the longest pause of the retry schedule


class Cast(Protocol):
    """Who plays: a world, how it introduces itself, and what is known of its faults."""

    @property
    def world(self) -> Playable:
        """The devices and what they do."""
        ...

    @property
    def played(self) -> Span:
        """The time that is judged."""
        ...

    @property
    def mended(self) -> int:
        """Commands that really ended a fault."""
        ...

    @property
    def labels(self) -> Sequence[Label]:
        """The truth about its faults in that time."""
        ...

    @property
    def device_ids(self) -> list[str]:
        """The devices."""
        ...

    def write_registry(self, path: Path) -> None:
        """Write the registry file."""
        ...


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """How the demo is run."""

    seed: int
    folder: Path
    database_url: str = ""
    pace: Pace = field(default_factory=Pace)
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    habits: AgentHabits = field(default_factory=AgentHabits)
    crm: str = ""  # the named CRM that is imitated; none: a receiver of careloop's own messages


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a demo came to."""

    scorecard: Scorecard
    database: str
    held: int  # messages that wait for their owner's morning
    waits_s: Mapping[str, float]  # case -> seconds from alarm to CRM
    alarms: Sequence[Json]
    cases: Sequence[Json]


class Stage:
    """Everything that runs during a demo; a context manager that takes it all down again."""

    def __init__(self, plan: DemoPlan, world_starts_s: float) -> None:
        self._began = time.monotonic()
        self._plan = plan
        rng = np.random.default_rng(plan.seed)
        secret = new_secret(rng)
        self.clock = WorldClock(world_starts_s)
        self.ledger = Ledger()
        self._callback_url: str | None = None
        self._crm, self.sandbox = self._open_crm(secret)
        self.gateway = GatewayProcess(
            GatewayPlan(
                folder=plan.folder,
                start_s=world_starts_s,
                token=secrets.token_urlsafe(24),
                crm_url=f"{self._crm.origin}/messages",
                crm_secret=secret,
                crm_endpoint=self._crm.endpoint(plan.folder) if isinstance(self._crm, ImitationServer) else "",
                database_url=plan.database_url,
                far_future_s=DAY_S + 2 * plan.pace.ahead * plan.pace.step_s,
                silent_fixes=True,
            )
        )
        self._driver: Driver | None = None
        self._fleet: threading.Thread | None = None
        self._failure: Exception | None = None  # of the fleet
        self._api: ApiClient | None = None
        self.hand: ClockHand | None = None

    def _open_crm(self, secret: str) -> tuple[AppServer, Crm]:
        """The server that runs a CRM, and what is looked at of it."""
        plan = self._plan
        if plan.crm:
            imitation = ImitationPlan(plan.seed, plan.misbehaviour, plan.habits, lambda: self._callback_url)
            server = ImitationServer(plan.crm, imitation, self.clock).__enter__()
            return server, server.crm
        sandbox = SandboxPlan(secret, plan.misbehaviour, plan.habits, plan.seed)
        receiver = make_sandbox(sandbox, self.clock, lambda: self._callback_url).__enter__()
        return receiver, receiver.sandbox

    @property
    def api(self) -> ApiClient:
        """The gateway's API, once it is up."""
        if self._api is None:
            raise GatewayAway("the gateway is not ready yet")
        return self._api

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._driver is not None:
            self._driver.stop.set()
        if self._fleet is not None:  # it speaks to the gateway, which is about to go
            self._fleet.join(STOP_WITHIN_S)
        if self._api is not None:
            self._api.close()
        self._crm.__exit__()
        self.gateway.stop()

    def open(self, who: Cast) -> str:
        """Bring the gateway up and introduce the devices; says on which database it runs."""
        registry = self._plan.folder / "registry.json"
        who.write_registry(registry)
        self.gateway.wait_until_ready()
        address = self.gateway.address
        self._api = ApiClient(address.api_url, address.api_token)
        if _stored(self._api.counts()):
            raise GatewayAway("the database holds readings already: the demo's scorecard needs an empty one")
        self.gateway.import_registry(registry)
        self._callback_url = f"{address.api_url}/v1/callbacks/{ENDPOINT}"
        self.hand = ClockHand(self._api.hold_clock)
        target = Target(address.listen_host, address.listen_port)
        wait_until_let_in(target, who.world.accounts()[0])
        self._driver = Driver(who.world, target, self._plan.pace, self.ledger, self._reach, span=who.played)
        return Standing.of(self._api.counts()).database

    def play(self, progress: Progress) -> float:
        """Live through the whole span; the real seconds that it took."""
        driver = self._driver
        if driver is None:
            raise GatewayAway("the gateway is not open yet")
        began = time.monotonic()
        thread = self._start(driver)
        while thread.is_alive():
            thread.join(LOOK_EVERY_S)
            if not self.gateway.running:
                driver.stop.set()
                raise GatewayAway(f"the gateway ended\n{self.gateway.last_words()}")
            progress.show(driver.now_s, Standing.of(self.api.counts()), "devices report")
        if self._failure is not None:
            raise self._failure
        return time.monotonic() - began

    def _start(self, driver: Driver) -> threading.Thread:
        """Let a thread of its own run it; what fails there is kept for the thread that shows it."""

        def drive() -> None:
            try:
                driver.run()
            except Exception as error:  # noqa: BLE001  # handed to the thread that shows it
                self._failure = error

        self._driver = driver
        self._fleet = threading.Thread(target=drive, name="fleet", daemon=True)
        self._fleet.start()
        return self._fleet

    def live_on(self, who: Cast, progress: Progress) -> None:
        """Let every watch ask first, live a few days until cases wait for a yes, and go on at a humane speed."""
        self._ask_first()
        world, address = who.world, self.gateway.address
        target = Target(address.listen_host, address.listen_port)
        span = Span(who.played.end_s, PROPOSING_DAYS)
        there = () if self._driver is None else self._driver.there
        soon = Driver(world, target, self._plan.pace, self.ledger, self._reach, span=span, there=there)
        self._driver = soon
        self.play(progress)
        self.drain(progress)
        rest = Span(span.end_s, (world.span.end_s - span.end_s) / DAY_S)
        self._start(Driver(world, target, HUMANE, self.ledger, self._reach, span=rest, there=soon.there))

    def stay(self) -> None:
        """Until somebody stops the demo. Raises what ended the fleet or, as GatewayAway, that the gateway ended."""
        while self.gateway.running:
            if self._failure is not None:
                raise self._failure
            time.sleep(LOOK_EVERY_S)
        raise GatewayAway(f"the gateway ended\n{self.gateway.last_words()}")

    def _ask_first(self) -> None:
        for watch in self.api.pages("/v1/watches"):
            path = f"/v1/watches/{watch['model']}/{watch['watch']}/mode"
            self.api.post(path, {"mode": "approve", "by": "demo", "why": "so that there is something to decide"})

    def drain(self, progress: Progress) -> int:
        """Wait until nothing is on its way to the CRM any more; the messages that stay, held for a better hour.

        A message that was tried once and is held since looks like one that is on its way: after a while that counts as
        held too. What the CRM then lacks is counted as missing, whatever the reason.
        """
        deadline = time.monotonic() + DRAIN_WITHIN_S
        waiting: list[Json] = []
        since = time.monotonic()
        while time.monotonic() < deadline:
            standing = Standing.of(self.api.counts())
            before, waiting = waiting, list(self.api.pages("/v1/deliveries", state="pending", limit=1000))
            if _names(waiting) != _names(before) or standing.waiting_inbox:
                since = time.monotonic()
            still_for_s = time.monotonic() - since
            if standing.waiting_inbox == 0 and (
                (not waiting and still_for_s > SETTLED_S)
                or (still_for_s > HELD_AFTER_S and not any(item["attempts"] for item in waiting))
                or still_for_s > LEFT_AFTER_S
            ):
                return len(waiting)
            on_the_way = standing.waiting_inbox + len(waiting)
            on_their_way = f"{on_the_way} message{'s are' if on_the_way != 1 else ' is'} on the way to the CRM"
            doing = on_their_way if on_the_way else "the CRM has heard of everything"
            progress.show(self.clock.now_s(), standing, doing)
            time.sleep(0.15)
        return len(waiting)

    def judge(self, who: Cast, playing_s: float, held: int) -> Outcome:
        """Compare what was sent, what is held, and what the CRM knows."""
        api, hand = self.api, self.hand
        assert hand is not None
        delivery = reckon_delivery(self.ledger, api, who.device_ids)
        alarms, cases = list(api.pages("/v1/alarms", limit=1000)), list(api.pages("/v1/cases", limit=1000))
        seen = seen_alarms(alarms)
        waits = alarm_to_crm_s({alarm.alarm_id: alarm for alarm in seen}, self.sandbox.book, self.ledger, hand)
        card = Scorecard(
            delivery=delivery,
            detection=score(who.labels, match(who.labels, seen), len(who.device_ids) * who.played.days),
            cases=reckon_cases(cases, self.sandbox.book),
            silent=reckon_silent(cases, who.mended),
            alarm_to_crm_p50_s=percentile(waits.values(), 50),
            alarm_to_crm_p99_s=percentile(waits.values(), 99),
            readings_per_s=delivery.acknowledged / playing_s,
            elapsed_s=time.monotonic() - self._began,
        )
        return Outcome(card, Standing.of(api.counts()).database, held, waits, alarms, cases)

    def _reach(self, moment_s: float) -> None:
        self.clock.reach(moment_s)
        if self.hand is not None:
            self.hand.move_to(moment_s)


def _stored(counts: Json) -> int:
    readings = cast("Json", counts.get("readings") or {})
    return int(cast("int", readings.get("stored") or 0))


def _names(messages: Sequence[Json]) -> list[object]:
    return [message["message_id"] for message in messages]
