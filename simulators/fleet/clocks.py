"""The simulated present moment, and the gateway's clock that follows it."""

import threading
import time
from collections.abc import Callable

import numpy as np


class WorldClock:
    """Where the simulated world has come to: the moment up to which everything has been acknowledged."""

    def __init__(self, start_s: float) -> None:
        self._now_s = start_s

    def now_s(self) -> float:
        """Epoch seconds, simulated."""
        return self._now_s

    def reach(self, now_s: float) -> None:
        """The world has come this far."""
        self._now_s = max(self._now_s, now_s)


class ClockHand:
    """Moves the gateway's clock after the world's, in a thread of its own, and notes when it did.

    Only the latest moment is told: a slow gateway is not asked to visit every hour.
    """

    def __init__(self, hold: Callable[[float], None]) -> None:
        self._hold = hold
        self._wanted_s: float | None = None
        self._told: list[tuple[float, float]] = []  # simulated moment, machine time at which the gateway knew
        self._condition = threading.Condition()
        self._stopped = False
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="clock-hand", daemon=True)
        self._thread.start()

    def move_to(self, moment_s: float) -> None:
        """The gateway's clock may run up to this moment."""
        with self._condition:
            self._wanted_s = moment_s
            self._condition.notify()

    def stop(self) -> None:
        """Tell what is still to be told, and end."""
        with self._condition:
            self._stopped = True
            self._condition.notify()
        self._thread.join(timeout=10)

    def told_at(self, moment_s: float) -> float | None:
        """Machine time at which the gateway's clock was let reach `moment_s`."""
        moments = np.array([moment for moment, _ in self._told])
        n = int(np.searchsorted(moments, moment_s))
        return self._told[n][1] if n < len(self._told) else None

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopped or self._wanted_s is not None)
                moment_s, self._wanted_s = self._wanted_s, None
            if moment_s is None:
                return
            try:
                self._hold(moment_s)
            except Exception as error:  # noqa: BLE001  # shown by whoever owns this thread
                self.failure = error
                return
            self._told.append((moment_s, time.time()))
