"""Batches taken from the queue and decoded, the next one while the database works on the one before."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from gateway.intake import Piece
from gateway.pipeline.batch import Batch
from gateway.pipeline.decode import decode_batch
from gateway.pipeline.dialect import Dialects, Expanded
from gateway.pipeline.packets import device_ids_of
from gateway.pipeline.queue import PacketQueue
from gateway.pipeline.sources import Sources

_GROWS_S: Final = 0.002
"""As long as more comes within this time, a batch that is not full is left to grow: a few large ones cost less."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A batch's worth of packets, as they came and with those of dialects taken apart."""

    pieces: Sequence[Piece]
    expanded: Expanded
    oldest_s: float  # receipt of the oldest packet, the gateway's clock


@dataclass(frozen=True, slots=True)
class _Early:
    """Packets that have left the queue; `batch` is what they say, where nothing had to be waited for."""

    pieces: Sequence[Piece]
    oldest_s: float
    batch: Batch | None
    registry: int  # changes of the directory up to then


class Ahead:
    """Keeps the order of the queue: what was taken ahead is handed out before anything else."""

    def __init__(self, sources: Sources, dialects: Dialects, queue: PacketQueue, now_s: Callable[[], float]) -> None:
        """`now_s` is the gateway's clock."""
        self._sources = sources
        self._dialects = dialects
        self._queue = queue
        self._now_s = now_s
        self._early: _Early | None = None
        self._again: asyncio.TimerHandle | None = None
        self._waited = 0  # packets when it was last looked
        self._in_hand: Sequence[Piece] = ()

    @property
    def has_taken(self) -> bool:
        """Whether packets have left the queue that nobody has been given."""
        return self._early is not None

    def unsettled(self) -> Iterator[Piece]:
        """What has left the queue and is not known to be stored."""
        return chain(self._in_hand, () if self._early is None else self._early.pieces)

    def settled(self) -> None:
        """The batch that was handed out last is stored, and its packets are settled."""
        self._in_hand = ()
        self._look_no_more()

    def oldest_received_s(self) -> float | None:
        """Receipt time of the oldest packet that waits, taken or not, on the gateway's clock."""
        waiting = [self._queue.oldest_received_s(), None if self._early is None else self._early.oldest_s]
        return min((at_s for at_s in waiting if at_s is not None), default=None)

    def look(self) -> None:
        """Take a batch and decode it, as soon as one waits, or enough to which no more comes.

        For when the database has its work to do. What is in a dialect waits for its turn, for it may lean on what has
        been stored of earlier messages; and so do devices that have to be looked up.
        """
        if self._early is not None:
            return
        queue, waited = self._queue, self._waited
        self._look_no_more()
        if not queue.is_worth_a_batch:
            queue.when_worth_it(self.look)
            return
        if queue.packets > waited and not queue.has_a_batch:
            self._waited = queue.packets
            self._again = asyncio.get_running_loop().call_later(_GROWS_S, self.look)
            return
        pieces = self._queue.take()
        is_plain = not self._dialects.concern(pieces) and not self._sources.devices.strangers(device_ids_of(pieces))
        batch = self._decode(Expanded(pieces)) if is_plain else None
        self._early = _Early(pieces, _oldest_s(pieces), batch, self._sources.devices.changes)

    def _look_no_more(self) -> None:
        self._queue.when_worth_it(None)
        self._waited = 0
        if self._again is not None:
            self._again.cancel()
            self._again = None

    async def next(self, meet: Callable[[Sequence[Piece]], Awaitable[None]]) -> tuple[Taken, Batch]:
        """The next batch; `meet` gets devices known that are not."""
        early, self._early = self._early, None
        pieces = self._in_hand = self._queue.take() if early is None else early.pieces
        # A device may have been removed since, or be of another model.
        if early is not None and early.batch is not None and early.registry == self._sources.devices.changes:
            return Taken(early.pieces, Expanded(early.pieces), early.oldest_s), self._fitted(early.batch)
        expanded = self._dialects.expand(pieces)
        await meet(expanded.pieces)
        batch = self._decode(expanded)
        if early is not None and early.batch is not None:  # what it noted of firmware is not noted again
            known = [seen for seen in early.batch.firmware if self._sources.devices.get(seen.device_id) is not None]
            batch = replace(batch, firmware=[*known, *batch.firmware])
        return Taken(pieces, expanded, _oldest_s(pieces)), batch

    def _decode(self, expanded: Expanded) -> Batch:
        return decode_batch(self._sources, expanded.pieces, self._now_s(), expanded.refused)

    def _fitted(self, batch: Batch) -> Batch:
        """The batch for the tables as they are now: one may have got columns since it was decoded."""
        tables = self._sources.tables
        if all(part.table.metrics == tables[part.table.model].metrics for part in batch.readings):
            return batch
        return replace(batch, readings=[part.widened(tables[part.table.model]) for part in batch.readings])


def _oldest_s(pieces: Sequence[Piece]) -> float:
    return min([piece.received_s for piece in pieces])
