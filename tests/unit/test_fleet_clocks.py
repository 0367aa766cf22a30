"""The gateway's clock follows the simulated world and never overtakes it."""

import pytest

from simulators.fleet.clocks import ClockHand, WorldClock


def test_the_world_never_goes_back() -> None:
    clock = WorldClock(100.0)
    clock.reach(200.0)
    clock.reach(150.0)
    assert clock.now_s() == 200.0


def test_the_hand_remembers_when_it_moved_to_or_past_a_moment() -> None:
    held: list[float] = []
    hand = ClockHand(held.append)
    hand.move_to(1.0)
    hand.move_to(2.0)
    assert held == [1.0, 2.0]
    first, second = hand.told_at(0.5), hand.told_at(1.5)
    assert first is not None
    assert second is not None
    assert first <= second
    assert hand.told_at(1.0) == first
    assert hand.told_at(2.5) is None


def test_a_gateway_that_does_not_answer_stops_the_world() -> None:
    def refuse(_moment_s: float) -> None:
        raise OSError("away")

    hand = ClockHand(refuse)
    with pytest.raises(OSError, match="away"):
        hand.move_to(1.0)
    assert hand.told_at(1.0) is None
