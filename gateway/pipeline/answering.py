"""Tells the doors what became of a batch's packets, once it is committed."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from gateway.intake import Alike, Gathered, Origin, Piece, Verdict

_SOON_S: Final = 0.01  # for when the next batch's readings are slow to get under way, or there are none


class Answers:
    """Owed for the batch that was committed last.

    Answering the devices of a large batch takes milliseconds. Where the next one is at hand, the database gets that
    first: it works while the devices are told, and their next packets come while it does.
    """

    def __init__(self) -> None:
        self._owed: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def owe(self, answer: Callable[[], None], *, is_more_waiting: bool) -> None:
        """Give an answer: soon where there is more to do first, else now. Answers keep their order."""
        self.give()
        self._owed = answer
        if is_more_waiting:
            self._timer = asyncio.get_running_loop().call_later(_SOON_S, self.give)
        else:
            self.give()

    def give(self) -> None:
        """Give the answer that is owed, if one is."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        owed, self._owed = self._owed, None
        if owed is not None:
            owed()


def settle(pieces: Sequence[Piece], verdicts: Sequence[Verdict]) -> None:
    """Tell each origin what became of its packets, piece by piece in the order given; one verdict for each packet.

    One that fails keeps none of the others waiting; the first such error is raised when all have been told.
    """
    told: dict[int, tuple[Origin, list[int], list[Verdict]]] = {}
    alike = verdicts.verdict if isinstance(verdicts, Alike) else None
    start = 0
    for origin, tokens in _by_origin(pieces):
        entry = told.get(id(origin))
        if entry is None:
            entry = told[id(origin)] = (origin, [], [])
        entry[1].extend(tokens)
        if alike is None:
            stop = start + len(tokens)
            entry[2].extend(verdicts[start:stop])
            start = stop
    failed: Exception | None = None
    for origin, its_tokens, its_verdicts in told.values():
        try:
            origin.settle(its_tokens, its_verdicts if alike is None else Alike(alike, len(its_tokens)))
        except Exception as error:  # noqa: BLE001 - a fault of one door's is no reason to leave devices unanswered
            failed = failed or error
    if failed is not None:
        raise failed


def _by_origin(pieces: Iterable[Piece]) -> Iterator[tuple[Origin, Sequence[int]]]:
    """The tokens of each piece with their origin; of what was gathered, each by itself."""
    for origin, _, _, _, _, _, tokens, _ in pieces:
        if isinstance(origin, Gathered):
            yield from zip(origin.origins, zip(tokens, strict=True), strict=True)
        else:
            yield origin, tokens
