"""When the doors are told what became of a batch."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.intake import Alike, Bunch, Route, Verdict
from gateway.pipeline.answering import Answers, settle


class Told:
    """What was answered, in order."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.changed = asyncio.Event()

    def __call__(self, batch: int) -> None:
        """Answer a batch."""
        self.batches.append(batch)
        self.changed.set()


async def test_with_nothing_else_to_do_a_batch_is_answered_at_once() -> None:
    told, answers = Told(), Answers()
    answers.owe(lambda: told(1), is_more_waiting=False)
    assert told.batches == [1]
    answers.give()
    assert told.batches == [1]


async def test_the_next_batch_comes_first_and_answers_keep_their_order() -> None:
    told, answers = Told(), Answers()
    answers.owe(lambda: told(1), is_more_waiting=True)
    assert told.batches == []
    answers.give()
    assert told.batches == [1]
    answers.owe(lambda: told(2), is_more_waiting=True)
    answers.owe(lambda: told(3), is_more_waiting=False)
    assert told.batches == [1, 2, 3]


async def test_an_answer_does_not_wait_for_a_batch_that_does_not_get_under_way() -> None:
    told, answers = Told(), Answers()
    answers.owe(lambda: told(1), is_more_waiting=True)
    async with asyncio.timeout(120):
        await told.changed.wait()
    assert told.batches == [1]
    answers.give()
    assert told.batches == [1]


class Door:
    """An origin that notes what it is told, or fails to."""

    keeps_order = False

    def __init__(self, error: Exception | None = None) -> None:
        self.told: list[int] = []
        self._error = error

    def settle(self, tokens: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        """Note it."""
        if self._error is not None:
            raise self._error
        assert len(tokens) == len(verdicts)
        self.told += tokens


@pytest.mark.parametrize("verdicts", [[Verdict(stored=1)] * 3, Alike(Verdict(stored=1), 3)])
def test_a_door_that_fails_leaves_no_other_unanswered(verdicts: Sequence[Verdict]) -> None:
    broken, whole = Door(RuntimeError("closed")), Door()
    pieces = [
        Bunch(door, Route.TELEMETRY, "d", "devices/d/telemetry", "careloop", 0.0, tokens, [b"{}"] * len(tokens))
        for door, tokens in ((broken, [1]), (whole, [2, 3]))
    ]
    with pytest.raises(RuntimeError, match="closed"):
        settle(pieces, verdicts)
    assert whole.told == [2, 3]
