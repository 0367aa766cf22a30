"""In which order several workers run the tests: the long ones not last, and not all at once.

pytest-xdist cuts the list of all tests into as many equal parts as there are workers, and lets those who have finished
take from the end of another's part. Tests of whole commands take the longest by far. In the order of their folders they
are all in the first part, and are waited for when everything else is done. So half of the workers begin with them, by
whole files, which share a gateway or a browser; the others begin with the rest.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from os import environ
from typing import Final, TypeVar

import pytest

LONG: Final = ("tests/e2e/", "tests/faults/")

Test = TypeVar("Test")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each worker puts them into the same order."""
    workers = int(environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = shared_out(items, workers, lambda item: item.nodeid.partition("::")[0])


def shared_out(tests: Sequence[Test], workers: int, file_of: Callable[[Test], str]) -> list[Test]:
    """The tests in an order of which `workers` equal parts are run side by side."""
    if workers == 1:
        return list(tests)
    files = [list(of_file) for _, of_file in groupby(tests, file_of)]
    fronts: list[list[Test]] = [[] for _ in range((workers + 1) // 2)]
    for file in files:
        if file_of(file[0]).startswith(LONG):
            min(fronts, key=len).extend(file)
    rest = [test for test in tests if not file_of(test).startswith(LONG)]
    ordered: list[Test] = []
    for worker in range(workers):
        front = fronts[worker] if worker < len(fronts) else []
        end = len(tests) * (worker + 1) // workers
        room = max(0, end - len(ordered) - len(front))
        ordered += [*front, *rest[:room]]
        del rest[:room]
    return ordered + rest
