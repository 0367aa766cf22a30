"""Cycles are collected more seldom while the gateway runs, and still are collected."""

import gc
import weakref

from gateway.garbage import collecting_seldom


class Node:
    """Half of a cycle."""

    def __init__(self) -> None:
        self.other = self


def test_cycles_are_still_collected() -> None:
    with collecting_seldom():
        last = weakref.ref(Node())
        kept: list[list[int]] = []
        for _ in range(2_000_000):
            if last() is None:
                return
            kept.append([])
        raise AssertionError("a cycle has outlived two million new containers")


def test_afterwards_all_is_as_it_was() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with collecting_seldom():
        assert gc.get_threshold() != before
        assert gc.get_freeze_count() > frozen
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
