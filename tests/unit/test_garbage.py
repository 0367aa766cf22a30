"""Cycles are collected more seldom while the gateway runs, and still are collected."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from types import ModuleType

import pytest

from gateway import child_process
from gateway.garbage import collecting_nothing, collecting_seldom

PYTHONS_OWN = (700, 10, 10)


@pytest.fixture(autouse=True)
def as_python_begins() -> Iterator[None]:
    """Whatever commands have run in this process before."""
    before = gc.get_threshold()
    gc.set_threshold(*PYTHONS_OWN)
    yield
    gc.set_threshold(*before)


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


RUNS = """
import gc, sys
from gateway.cli.main import careloop
phases = []
gc.callbacks.append(lambda phase, about: phases.append(phase))
careloop(["run", "--help"], standalone_mode=False)
print(len(sys.modules), phases.count("start"))
"""


def test_a_gateway_that_starts_hardly_looks_through_what_it_loads() -> None:
    """More than a thousand modules come with it, for which Python by itself looks hundreds of times."""
    done = subprocess.run([sys.executable, "-P", "-c", RUNS], capture_output=True, text=True, check=True)
    modules, looks = map(int, done.stdout.splitlines()[-1].split())
    assert modules > 1000
    assert looks < 10


def test_nothing_is_collected_while_a_command_is_loaded_and_then_it_goes_on() -> None:
    with collecting_nothing():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_so_does_a_process_that_a_gateway_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int, int]] = []
    module = ModuleType("process")
    vars(module)["main"] = lambda: seen.append(gc.get_threshold())
    monkeypatch.setitem(sys.modules, "process", module)
    monkeypatch.setattr(sys, "argv", list(child_process.command_of("process"))[3:])
    child_process.main()
    assert seen[0] > PYTHONS_OWN


def test_afterwards_all_is_as_it_was() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with collecting_seldom():
        assert gc.get_threshold() != before
        assert gc.get_freeze_count() > frozen
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
