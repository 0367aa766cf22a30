"""A window cut into pieces: what may be judged at once, by when it became known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gateway.backtest.windows import Window
from gateway.store.history import TimeBase
from gateway.store.rows import EventRow, Floats, Readings


@dataclass(frozen=True, slots=True)
class Told:
    """Readings of one product model, and when each became known, in seconds of the history's clock."""

    readings: Readings
    at_s: Floats


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a window, up to and with a moment."""

    told: Sequence[Told]
    events: Sequence[EventRow]
    heard_s: Floats  # when each event became known
    until_s: float


class Pieces:
    """A window on the history's clock, which never falls; taken from the front."""

    def __init__(self, window: Window, base: TimeBase, since_s: float) -> None:
        """`since_s` is how far the clock has come before."""
        self._window = window
        self._clocks = [np.maximum(part.at_us / 1e6, since_s) for part in window.parts]
        is_received = base is TimeBase.RECEIVED
        heard_us = [event.received_us if is_received else event.ts_us for event in window.events]
        self._heard = np.maximum(np.maximum.accumulate(np.array(heard_us, np.float64)) / 1e6, since_s)
        self._taken = [0] * len(self._clocks)
        self._heard_taken = 0
        self.moments = np.sort(np.concatenate([*self._clocks, self._heard]))

    def up_to(self, until_s: float) -> Piece:
        """Take what became known up to a moment and was not taken before."""
        told: list[Told] = []
        for number, (part, clock) in enumerate(zip(self._window.parts, self._clocks, strict=True)):
            first, end = self._taken[number], int(np.searchsorted(clock, until_s, side="right"))
            self._taken[number] = end
            if end > first:
                told.append(Told(part.readings.take(np.arange(first, end)), clock[first:end]))
        first, end = self._heard_taken, int(np.searchsorted(self._heard, until_s, side="right"))
        self._heard_taken = end
        return Piece(told, self._window.events[first:end], self._heard[first:end], until_s)
