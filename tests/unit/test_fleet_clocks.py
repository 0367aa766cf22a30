"""The gateway's clock follows the simulated world and never overtakes it."""

import threading

from simulators.fleet.clocks import ClockHand, WorldClock


def test_the_world_never_goes_back() -> None:
    clock = WorldClock(100.0)
    clock.reach(200.0)
    clock.reach(150.0)
    assert clock.now_s() == 200.0


def test_the_hand_tells_the_latest_moment_and_remembers_when() -> None:
    told: list[float] = []
    first, go_on = threading.Event(), threading.Event()

    def hold(moment_s: float) -> None:
        told.append(moment_s)
        first.set()
        assert go_on.wait(5)

    hand = ClockHand(hold)
    hand.move_to(1.0)
    assert first.wait(5)
    for moment in (2.0, 3.0, 4.0):
        hand.move_to(moment)
    go_on.set()
    hand.stop()
    assert told == [1.0, 4.0]
    assert hand.told_at(0.5) is not None
    assert hand.told_at(5.0) is None


def test_a_gateway_that_does_not_answer_is_told_to_the_owner_of_the_hand() -> None:
    def refuse(_moment_s: float) -> None:
        raise OSError("away")

    hand = ClockHand(refuse)
    hand.move_to(1.0)
    hand.stop()
    assert isinstance(hand.failure, OSError)
