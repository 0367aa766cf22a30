"""Takes quarantined packets through the pipeline again, when somebody has asked for it."""

from collections.abc import Sequence
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from gateway.intake import Bunch, Counted, Kept, Route, Verdict
from gateway.pipeline.clockless import from_us_by_bytes
from gateway.pipeline.queue import PacketQueue
from gateway.store.quarantine import Requested, finish_replays, list_requested
from gateway.store.times import us_of

Connection = AsyncConnection[TupleRow]

_AT_ONCE: Final = 500


class Replays:
    """An origin of packets like any other: they come from the quarantine, and their verdict goes back there."""

    keeps_order = False

    def __init__(self, queue: PacketQueue) -> None:
        self._queue = queue
        self._under_way: set[int] = set()
        self._outcomes: list[tuple[int, str]] = []

    @property
    def is_under_way(self) -> bool:
        """Whether the outcome of a replay is not written down yet: asking for it again would be forgotten with it."""
        return bool(self._under_way or self._outcomes)

    def settle(self, tokens: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        """Take the verdicts on replayed packets."""
        self._outcomes += zip(tokens, map(_outcome, verdicts), strict=True)

    async def go_on(self, conn: Connection) -> None:
        """Write down what replays came to, and submit those asked for since; in the caller's transaction.

        A replay whose outcome was lost in a crash is done again, which changes nothing: it finds duplicates. Verdicts
        that come meanwhile wait for the next time.
        """
        outcomes = self._outcomes.copy()
        if outcomes:
            await finish_replays(conn, outcomes)
        finished = {one for one, _ in outcomes}
        room = _AT_ONCE - len(self._under_way)
        if room <= 0 and not finished:
            return
        for entry in await list_requested(conn, sorted(self._under_way - finished), max(room, 1)):
            if entry.quarantine_id not in self._under_way:
                self._under_way.add(entry.quarantine_id)
                self._queue.put([self._bunch(entry)])
        self._under_way -= finished
        del self._outcomes[: len(outcomes)]

    def _bunch(self, entry: Requested) -> Bunch:
        from_us = from_us_by_bytes(us_of(entry.first_received_at), entry.raw)
        if entry.counted_from is not None:
            from_us = us_of(entry.counted_from)
        return Bunch(
            origin=Kept(self) if entry.retained else Counted(self, from_us),
            route=Route(entry.route),
            device_id=entry.device_id,
            topic=entry.topic,
            codec=entry.codec,
            received_s=entry.first_received_at.timestamp(),
            tokens=[entry.quarantine_id],
            payloads=[entry.raw],
        )


def _outcome(verdict: Verdict) -> str:
    if verdict.quarantined:
        return "quarantined"
    if verdict.stored:
        return "stored"
    return "filled" if verdict.filled else "duplicate"
