"""Batches taken from the queue and decoded, the next one while the database works on the one before."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from gateway.intake import Bunch
from gateway.pipeline.batch import Batch
from gateway.pipeline.decode import Sources, decode_batch
from gateway.pipeline.dialect import Dialects, Expanded
from gateway.pipeline.queue import PacketQueue


@dataclass(frozen=True, slots=True)
class Taken:
    """A batch's worth of packets; `batch` is None while one of their devices has to be looked up first."""

    bunches: Sequence[Bunch]
    expanded: Expanded
    oldest_s: float  # receipt of the oldest packet, the gateway's clock
    batch: Batch | None


class Ahead:
    """Keeps the order of the queue: what was taken ahead is handed out before anything else."""

    def __init__(self, sources: Sources, dialects: Dialects, queue: PacketQueue, now_s: Callable[[], float]) -> None:
        """`now_s` is the gateway's clock."""
        self._sources = sources
        self._dialects = dialects
        self._queue = queue
        self._now_s = now_s
        self._taken: Taken | None = None

    @property
    def has_taken(self) -> bool:
        """Whether packets have left the queue that nobody has been given."""
        return self._taken is not None

    def oldest_received_s(self) -> float | None:
        """Receipt time of the oldest packet that waits, taken or not, on the gateway's clock."""
        waiting = [self._queue.oldest_received_s(), None if self._taken is None else self._taken.oldest_s]
        return min((at_s for at_s in waiting if at_s is not None), default=None)

    def look(self) -> None:
        """Take a batch and decode it, if enough waits for one; for when the database has its work to do."""
        if self._taken is None and self._queue.has_half_a_batch:
            self._taken = self._take()

    async def next(self, meet: Callable[[Sequence[Bunch]], Awaitable[None]]) -> tuple[Taken, Batch]:
        """The next batch; `meet` gets devices known that are not."""
        taken = self._taken or self._take()
        self._taken = None
        batch = taken.batch
        if batch is None:
            await meet(taken.expanded.bunches)
            batch = self._decode(taken.expanded)
        return taken, self._fitted(batch)

    def _take(self) -> Taken:
        bunches = self._queue.take()
        expanded = self._dialects.expand(bunches)
        oldest_s = min([bunch.received_s for bunch in bunches])
        is_strange = self._sources.devices.strangers([bunch.device_id for bunch in expanded.bunches])
        return Taken(bunches, expanded, oldest_s, None if is_strange else self._decode(expanded))

    def _decode(self, expanded: Expanded) -> Batch:
        return decode_batch(self._sources, expanded.bunches, self._now_s(), expanded.refused)

    def _fitted(self, batch: Batch) -> Batch:
        """The batch for the tables as they are now: one may have got columns since it was decoded."""
        tables = self._sources.tables
        if all(part.table.metrics == tables[part.table.model].metrics for part in batch.readings):
            return batch
        return replace(batch, readings=[part.widened(tables[part.table.model]) for part in batch.readings])
