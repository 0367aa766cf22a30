"""The deadlines of connections."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.doors.listen.wheel import TICK_S, Wheel


class Clock:
    """An event loop's clock and timers, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        """Now."""
        return self.now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> "Clock":
        """Call something when its time has come."""
        self.timers.append((self.now_s + delay_s, callback))
        return self

    def cancel(self) -> None:
        """Forget every timer."""
        self.timers.clear()

    def move(self, seconds: float, step_s: float = TICK_S) -> None:
        """Let time pass, and call what is due meanwhile; larger steps are a loop that was held up."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += step_s
            due = [callback for at_s, callback in self.timers if at_s <= self.now_s]
            self.timers = [timer for timer in self.timers if timer[0] > self.now_s]
            for callback in due:
                callback()


class Timed:
    """Remembers when it was due, and then does what the test has said."""

    def __init__(self, clock: Clock, then: Callable[[], None] = lambda: None) -> None:
        self.tick = 0
        self.due_at_s: list[float] = []
        self._clock = clock
        self._then = then

    def due(self) -> None:
        """The deadline has passed."""
        self.due_at_s.append(self._clock.now_s)
        self._then()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: clock)
    return clock


@pytest.mark.parametrize("in_s", [0.0, 0.1, 0.25, 1.0, 7.3, 900.0])
def test_a_deadline_passes_once_and_within_two_ticks(clock: Clock, in_s: float) -> None:
    wheel, timed = Wheel(), Timed(clock)
    wheel.put(timed, in_s)
    clock.move(in_s + 10)
    (at_s,) = timed.due_at_s
    assert 1000 + in_s <= at_s <= 1000 + in_s + 2 * TICK_S
    assert clock.timers == []  # nothing is left to wait for


def test_a_deadline_that_is_put_anew_or_taken_away_does_not_pass(clock: Clock) -> None:
    wheel, moved, removed = Wheel(), Timed(clock), Timed(clock)
    wheel.put(moved, 1)
    wheel.put(removed, 1)
    wheel.put(moved, 5)
    wheel.remove(removed)
    wheel.remove(removed)
    clock.move(4)
    assert moved.due_at_s == []
    clock.move(4)
    assert len(moved.due_at_s) == 1
    assert removed.due_at_s == []


def test_one_that_is_due_may_take_the_others_away_and_set_another_deadline(clock: Clock) -> None:
    wheel = Wheel()
    both: list[Timed] = []

    def first_of_both() -> None:
        for timed in both:
            wheel.remove(timed)
        wheel.put(both[0], 1)

    both += [Timed(clock, first_of_both), Timed(clock, first_of_both)]
    for timed in both:
        wheel.put(timed, 1)
    clock.move(1.5)
    assert sum(len(timed.due_at_s) for timed in both) == 1


def test_a_loop_that_was_held_up_catches_up(clock: Clock) -> None:
    wheel = Wheel()
    timed = [Timed(clock) for _ in range(100)]
    for number, one in enumerate(timed):
        wheel.put(one, number / 10)
    clock.move(30, step_s=15)
    assert all(len(one.due_at_s) == 1 for one in timed)


def test_after_a_standstill_nobody_is_due_before_what_came_meanwhile_was_read(clock: Clock) -> None:
    wheel, heard, silent = Wheel(), Timed(clock), Timed(clock)
    wheel.put(heard, 1.5)
    wheel.put(silent, 1.5)
    clock.move(0.75)
    clock.move(60, step_s=60)
    assert silent.due_at_s == []
    wheel.put(heard, 1.5)  # its ping lay in the socket
    clock.move(0.25)
    assert (len(silent.due_at_s), heard.due_at_s) == (1, [])


def test_a_stopped_wheel_calls_nobody(clock: Clock) -> None:
    wheel, timed = Wheel(), Timed(clock)
    wheel.put(timed, 1)
    wheel.stop()
    clock.move(5)
    assert timed.due_at_s == []
    wheel.remove(timed)
