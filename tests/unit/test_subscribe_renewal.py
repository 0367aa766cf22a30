"""When a subscription connects anew after it could not read."""

from gateway.doors.subscribe.renewal import APART_S, IN_VAIN, LATEST_S, LOOK_S, MANY, Renewal
from gateway.intake import Alike, Verdict

STORED, KNOWN = Verdict(stored=1), Verdict(duplicates=1)


def connect(renewal: Renewal, again: int, *, known: int, is_calm: bool = True) -> None:
    """A connection that begins with so many messages that were sent before, and is left for another one."""
    renewal.begin()
    renewal.came(0.0, again, again)
    renewal.settled([KNOWN] * known + [STORED] * (again - known))
    renewal.renewed(0.0, is_calm=is_calm)


def test_who_never_paused_stays() -> None:
    assert not Renewal().is_due(1e9, is_calm=True)


def test_it_begins_anew_as_soon_as_all_that_came_is_settled() -> None:
    renewal = Renewal()
    renewal.paused(100.0)
    assert not renewal.is_due(100.0, is_calm=True)
    assert not renewal.is_due(100.0 + LOOK_S, is_calm=False)
    assert renewal.is_due(100.0 + LOOK_S, is_calm=True)


def test_where_something_always_comes_it_begins_anew_after_a_while_without_another_pause() -> None:
    renewal = Renewal()
    renewal.paused(100.0)
    renewal.paused(120.0)
    assert not renewal.is_due(100.0 + LATEST_S, is_calm=False)
    assert renewal.is_due(120.0 + LATEST_S, is_calm=False)


def test_it_begins_anew_until_a_connection_begins_with_nothing_that_was_sent_before() -> None:
    """A broker that had given up more than it can send at once gave up the rest of it again."""
    renewal = Renewal()
    renewal.paused(100.0)
    renewal.renewed(102.0)
    for times, begun_s in ((1, 102.0), (2, 110.0), (4, 120.0)):  # each waits twice as long
        renewal.begin()
        renewal.came(begun_s, MANY - 1, MANY - 1)
        renewal.came(begun_s + 1, 10, 3)
        renewal.came(begun_s + 2, 10, 2)  # after something new
        assert renewal.is_wanted
        assert not renewal.is_due(begun_s + 0.9 + times * LOOK_S, is_calm=True)
        assert not renewal.is_due(begun_s + 1 + times * LOOK_S, is_calm=False)
        assert renewal.is_due(begun_s + 1 + times * LOOK_S, is_calm=True)
        renewal.renewed(begun_s + 1 + times * LOOK_S)
    renewal.begin()
    renewal.came(130.0, 10, 0)
    renewal.came(131.0, MANY, MANY)
    assert not renewal.is_wanted
    assert not renewal.is_due(1e9, is_calm=True)


def test_what_was_under_way_when_a_connection_ended_costs_no_other_one() -> None:
    """Of a busy fleet something always is: it would connect anew for ever."""
    renewal = Renewal()
    renewal.begin()
    renewal.came(100.0, MANY - 1, MANY - 1)
    renewal.came(101.0, 10, 0)
    assert not renewal.is_wanted
    assert not renewal.is_due(1e9, is_calm=True)


def test_however_often_it_begins_with_much_that_was_sent_before_it_connects_anew_every_five_minutes() -> None:
    renewal = Renewal()
    for _ in range(1000):
        renewal.begin()
        renewal.came(100.0, MANY, MANY)
    assert not renewal.is_due(100.0 + APART_S - 1, is_calm=True)
    assert renewal.is_due(100.0 + APART_S, is_calm=True)


def test_a_broker_that_is_slow_to_read_what_is_acknowledged_has_ever_more_time_for_it() -> None:
    """It sent the same 60,000 messages again with each of the connections, which came every half a minute."""
    renewal = Renewal()
    waits: list[float] = []
    for _ in range(10):
        renewal.begin()
        renewal.came(0.0, 60_000, 60_000)
        waits.append(next(float(s) for s in range(1000) if renewal.is_due(float(s), is_calm=True)))
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, APART_S]


def test_what_was_put_off_comes_on_any_new_connection() -> None:
    renewal = Renewal()
    renewal.paused(100.0)
    renewal.begin()
    assert not renewal.is_wanted
    assert not renewal.is_due(1e9, is_calm=True)


def test_pauses_that_come_again_and_again_do_not_cost_a_connection_each() -> None:
    renewal = Renewal()
    renewal.paused(100.0)
    renewal.renewed(110.0)
    renewal.paused(120.0)
    assert not renewal.is_due(110.0 + APART_S - 1, is_calm=True)
    assert renewal.is_due(110.0 + APART_S, is_calm=True)


def test_a_broker_that_does_not_take_acknowledgements_is_noticed_when_what_it_sends_again_gets_no_less() -> None:
    renewal = Renewal()
    for _ in range(2 + IN_VAIN):  # the first is of what came before, the second to compare with
        assert not renewal.is_in_vain
        connect(renewal, 5_000, known=5_000)
    assert renewal.is_in_vain
    renewal.begin()
    renewal.came(0.0, MANY - 1, MANY - 1)
    assert not renewal.is_in_vain
    renewal.came(0.0, 1, 1)
    assert renewal.is_in_vain
    assert renewal.is_stuck
    renewal.came(1.0, 1, 0)
    assert renewal.is_in_vain
    assert not renewal.is_stuck  # something new comes, too


def test_a_broker_that_takes_acknowledgements_after_all_is_noticed_too() -> None:
    renewal = Renewal()
    for _ in range(2 + IN_VAIN):
        connect(renewal, 5_000, known=5_000)
    connect(renewal, 5_000, known=4_999)
    assert not renewal.is_in_vain


def test_a_broker_that_has_nothing_to_send_again_takes_acknowledgements() -> None:
    renewal = Renewal()
    for _ in range(2 + IN_VAIN):
        connect(renewal, 5_000, known=5_000)
    renewal.begin()  # nothing comes
    connect(renewal, 5_000, known=5_000)
    assert not renewal.is_in_vain


def test_a_broker_that_takes_acknowledgements_slowly_makes_progress() -> None:
    renewal = Renewal()
    for times in range(50):
        connect(renewal, 60_000, known=60_000 - times)
        assert not renewal.is_in_vain


def test_what_was_put_off_is_progress_however_much_comes_each_time() -> None:
    renewal = Renewal()
    for _ in range(50):
        connect(renewal, 5_000, known=MANY - 1)
        assert not renewal.is_in_vain


def test_what_could_not_be_acknowledged_in_time_comes_again_with_good_reason() -> None:
    renewal = Renewal()
    for _ in range(50):
        connect(renewal, 5_000, known=5_000, is_calm=False)
        assert not renewal.is_in_vain


def test_a_device_that_says_everything_twice_is_no_fault_of_the_broker() -> None:
    renewal = Renewal()
    for _ in range(50):
        renewal.begin()
        renewal.came(0.0, MANY, MANY)
        renewal.settled([STORED] * MANY)
        renewal.came(0.0, 5_000, 0)
        renewal.settled(Alike(KNOWN, 5_000))
        renewal.renewed(0.0, is_calm=True)
        assert not renewal.is_in_vain
