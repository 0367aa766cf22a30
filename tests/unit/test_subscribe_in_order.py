"""PUBACKs to a broker leave in the order of its PUBLISHes, in whatever order these are settled."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.doors.subscribe.in_order import InOrder


def test_what_is_settled_early_waits_for_its_turn() -> None:
    order = InOrder()
    order.received([1, 2, 3])
    assert order.settled([2]) == []
    assert order.settled([1]) == [1, 2]
    order.received([4])
    assert order.settled([4, 3]) == [3, 4]


def test_an_identifier_given_away_twice_is_acknowledged_twice() -> None:
    order = InOrder()
    order.received([5, 6, 5])
    assert order.settled([5, 5]) == [5]
    assert order.settled([6]) == [6, 5]


def test_what_was_let_out_is_forgotten() -> None:
    order = InOrder()
    for start in range(1, 10_000, 10):
        order.received(range(start, start + 10))
        settled = list(range(start, start + 10))
        assert order.settled(settled if start % 3 else settled[::-1]) == settled
    assert order.settled([]) == []
    assert order.kept == 0


@given(st.permutations(range(1, 30)), st.lists(st.integers(1, 28), max_size=6))
def test_any_order_of_settling(settled: list[int], cuts: list[int]) -> None:
    order = InOrder()
    order.received(range(1, 30))
    bounds = [0, *sorted(cuts), len(settled)]
    out = [packet_id for start, stop in pairwise(bounds) for packet_id in order.settled(settled[start:stop])]
    assert out == list(range(1, 30))
