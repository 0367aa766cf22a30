"""How fast strangers may come, and how often they may guess."""

import asyncio
from dataclasses import replace
from typing import Final, cast

from gateway.doors.listen.connection import Connection
from gateway.doors.listen.throttle import Pace
from gateway.failed_logins import FailedLogins
from tests.doors import raw
from tests.doors.intake import HeldIntake
from tests.doors.wired import Wire, door_of

LATER: Final = 3  # "server unavailable", in MQTT 3.1.1
WRONG: Final = 4  # "bad user name or password"


class Now:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.s


def test_a_pace_lets_a_burst_through_and_then_spreads() -> None:
    now = Now()
    pace = Pace(10.0, now)
    assert [pace.take() for _ in range(10)] == [0.0] * 10
    assert round(pace.take(), 6) == 0.1
    assert round(pace.take(), 6) == 0.2
    now.s += 10
    assert pace.take() == 0.0


def test_failures_close_the_door_to_an_address_and_time_opens_it() -> None:
    now = Now()
    logins = FailedLogins(3, 60.0, now)
    for name in ("a", "b", "c"):
        assert logins.allows("192.0.2.1", name)
        logins.failed("192.0.2.1", name)
    assert not logins.allows("192.0.2.1", "d")
    assert logins.allows("192.0.2.2", "d")
    now.s += 1.0
    assert logins.allows("192.0.2.1", "d")


def test_failures_from_everywhere_close_the_door_to_a_name() -> None:
    logins = FailedLogins(3, 60.0, Now())
    logins.failed("192.0.2.9", "other")
    for number in range(3):
        logins.failed(f"192.0.2.{number}", "victim")
    assert not logins.allows("192.0.2.1", "victim")
    assert not logins.allows("192.0.2.9", "victim")
    assert logins.allows("192.0.2.9", "other")
    assert logins.allows("192.0.2.10", "victim")  # from where nobody has failed, its owner may try


def test_a_device_that_has_been_in_is_not_locked_out_by_guesses_of_others() -> None:
    logins = FailedLogins(3, 60.0, Now())
    logins.succeeded("198.51.100.1", "victim")
    for number in range(10):
        logins.failed(f"192.0.2.{number}", "victim")
    assert logins.allows("198.51.100.1", "victim")
    logins.failed("192.0.2.200", "another")
    assert not logins.allows("192.0.2.200", "victim")
    logins.failed("198.51.100.1", "victim")
    assert not logins.allows("198.51.100.1", "victim")


def test_devices_with_wrong_passwords_do_not_keep_out_those_that_share_their_address() -> None:
    """After a restart, hundreds of them behind one router kept a good one out for as long as they tried."""
    now = Now()
    logins = FailedLogins(20, 10.0, now, left_to_others=5)
    for seconds in range(600):
        for number in range(50):
            if logins.allows("192.0.2.1", f"wrong-{number}"):
                logins.failed("192.0.2.1", f"wrong-{number}")
            else:
                logins.doubt("192.0.2.1", f"wrong-{number}")
        assert seconds < 10 or logins.allows("192.0.2.1", "good")
        now.s += 1
    logins.succeeded("192.0.2.1", "wrong-7")
    assert logins.allows("192.0.2.1", "wrong-7")


def test_a_person_may_fail_as_often_as_is_said_where_nothing_is_left_to_others() -> None:
    logins = FailedLogins(10, 1.0, Now())
    tries = 0
    while tries < 40 and logins.allows("192.0.2.1", "mallory"):
        logins.failed("192.0.2.1", "mallory")
        tries += 1
    assert tries == 10


async def test_who_is_refused_with_a_wrong_password_waits_for_more_than_who_is_not_known_here_yet() -> None:
    """What is left to others is not left to whoever was refused meanwhile."""
    now = Now()
    logins = FailedLogins(4, 60.0, now, left_to_others=1)
    door = replace(door_of(HeldIntake()), failed_logins=logins)

    def told(name: str) -> int:
        wire = Wire()
        connection = Connection(door, "192.0.2.1", "192.0.2.1", lambda: None)
        connection.connection_made(cast("asyncio.Transport", wire))
        connection.data_received(raw.connect(4, username=name, client_id=name, password="guess"))
        return wire.written[3]

    assert [told(f"guesser-{number}") for number in range(4)] == [WRONG] * 4
    assert told("late") == LATER
    now.s += 1.0  # one may be tried
    assert told("late") == LATER
    assert told("new") == WRONG


def test_an_ipv6_customer_is_one_address() -> None:
    logins = FailedLogins(1, 60.0, Now())
    logins.failed("2001:db8::1", "a")
    assert not logins.allows("2001:db8::2:3", "b")
    assert logins.allows("2001:db8:0:1::1", "b")


def test_nothing_is_refused_when_the_limit_is_off() -> None:
    logins = FailedLogins(0, 60.0, Now())
    for _ in range(100):
        logins.failed("192.0.2.1", "a")
    assert logins.allows("192.0.2.1", "a")


def test_what_is_remembered_is_bounded() -> None:
    logins = FailedLogins(3, 60.0, Now())
    for number in range(30_000):
        logins.failed(f"192.0.2.{number}", "x" * 1000 + str(number))
    failures = logins._failures  # pyright: ignore[reportPrivateUsage] - what must stay small
    doubted = logins._doubted  # pyright: ignore[reportPrivateUsage] - likewise
    assert len(failures) <= 10_000
    assert len(doubted) <= 10_000
    assert not any(len(name) > 64 for _, name in failures)
