"""Round after round: load, a strike at a random moment, recovery, and the ledger's proof."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults.campaign.fleet import Fleet
from tests.faults.campaign.strikes import Strike, Struck
from tests.faults.campaign.world import World
from tests.ledger.audit import Findings, audit
from tests.ledger.book import Book, Key, Told
from tests.ledger.sender import Line, Sender, wait_for

DRAIN_S: Final = 120.0
ILLNESS_S: Final = 120.0
MARK_S: Final = 20.0  # for a marker to come through; then another is sent, for a killed broker may have lost it
FORGETFUL: Final = 0.15  # the share of connections whose device loses its memory in a round


@dataclass(slots=True)
class RoundResult:
    """What a round was, and what came of it."""

    number: int
    strike: str
    engine: str
    findings: Findings
    said: str
    back_after_s: float  # from the end of the harm until the doors acknowledged again
    faults: list[str] = field(default_factory=list)  # in words; empty when all is well
    remarks: list[str] = field(default_factory=list)


class Rounds:
    """A campaign's senders and its book."""

    def __init__(self, world: World, fleet: Fleet, seed: int) -> None:
        self.world = world
        self.fleet = fleet
        self.book = Book()
        self.lost_by_broker: set[Key] = set()
        self._rng = random.Random(seed)
        self._steady = [self._sender(line) for line in fleet.lines()]
        self._marker = self._sender(fleet.marker())
        for sender in (*self._steady, self._marker):
            sender.start()

    def _sender(self, line: Line) -> Sender:
        return Sender(line, self.book, self._rng.getrandbits(64))

    def end(self) -> None:
        """Disconnect everybody."""
        for sender in (*self._steady, self._marker):
            sender.end()

    def play(self, number: int, strike: Strike) -> RoundResult:
        """One round."""
        rng = self._rng
        self.book.round_number = number
        ill = [self._sender(line) for line in self.fleet.ill(number)]
        for sender in ill:
            sender.start()
        senders = [*self._steady, *ill]
        for sender in senders:
            sender.go()
        load_s = rng.uniform(2.0, 4.0)
        before_s = rng.uniform(0.3, load_s - 0.5)
        time.sleep(before_s)
        struck = self._strike(strike)
        over_at_s = time.monotonic()
        back_after_s = self._back(over_at_s)
        time.sleep(max(load_s - before_s - (time.monotonic() - over_at_s), 0.3))
        drained = self._see_through(senders, ill)
        engine, findings = self.world.gateway.engine, self._audit(number, struck)
        result = RoundResult(number, strike.name, engine, findings, struck.said, back_after_s, remarks=struck.remarks)
        self._judge(result, strike, senders, drained=drained)
        return result

    def _strike(self, strike: Strike) -> Struck:
        """Do the harm; while it lasts, some devices forget what they have not been answered."""
        rng, struck = self._rng, Struck()
        forgetful = [sender for sender in self._steady if rng.random() < FORGETFUL]
        forgetting = threading.Timer(rng.uniform(0.0, 0.3), lambda: [sender.forget() for sender in forgetful])
        forgetting.start()
        strike.do(self.world, rng, struck)
        forgetting.join()
        return struck

    def _see_through(self, senders: Sequence[Sender], ill: Sequence[Sender]) -> bool:
        """End the load; whether every device has its answers in time."""
        wait_for(lambda: self._is_dead or not any(sender.has_more for sender in ill), ILLNESS_S)
        for sender in senders:
            sender.pause()
        drained = wait_for(lambda: self._is_dead or all(sender.is_done for sender in senders), DRAIN_S)
        for sender in ill:
            sender.end()
        return drained

    def _back(self, over_at_s: float) -> float:
        """Seconds until both doors acknowledge what is published from now on."""
        before = self._marks()
        wait_for(
            lambda: self._is_dead or all(now > then for now, then in zip(self._marks(), before, strict=True)), DRAIN_S
        )
        return time.monotonic() - over_at_s

    @property
    def _is_dead(self) -> bool:
        return self.world.gateway.pid is None

    def _marks(self) -> tuple[int, int]:
        return self.book.acknowledged_by("listen"), len(self.world.witness.acknowledged)

    def _audit(self, number: int, struck: Struck) -> Findings:
        is_excused = self._not_handed_over(struck)
        page = self.book.page(number)
        excused = {told.key for told, _ in page if is_excused(told)}
        with self.world.sql() as conn:
            findings = audit(conn, page, excused=excused)
        self.lost_by_broker.update(findings.lost_by_broker)
        return findings

    def _not_handed_over(self, struck: Struck) -> Callable[[Told], bool]:
        """Wait until the broker has nothing more for careloop; then, which readings it has never handed over.

        What the broker sends is in order, and so are careloop's acknowledgements: once a marker that was published last
        is acknowledged, what was not is lost. Only a killed broker is excused for that.
        """
        acknowledged = self.world.witness.acknowledged
        deadline = time.monotonic() + DRAIN_S
        while not self._is_dead and time.monotonic() < deadline:
            self._marker.mark()
            if wait_for(lambda: self._marker.is_done and self._marker.last in acknowledged, MARK_S):
                break
        if not struck.kills_broker:
            return lambda _told: False
        return lambda told: told.via == "broker" and told.key not in acknowledged

    def _judge(self, result: RoundResult, strike: Strike, senders: Sequence[Sender], *, drained: bool) -> None:
        faults = [f"{len(keys)} {name}, such as {keys[0]}" for name, keys in result.findings.faults.items()]
        if self._is_dead:
            faults.append(f"the gateway has ended by itself:\n{self.world.gateway.log()}")
        if not drained:
            faults.append("some devices were not answered within the time")
        faults += [f"{sender.name}: {sender.failure!r}" for sender in senders if sender.failure is not None]
        faults += [f"{sender.name}: {sender.refused} PUBACKs refuse" for sender in senders if sender.refused]
        listening = [sender for sender in senders if sender.line.via == "listen"]
        faults += [f"{sender.name}: PUBACKs out of order" for sender in listening if sender.misordered]
        if strike.must_be_said and not result.said:
            faults.append("/readyz has not said why nothing can be stored")
        if not self._is_dead and not self.world.gateway.wait_until_ready():
            faults.append(f"/readyz does not become ready again: {self.world.gateway.readiness()[1]}")
        result.faults = faults


def final_audit(rounds: Rounds) -> Findings:
    """Every reading of the campaign at once."""
    with rounds.world.sql() as conn:
        return audit(conn, rounds.book.pages(), excused=rounds.lost_by_broker)
