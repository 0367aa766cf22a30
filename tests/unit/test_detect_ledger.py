"""What compiled loops change can be undone: how many detectors share the journal, and the room that a reading needs."""

import ctypes

import pytest

from gateway.detect.groups import Field, Group, Moves
from gateway.detect.native import GroupMemory, load_kernel
from gateway.detect.native.compiled import MOST_KEPT, ORIGIN, most_kept
from gateway.detect.native.ledger import MOST_DETECTORS, Ledger
from gateway.detect.table import Journal


class Nowhere:
    """A table that never moves."""

    def locate(self) -> None:
        """It is where it was."""


def test_a_detector_that_the_journal_could_not_tell_from_another_is_refused() -> None:
    kernel = load_kernel()
    assert kernel is not None
    ledger = Ledger(kernel, Journal())
    groups = (GroupMemory * 1)()
    assert [ledger.enter(Nowhere(), groups) for _ in range(MOST_DETECTORS)] == list(range(MOST_DETECTORS))
    with pytest.raises(OverflowError, match="256 detectors"):
        ledger.enter(Nowhere(), groups)


@pytest.mark.parametrize(("numbers", "pieces"), [(1, 1), (MOST_KEPT // 16, 1), (MOST_KEPT // 8 + 1, 2), (440, 15)])
def test_a_long_group_needs_room_for_where_each_of_its_pieces_was(numbers: int, pieces: int) -> None:
    group = Group([Field("numbers", lanes=numbers, group="many")], "many", Moves())
    assert most_kept(group) == group.width + pieces * ORIGIN
    assert group.width >= numbers * ctypes.sizeof(ctypes.c_double)
