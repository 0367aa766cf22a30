"""The order in which several workers run the tests."""

from itertools import groupby

import pytest

from tests.services.order import LONG, shared_out

FILES = {
    "tests/contract/a.py": 40,
    "tests/e2e/b.py": 9,
    "tests/e2e/c.py": 4,
    "tests/faults/d.py": 6,
    "tests/unit/e.py": 80,
}
TESTS = [f"{file}::{number}" for file, count in FILES.items() for number in range(count)]


def file_of(test: str) -> str:
    return test.partition("::")[0]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8, 200])
def test_each_is_run_once_and_those_of_a_long_file_one_after_the_other(workers: int) -> None:
    ordered = shared_out(TESTS, workers, file_of)
    assert sorted(ordered) == sorted(TESTS)
    files = [file for file, _ in groupby(ordered, file_of) if file.startswith(LONG)]
    assert len(files) == len(set(files))


@pytest.mark.parametrize("workers", [2, 4])
def test_half_of_the_workers_begin_with_the_long_ones(workers: int) -> None:
    ordered = shared_out(TESTS, workers, file_of)
    size = len(TESTS) / workers
    begins = [file_of(ordered[round(worker * size)]).startswith(LONG) for worker in range(workers)]
    assert begins == [True] * (workers // 2) + [False] * (workers // 2)


def test_alone_they_are_run_as_they_stand() -> None:
    assert shared_out(TESTS, 1, file_of) == TESTS
