"""When the doors are told what became of a batch."""

import asyncio

from gateway.pipeline.answering import Answers


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
    async with asyncio.timeout(10):
        await told.changed.wait()
    assert told.batches == [1]
    answers.give()
    assert told.batches == [1]
