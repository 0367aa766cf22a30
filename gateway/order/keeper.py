"""Keeps what is known of devices' numbers and clocks: fed by every batch, written down with the detectors' state.

What a batch says is taken in after its commit. After a crash it is read back: stored readings and events from their
tables, and messages that were not stored for themselves from what the batch wrote aside. So the counts are exact,
however the gateway ended.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.errors import QuarantineReason
from gateway.order import queries
from gateway.order.refused import read_refused
from gateway.order.saved import join, load_aside, load_partition, odd_by_partition, save_aside, save_partition
from gateway.order.settings import OrderSettings
from gateway.order.shown import Shown, changed_views
from gateway.order.totals import OrderTotals
from gateway.order.tracker import Arrivals, Late, Tracker
from gateway.order.words import RIGHT_S, say_clock, state_of
from gateway.store.rows import NO_SEQ, EventRow, Fate, QuarantineRow, Readings, StoredReadings

Connection = AsyncConnection[TupleRow]

FLUSH_EVERY_S: Final = 1.0

Aside = tuple[Arrivals, NDArray[np.bool_]]
"""Messages that are no rows of their own, and which of them completed a stored reading."""


class OrderKeeper:
    """One gateway's knowledge of time and order."""

    def __init__(self, tenant_id: str, settings: OrderSettings, log: structlog.typing.FilteringBoundLogger) -> None:
        self.tracker = Tracker()
        self.lates: dict[str, tuple[Late, int]] = {}  # late readings since the last flush, and the batch of the last
        self.waiting = 0  # devices whose late readings are yet to be judged
        self.rejudged: Counter[str] = Counter()  # since the start, by outcome
        self._flush_at_s = 0.0
        self._tenant_id = tenant_id
        self._settings = settings
        self._log = log
        self._shown: dict[int, Shown] = {}

    async def put_aside(
        self,
        conn: Connection,
        batch_seq: int,
        stored: Sequence[StoredReadings],
        refused: Sequence[QuarantineRow],
    ) -> Aside | None:
        """Write down what a batch brings that is not stored for itself, in the caller's transaction; gives it too."""
        aside = _aside(stored, refused)
        if aside is not None:
            await queries.put_aside(conn, self._tenant_id, batch_seq, save_aside(*aside))
        return aside

    def take_in(
        self,
        batch_seq: int,
        stored: Sequence[StoredReadings],
        events: Sequence[EventRow],
        aside: Aside | None,
    ) -> None:
        """Take in a batch that has been committed; `aside` is what `put_aside` gave for it."""
        self._take_in(batch_seq, [part.new for part in stored], aside, events)

    def replay(
        self, batch_seq: int, readings: Iterable[Readings], events: Sequence[EventRow], aside: bytes | None
    ) -> None:
        """Take in a batch that was committed by an earlier run."""
        self._take_in(batch_seq, readings, None if aside is None else load_aside(aside), events)

    def _take_in(
        self, batch_seq: int, readings: Iterable[Readings], aside: Aside | None, events: Sequence[EventRow]
    ) -> None:
        try:
            for part in readings:
                self.tracker.take_readings(_arrivals(part))
            if aside is not None:
                self.tracker.take_aside(*aside)
            self._finish(batch_seq, events)
        except Exception:  # noqa: BLE001 - the batch is stored; a wrong count must not keep the next from being so
            self._log.exception("order.failed", batch_seq=batch_seq)

    def _finish(self, batch_seq: int, events: Sequence[EventRow]) -> None:
        numbered = [event for event in events if event.seq is not None or event.ts_us != event.received_us]
        if numbered:
            self.tracker.take_events(_events(numbered))
        for slot, late in self.tracker.late.items():
            device_id = self.tracker.ids[slot]
            known = self.lates.get(device_id)
            if known is not None:
                late.add(known[0])
            self.lates[device_id] = (late, batch_seq)
        self.tracker.late.clear()

    async def restore(self, conn: Connection) -> None:
        """Take over what the last run has written down."""
        for state in await queries.read_checkpoints(conn):
            load_partition(self.tracker, state)

    async def checkpoint(self, conn: Connection, now_s: float) -> None:
        """Write down all that is known, in the transaction that writes the detectors' state."""
        await self.flush(conn, now_s)
        odd = odd_by_partition(self.tracker)
        for partition in np.flatnonzero(self.tracker.touched).tolist():
            state = save_partition(self.tracker, partition, odd.get(partition, ()))
            await queries.put_checkpoint(conn, self._tenant_id, partition, state)

    def checkpointed(self) -> None:
        """What was written down stands."""
        self.flushed()
        self.tracker.touched[:] = False

    @property
    def has_news(self) -> bool:
        """Whether there is anything to flush."""
        return bool(self.tracker.changed or self.lates)

    def is_due(self, loop_s: float) -> bool:
        """Whether it is time to flush; what changes again and again is written once for a while."""
        is_due = self.has_news and loop_s >= self._flush_at_s
        if is_due:
            self._flush_at_s = loop_s + FLUSH_EVERY_S
        return is_due

    async def flush(self, conn: Connection, now_s: float) -> None:
        """Write what is shown of devices where it has changed, and whose readings came late; in a transaction."""
        await queries.put_views(conn, self._tenant_id, changed_views(self.tracker, self._shown))
        waits = queries.Waits(
            now_s, self._settings.rejudge_after, self._settings.rejudge_every, self._settings.rejudge_rest
        )
        await queries.put_lates(conn, self._tenant_id, self.lates, waits)

    def flushed(self) -> None:
        """What was written stands."""
        for slot in self.tracker.changed:
            self._shown[slot] = Shown.of(self.tracker.view(slot))
        self.tracker.changed.clear()
        self.lates.clear()

    def totals(self) -> OrderTotals:
        """The fleet in numbers."""
        missing = self.tracker.missing
        off, none = self.tracker.clocks.count_off(RIGHT_S)
        return OrderTotals(
            missing=int(missing.sum()),
            devices_with_gaps=int((missing > 0).sum()),
            clocks_off=off,
            clockless=none,
            waiting=self.waiting,
            rejudged=dict(self.rejudged),
        )

    def annotated(self, refused: Sequence[QuarantineRow]) -> list[QuarantineRow]:
        """The same, with what is known of the clock of a device that speaks of the far future."""
        return [
            replace(row, detail=f"{row.detail}; {said}")
            if row.reason == QuarantineReason.FAR_FUTURE and (said := self.clock_in_words(row.device_id))
            else row
            for row in refused
        ]

    def clock_in_words(self, device_id: str) -> str | None:
        """What is known of a device's clock, where it is not right."""
        slot = self.tracker.slot_of(device_id)
        if slot is None:
            return None
        clock = self.tracker.clocks.view(slot)
        return say_clock(clock) if state_of(clock) in {"ahead", "behind"} else None


def _arrivals(readings: Readings) -> Arrivals:
    return Arrivals(readings.device_ids, readings.device, readings.seq, readings.ts_us, readings.received_us)


def _aside(stored: Sequence[StoredReadings], refused: Sequence[QuarantineRow]) -> Aside | None:
    """Messages that are no rows of their own: told again, completing, contradicting, refused."""
    parts: list[Aside] = []
    for part in stored:
        again = part.fates != Fate.NEW
        if again.any():
            parts.append((_arrivals(part.readings.take(again)), part.fates[again] == Fate.FILL))
    told = read_refused(refused)
    if told is not None:
        parts.append(told)
    return join(parts) if parts else None


def _events(events: Sequence[EventRow]) -> Arrivals:
    index_of: dict[str, int] = {}
    return Arrivals(
        device=np.array([index_of.setdefault(event.device_id, len(index_of)) for event in events], np.int32),
        device_ids=tuple(index_of),
        seq=np.array([NO_SEQ if event.seq is None else event.seq for event in events], np.int64),
        ts_us=np.array([event.ts_us for event in events], np.int64),
        received_us=np.array([event.received_us for event in events], np.int64),
    )
