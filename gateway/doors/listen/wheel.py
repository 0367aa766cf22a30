"""The deadlines of all connections on one timer."""

import asyncio
from typing import Final, Protocol

TICK_S: Final = 0.25
_LATE: Final = 2  # ticks; a loop that turns later than that has stood still
_NONE: Final = 0


class Timed(Protocol):
    """What may have a deadline; at most one at a time."""

    tick: int  # the wheel's own mark; 0 where there is no deadline

    def due(self) -> None:
        """The deadline has passed; it is no longer set."""
        ...


class Wheel:
    """Calls each `due` within a tick of its deadline; ten thousand deadlines cost one timer of the event loop.

    After a standstill of the whole process it is a tick later, so that what came meanwhile is read first.
    """

    def __init__(self) -> None:
        self._slots: dict[int, set[Timed]] = {}
        self._turned = 0
        self._has_waited = False
        self._timer: asyncio.TimerHandle | None = None

    def put(self, timed: Timed, in_s: float) -> None:
        """Set a deadline in place of whatever `timed` had."""
        self.remove(timed)
        loop = asyncio.get_running_loop()
        timed.tick = max(int((loop.time() + in_s) / TICK_S) + 1, self._turned + 1)
        self._slots.setdefault(timed.tick, set()).add(timed)
        if self._timer is None:
            self._turned = int(loop.time() / TICK_S)
            self._timer = loop.call_later(TICK_S, self._turn)

    def remove(self, timed: Timed) -> None:
        """Take a deadline away, if there is one."""
        if timed.tick == _NONE:
            return
        slot = self._slots.get(timed.tick)
        if slot is not None:  # else it is that slot's turn right now
            slot.discard(timed)
            if not slot:
                del self._slots[timed.tick]
        timed.tick = _NONE

    def stop(self) -> None:
        """Turn no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._slots.clear()

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        now = int(loop.time() / TICK_S)
        if now - self._turned > _LATE and not self._has_waited:
            # The loop stood still: what came meanwhile lies in the sockets, and is read before anybody is called late.
            self._has_waited = True
            self._timer = loop.call_later(TICK_S, self._turn)
            return
        self._has_waited = False
        passed = range(self._turned + 1, now + 1)
        self._turned = now
        late = passed if len(passed) < len(self._slots) else sorted(tick for tick in self._slots if tick <= now)
        for tick in late:
            for timed in self._slots.pop(tick, ()):
                if timed.tick == tick:  # and not taken away by one before it
                    timed.tick = _NONE
                    timed.due()
        self._timer = loop.call_later(TICK_S, self._turn) if self._slots else None
