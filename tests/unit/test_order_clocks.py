"""What a clock's offset is estimated to be, from messages with all the delays that there are."""

import numpy as np
import pytest

from gateway.order.clocks import Clocks, ClockView
from gateway.order.words import is_sure, say_clock, state_of

START_S = 1_760_000_000.0
HOUR_S = 3600.0


def estimate(received_s: list[float], ts_s: list[float]) -> ClockView:
    """The clock of a device whose messages came so, told one batch each."""
    clocks = Clocks()
    clocks.grow(1)
    for came_s, at_s in zip(received_s, ts_s, strict=True):
        slot = np.zeros(1, np.intp)
        clocks.take(slot, np.array([round(at_s * 1e6)]), np.array([round(came_s * 1e6)]))
    return clocks.view(0)


def every(span_s: float, count: int) -> list[float]:
    return [START_S + n * span_s for n in range(count)]


def test_delays_and_backlog_do_not_look_like_a_clock_that_is_behind() -> None:
    rng = np.random.default_rng(1)
    received_s, ts_s = every(60.0, 3000), list[float]()
    for n, came_s in enumerate(received_s):
        backlog_s = (
            rng.uniform(0, 8 * HOUR_S) if n % 500 < 200 and n % 9 else 0.0
        )  # hours of it, and fresh ones between
        ts_s.append(came_s - backlog_s - rng.exponential(3.0))
    clock = estimate(received_s, ts_s)
    assert clock.offset_s == pytest.approx(0.0, abs=10.0)
    assert (state_of(clock), is_sure(clock), clock.moved_at_s) == ("right", True, None)


@pytest.mark.parametrize(("offset_s", "state"), [(10_920.0, "ahead"), (-10_920.0, "behind"), (40.0, "right")])
def test_an_offset_is_found(offset_s: float, state: str) -> None:
    received_s = every(300.0, 100)
    clock = estimate(received_s, [came_s + offset_s - (n % 7) for n, came_s in enumerate(received_s)])
    assert clock.offset_s == pytest.approx(offset_s, abs=10.0)
    assert (state_of(clock), is_sure(clock)) == (state, True)


def test_a_drift_is_followed_without_a_jump() -> None:
    received_s = every(600.0, 144 * 20)  # twenty days, ten seconds a day slow
    clock = estimate(
        received_s, [came_s - (came_s - START_S) / 86_400 * 10.0 - (n % 5) for n, came_s in enumerate(received_s)]
    )
    assert clock.offset_s == pytest.approx(-200.0, abs=20.0)
    assert clock.moved_at_s is None


@pytest.mark.parametrize("way", [1, -1])
def test_local_time_sent_as_utc_is_seen_when_daylight_saving_begins_and_ends(way: int) -> None:
    received_s = every(600.0, 300)
    turn_s = START_S + 150 * 600.0
    clock = estimate(received_s, [came_s + HOUR_S + way * HOUR_S * (came_s >= turn_s) for came_s in received_s])
    assert clock.moved_by_s == pytest.approx(way * HOUR_S, abs=5.0)
    assert clock.moved_at_s is not None
    assert 0 <= clock.moved_at_s - turn_s <= 4 * 600.0
    assert "as for daylight saving" in say_clock(clock)


def test_one_wild_time_moves_nothing() -> None:
    received_s = every(600.0, 50)
    ts_s = list(received_s)
    ts_s[25] += 20 * HOUR_S
    assert estimate(received_s, ts_s).offset_s == pytest.approx(0.0, abs=5.0)


NEVER_S = 253_402_214_400.0  # 9999-12-31, which programs write for "never"


@pytest.mark.parametrize("first", range(4))
def test_a_made_up_time_is_no_clock_as_soon_as_another_comes(first: int) -> None:
    received_s = every(300.0, 12)
    ts_s = list(received_s)
    ts_s[first] = NEVER_S
    for messages in range(first + 2 if first == 0 else 1, len(ts_s) + 1):
        clock = estimate(received_s[:messages], ts_s[:messages])
        assert clock.offset_s == pytest.approx(0.0, abs=1.0), messages
        assert clock.moved_at_s is None


def test_a_made_up_time_alone_for_long_is_forgotten_with_the_first_plausible_one() -> None:
    received_s = every(900.0, 6)
    clock = estimate(received_s[:4], [NEVER_S + n * 900.0 for n in range(4)])
    assert state_of(clock) == "ahead"
    clock = estimate(received_s[:5], [*(NEVER_S + n * 900.0 for n in range(4)), received_s[4]])
    assert (clock.offset_s, clock.moved_at_s) == (0.0, None)


def test_many_devices_in_one_batch_keep_made_up_times_apart() -> None:
    clocks = Clocks()
    clocks.grow(3)
    received_us = np.array([round(START_S * 1e6)] * 5)
    ts_us = received_us + np.array([0, round(NEVER_S * 1e6), round(NEVER_S * 1e6), 0, 5_000_000])
    clocks.take(np.array([0, 0, 1, 2, 2], np.intp), ts_us, received_us)
    assert [clocks.view(slot).offset_s for slot in range(3)] == pytest.approx([0.0, NEVER_S, 5.0])


def test_an_offline_day_moves_nothing() -> None:
    received_s = every(600.0, 50) + [START_S + 86_400.0 + n for n in range(144)]
    ts_s = every(600.0, 50 + 144)
    clock = estimate(received_s, ts_s)
    assert (state_of(clock), clock.moved_at_s) == ("right", None)


def test_a_clock_of_january_1970_is_said_to_be_unset_or_to_count_seconds() -> None:
    received_s = every(HOUR_S, 4)
    clock = estimate(received_s, [at_s / 1000 for at_s in received_s])
    said = "clock 20350 days behind: it was never set, or its ts counts seconds, not milliseconds"
    assert say_clock(clock).startswith(said)
    history = estimate(received_s, [at_s - 30 * 365 * 24 * HOUR_S for at_s in received_s])
    assert "or all that it sends comes so late" in say_clock(history)


def test_words() -> None:
    ahead = ClockView(10_920.0, 5, None, 0.0, is_clockless=False)
    assert say_clock(ahead) == "clock 3 h 02 min ahead"
    assert say_clock(ClockView(-7200.0, 1, None, 0.0, is_clockless=False)) == (
        "clock 2 h 00 min behind, or all that it sends comes so late; it may send local time as UTC "
        "(from one look, not yet sure)"
    )
    assert say_clock(ClockView(None, 0, None, 0.0, is_clockless=True)).startswith("no clock")
    assert say_clock(ClockView(-4.0, 9, None, 0.0, is_clockless=False)) == "clock right, to within 4 s"
