"""How many batches are read back at once after a crash."""

from collections.abc import Sequence
from typing import Final

import pytest

from gateway.pipeline.recovery import windows
from gateway.store.checkpoints import BatchMark

MUCH: Final = 60_000  # two of these are more than is read at once
MOST: Final = 50  # batches


def marks(rows: Sequence[int]) -> list[BatchMark]:
    return [BatchMark(number, "ingest", 0.0, 0.0, stored) for number, stored in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([], []),
        ([0], [1]),
        ([10] * (2 * MOST + 1), [MOST, MOST, 1]),
        ([MUCH] * 3, [1, 1, 1]),
        ([10 * MUCH, 1, 10 * MUCH, 1, 1], [1, 1, 1, 2]),
        ([MUCH // 2] * 4, [3, 1]),
    ],
)
def test_what_is_read_at_once_is_bounded_by_batches_and_by_rows(rows: Sequence[int], counts: Sequence[int]) -> None:
    told = marks(rows)
    read = [list(window) for window in windows(told)]
    assert [len(window) for window in read] == counts
    assert [mark for window in read for mark in window] == told
