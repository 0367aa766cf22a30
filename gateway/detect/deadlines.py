"""A timer wheel over slots: who is overdue, at the cost of who may be, not of who is there.

A slot stays queued where it was put when its deadline moves on, and is put further when its turn comes: a device that
reports every minute with a deadline of two hours is looked at every two hours.
"""

import heapq
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Indices
from gateway.detect.table import Field, Rows, Table

TICK_S: Final = 8.0
QUEUED: Final = Field("queued_s", initial=float("inf"))  # start of the tick in which the slot is looked at next


class Deadlines:
    """Deadlines in healthy time for the slots of a table that has the fields ``deadline_s`` and ``queued_s``."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._ticks: dict[float, list[Indices]] = {}
        self._order: list[float] = []
        self._stale = False

    def forget_all(self) -> None:
        """The table changed under the wheel: build it anew before its next use."""
        self._stale = True

    def set(self, state: Rows, deadline_s: Floats) -> None:
        """Queue these slots, where they are not yet queued for an earlier look."""
        tick_s = _tick(deadline_s)
        sooner = tick_s < state["queued_s"]
        if sooner.any():
            state["queued_s"] = np.where(sooner, tick_s, state["queued_s"])
            self._queue(state.index[sooner], tick_s[sooner])

    def queue(self, index: Indices, tick_s: Floats) -> None:
        """Look at these slots at these ticks; each slot has the tick in its state already."""
        self._queue(index, tick_s)

    def overdue(self, alive_s: float) -> Indices:
        """The slots whose deadline lies before `alive_s`, in order of deadline; each is given once per deadline."""
        self._refresh()
        found: list[Indices] = []
        again: list[Indices] = []
        while self._order and self._order[0] < alive_s:
            tick_s = heapq.heappop(self._order)
            index = np.concatenate(self._ticks.pop(tick_s))
            index = np.unique(index[self._table.column("queued_s")[index] == tick_s])
            over = self._table.column("deadline_s")[index] < alive_s
            found.append(index[over])
            again.append(index[~over])
        if not found:
            return np.empty(0, np.int64)
        self._requeue(np.concatenate(again))
        index = np.concatenate(found)
        state = self._table.rows(index)
        state["queued_s"] = np.inf
        state.flush()
        return index[np.lexsort((index, self._table.column("deadline_s")[index]))]

    def next_s(self) -> float:
        """No slot is overdue before this; inf if none is queued."""
        self._refresh()
        while True:
            again, first_s = self._pop_moved()
            if not again:
                return first_s
            # Among those put further, one may come before the first that stood where it belongs.
            self._requeue(np.concatenate(again))

    def _pop_moved(self) -> tuple[list[Indices], float]:
        """The slots before the first deadline that is where it was queued, all of which have moved on; and it."""
        again: list[Indices] = []
        while self._order:
            tick_s = self._order[0]
            index = np.concatenate(self._ticks[tick_s])
            index = index[self._table.column("queued_s")[index] == tick_s]
            deadline_s = self._table.column("deadline_s")[index]
            here = _tick(deadline_s) <= tick_s
            if here.any():
                return again, float(deadline_s[here].min())
            heapq.heappop(self._order)
            del self._ticks[tick_s]
            if len(index):
                again.append(np.unique(index))
        return again, float("inf")

    def _requeue(self, index: Indices) -> None:
        if not len(index):
            return
        state = self._table.rows(index)
        tick_s = _tick(state["deadline_s"])
        state["queued_s"] = tick_s
        state.flush()
        self._queue(index, tick_s)

    def _queue(self, index: Indices, tick_s: Floats) -> None:
        queued = np.isfinite(tick_s)
        if not queued.any():
            return
        index, tick_s = index[queued], tick_s[queued]
        order = np.argsort(tick_s, kind="stable")
        index, tick_s = index[order], tick_s[order]
        starts = np.flatnonzero(np.diff(tick_s, prepend=-np.inf))
        for tick, members in zip(tick_s[starts], np.split(index, starts[1:]), strict=True):  # ticks, not devices
            at = float(tick)
            if at not in self._ticks:
                self._ticks[at] = []
                heapq.heappush(self._order, at)
            self._ticks[at].append(members)

    def _refresh(self) -> None:
        if not self._stale:
            return
        self._stale = False
        self._ticks.clear()
        self._order.clear()
        index = np.flatnonzero(np.isfinite(self._table.column("queued_s")))
        self._queue(index, self._table.column("queued_s")[index])


def _tick(deadline_s: Floats) -> Floats:
    return np.floor(deadline_s / TICK_S) * TICK_S
