"""When a subscription connects anew after it could not read."""

from gateway.doors.subscribe.renewal import APART_S, LATEST_S, LOOK_S, Renewal


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
