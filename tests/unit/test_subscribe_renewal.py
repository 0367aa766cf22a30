"""When a subscription connects anew after it could not read."""

from gateway.doors.subscribe.renewal import APART_S, LATEST_S, LOOK_S, MANY, Renewal


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
