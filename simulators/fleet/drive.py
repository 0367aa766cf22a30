"""Lets a fleet live, step by step: all that happens in a stretch of simulated time is published and acknowledged."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulators.fleet.habits import Span
from simulators.fleet.ledger import Ledger
from simulators.fleet.link import Target
from simulators.fleet.network import Act
from simulators.fleet.playable import DeviceErrand, Obedient, Playable
from simulators.fleet.publish import Publisher


@dataclass(frozen=True, slots=True)
class Pace:
    """How time passes: steps of `step_s` simulated seconds, at most `ahead` of them on their way at once."""

    step_s: float = 3600.0
    ahead: int = 3  # few where a clock is held back for it; a window per device bounds what is in flight in any case
    window: int = 16  # packets of one device without an answer
    speed: float | None = None  # simulated seconds a second; None: as fast as acknowledgements come


class Driver:
    """Publishes a world to a gateway or broker.

    `reached` is told, in order, of each moment up to which everything has been acknowledged; a gateway's clock that
    is held there never overtakes what was delivered.
    """

    def __init__(
        self,
        world: Playable,
        target: Target,
        pace: Pace,
        ledger: Ledger,
        reached: Callable[[float], None],
        *,
        span: Span | None = None,
        there: Sequence[str] = (),
    ) -> None:
        """`span`: only this of the world's time; the devices of `there` were online before it."""
        self._world = world
        self._pace = pace
        self._ledger = ledger
        self._reached = reached
        self._target = target
        self._span = span or world.span
        self.now_s = self._span.start_s  # up to here everything is acknowledged
        self.stop = threading.Event()
        self.there: Sequence[str] = there
        self._publisher: Publisher | None = None

    @property
    def troubles(self) -> list[str]:
        """Why devices that want to connect cannot at the moment, one entry a device."""
        return [] if self._publisher is None else self._publisher.troubles

    def run(self) -> None:
        """Live the whole span; returns when the last acknowledgement has come, or when `stop` is set."""
        publisher = self._publisher = Publisher(
            self._target,
            self._world.accounts(),
            self._ledger,
            self._settled,
            window=self._pace.window,
            obey=self._world.obey if isinstance(self._world, Obedient) else None,
        )
        began = time.monotonic()
        try:
            ends = self._ends()
            errands = [DeviceErrand(device_id, Act.CONNECT) for device_id in self.there]
            errands += self._world.errands_until(ends[0])
            for step, end_s in enumerate(ends):
                for errand in errands:
                    publisher.add(errand.device_id, step, errand.act, errand.packet)
                publisher.complete(step)
                publisher.pump(0.0)
                if step + 1 < len(ends):  # written while the other side works
                    errands = list(self._world.errands_until(ends[step + 1]))
                while self._must_wait(publisher.unsettled, end_s, began):
                    publisher.pump(0.02)
                    if self.stop.is_set():
                        return
            while publisher.unsettled and not self.stop.is_set():
                publisher.pump(0.02)
        finally:
            self.there = publisher.online
            publisher.close()

    def _ends(self) -> list[float]:
        span, step_s = self._span, self._pace.step_s
        count = int((span.end_s - span.start_s) // step_s) + 1
        ends = [span.start_s + (n + 1) * step_s for n in range(count)]
        return [min(end, span.end_s) for end in ends if end - step_s < span.end_s]

    def _must_wait(self, unsettled: int, end_s: float, began: float) -> bool:
        if unsettled >= self._pace.ahead:
            return True
        speed = self._pace.speed
        return speed is not None and time.monotonic() - began < (end_s - self._span.start_s) / speed

    def _settled(self, step: int) -> None:
        self.now_s = min(self._span.start_s + (step + 1) * self._pace.step_s, self._span.end_s)
        self._reached(self.now_s)
