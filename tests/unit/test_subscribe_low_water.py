"""Messages that come fast are read many at once, and none is left lying."""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from gateway.doors.subscribe.low_water import BUSY_BYTES, CALM_S, LowWater


class Clockwork:
    """A loop whose time the test moves, and a socket that keeps its marks."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.marks: list[int] = []
        self._due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        """As of an event loop."""
        return self.now_s

    def call_later(self, delay_s: float, call: Callable[[], None]) -> "Clockwork":
        """As of an event loop."""
        self._due.append((self.now_s + delay_s, call))
        return self

    def cancel(self) -> None:
        """As of a timer."""
        self._due.clear()

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """As of a socket."""
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        self.marks.append(value)

    def go(self, seconds: float) -> None:
        """Let time pass."""
        until_s = self.now_s + seconds
        while self._due and min(self._due)[0] <= until_s:
            due = min(self._due)
            self._due.remove(due)
            self.now_s = max(due[0], self.now_s)
            due[1]()
        self.now_s = until_s


def set_up() -> tuple[Clockwork, LowWater]:
    work = Clockwork()
    return work, LowWater(work, cast("asyncio.AbstractEventLoop", work))


def test_single_messages_are_read_at_once() -> None:
    work, low_water = set_up()
    for _ in range(5):
        low_water.heard()
        work.go(2 * CALM_S)
    assert work.marks == []


def test_many_are_waited_for_until_they_pause() -> None:
    work, low_water = set_up()
    for _ in range(20):
        low_water.heard()
        work.go(CALM_S / 2)
    assert (work.marks, low_water.is_raised) == ([BUSY_BYTES], True)
    work.go(2 * CALM_S)
    assert (work.marks, low_water.is_raised) == ([BUSY_BYTES, 1], False)
    low_water.heard()
    low_water.heard()
    assert work.marks == [BUSY_BYTES, 1, BUSY_BYTES]


def test_nothing_is_left_to_do_at_the_end() -> None:
    work, low_water = set_up()
    low_water.stop()
    low_water.heard()
    low_water.heard()
    low_water.stop()
    work.go(10.0)
    assert work.marks == [BUSY_BYTES]


def test_a_socket_that_knows_no_mark_is_borne() -> None:
    work, low_water = set_up()

    def refuse(*_: int) -> None:
        raise OSError

    work.setsockopt = refuse  # pyright: ignore[reportAttributeAccessIssue] - what some systems do
    low_water.heard()
    low_water.heard()
    work.go(1.0)
    assert not low_water.is_raised
