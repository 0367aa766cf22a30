"""One transaction per batch: readings, events, quarantine, alarms and counters together, or not at all."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.errors import QuarantineReason
from devices.registry.model import FirmwareSeen
from devices.registry.queries import record_firmware
from gateway.cohorts.turn import Now
from gateway.detect.model import AlarmChange
from gateway.order.keeper import OrderKeeper
from gateway.pipeline.answers import settle_commands
from gateway.pipeline.batch import Batch
from gateway.pipeline.judge import Judge
from gateway.pipeline.refusals import RawElements, quarantine_row
from gateway.pipeline.registrar import Registrar
from gateway.pipeline.sources import Sources
from gateway.pipeline.transactions import Pause, Transactions
from gateway.pipeline.trial import Trial
from gateway.pipeline.unstorable import find_unstorable
from gateway.pipeline.written import Written, told_events
from gateway.store.checkpoints import Checkpoint, prune, put_checkpoints
from gateway.store.identity import all_new
from gateway.store.ownership import OwnershipLostError
from gateway.store.queries import (
    BatchRow,
    put_events,
    put_fills,
    put_quarantine,
    put_statuses,
    put_timer_decision,
)
from gateway.store.readings import has_duplicates, store_readings
from gateway.store.rows import QuarantineRow, StoredReadings
from gateway.store.store import LOST_CONNECTION, Store

Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class Moment:
    """When a batch is judged."""

    now_s: float  # the gateway's clock
    alive_s: float  # the healthy clock


class _ProbeOverError(Exception):
    """Ends a probe, so that nothing of it stays."""


class BatchWriter:
    """Writes batches one after the other, each until it is committed."""

    def __init__(  # noqa: PLR0917 - the parts that a batch passes through
        self,
        store: Store,
        judge: Judge,
        sources: Sources,
        transactions: Transactions,
        order: OrderKeeper,
        log: structlog.typing.FilteringBoundLogger,
        *,
        meanwhile: Callable[[], None],
    ) -> None:
        """`meanwhile` is called while the database works on a batch."""
        self._meanwhile = meanwhile
        self._order = order
        self._store = store
        self._judge = judge
        self._sources = sources
        self._registrar = Registrar(store, sources)
        self._transactions = transactions
        self._log = log
        self._expecting: set[str] = set()  # models whose last batch told something again

    async def write(self, batch: Batch, moment: Moment) -> Written:
        """Commit a batch, however long that takes. Raises OwnershipLostError."""
        batch_seq = self._transactions.batch_seq + 1
        while True:
            try:
                written = await self._transactions.until_committed(
                    batch_seq,
                    partial(self._write, batch=batch, batch_seq=batch_seq, moment=moment),
                    partial(self._make_room, batch=batch),
                )
            except (psycopg.Error, UnicodeError) as error:
                batch = await self._without_unstorable(batch, error)
            else:
                break
        for stored in written.readings:
            expect = self._expecting.add if has_duplicates(stored) else self._expecting.discard
            expect(stored.readings.table.model)
        return written

    async def _make_room(self, conn: Connection, batch: Batch) -> None:
        for readings in batch.readings:
            await self._store.divider.make_room(conn, readings.table.name, readings.ts_us)

    async def _write(self, conn: Connection, batch: Batch, batch_seq: int, moment: Moment) -> Written:
        tenant_id = self._sources.settings.tenant_id
        new_rows = await put_events(conn, batch.events, batch_seq) | await put_statuses(conn, batch.statuses, batch_seq)
        await settle_commands(conn, batch.events, moment.now_s)
        trial = Trial(self._judge, told_events(batch, new_rows), moment.alive_s)
        stored = await self._store_readings(conn, batch, batch_seq, trial)
        refused = [*batch.refused, *self._conflicts(batch, stored)]
        await put_quarantine(conn, self._order.annotated(refused))
        aside = await self._order.put_aside(conn, batch_seq, stored, refused)
        for part in stored:
            await put_fills(conn, tenant_id, part.readings.table.model, part.fills, batch_seq)
        for firmware in _one_per_device(batch.firmware):
            await self._registrar.tell_firmware(conn, await record_firmware(conn, firmware), moment.now_s)
        changes = trial.findings(stored)
        written = Written(batch, stored, new_rows, refused, changes, aside)
        await self._registrar.tell(conn, changes, moment.now_s, moment.alive_s)
        await self._registrar.number(conn, _row_of(written, batch_seq, moment), written)
        return written

    async def _store_readings(
        self, conn: Connection, batch: Batch, batch_seq: int, trial: Trial | None = None
    ) -> list[StoredReadings]:
        """Store a batch's readings, model by model; `trial` is held while the database works on the last of them."""
        stored: list[StoredReadings] = []
        for part in batch.readings:
            expect_duplicates = part.table.model in self._expecting
            is_presumed_new = part is batch.readings[-1] and not expect_duplicates
            meanwhile = partial(self._compute, trial if is_presumed_new else None, [*stored, all_new(part)])
            stored.append(
                await store_readings(
                    conn,
                    part,
                    batch_seq,
                    expect_duplicates=expect_duplicates,
                    encode=self._store.encode,
                    meanwhile=meanwhile,
                )
            )
        return stored

    def _compute(self, trial: Trial | None, presumed: Sequence[StoredReadings]) -> None:
        """What there is to do for a processor while the database has its own work."""
        self._meanwhile()
        if trial is not None:
            trial.presume(presumed)

    def _conflicts(self, batch: Batch, stored: Sequence[StoredReadings]) -> list[QuarantineRow]:
        raws = RawElements(batch.packets)
        found: list[QuarantineRow] = []
        for part in stored:
            for position, detail in part.conflicts.items():
                packet, element = int(part.readings.packet[position]), int(part.readings.element[position])
                raw = raws.raw(packet, element)
                found.append(
                    quarantine_row(self._sources, batch.packets, packet, raw, QuarantineReason.CONFLICT, detail)
                )
        return found

    async def decide(self, moment: Moment) -> Sequence[AlarmChange]:
        """Judge silences; a transaction of its own, if anything comes of it. Raises OwnershipLostError."""
        if not self._judge.due(moment.alive_s, moment.now_s):
            self._judge.commit()
            return ()
        self._judge.rollback()
        batch_seq = self._transactions.batch_seq + 1
        return await self._transactions.until_committed(batch_seq, lambda conn: self._decide(conn, batch_seq, moment))

    async def _decide(self, conn: Connection, batch_seq: int, moment: Moment) -> Sequence[AlarmChange]:
        changes = self._judge.due(moment.alive_s, moment.now_s)
        row = BatchRow(batch_seq, "timer", moment.alive_s, moment.now_s)
        await put_timer_decision(conn, self._sources.settings.tenant_id, row, len(changes))
        await self._registrar.tell(conn, changes, moment.now_s, moment.alive_s)
        await self._registrar.number(conn, row)
        return changes

    async def look_at_fleet(self, moment: Moment) -> bool:
        """See which incidents are over; True if the CRM side was told of something. Raises OwnershipLostError."""
        now = Now(moment.now_s, moment.alive_s)
        return await self._transactions.until_done(partial(self._registrar.look_at_fleet, now=now))

    async def _without_unstorable(self, batch: Batch, error: Exception) -> Batch:
        """The batch with what the database will never take moved to its refused."""

        async def probe(part: Batch) -> None:
            try:
                async with self._store.transaction() as conn:
                    await self._store_readings(conn, part, self._transactions.batch_seq + 1)
                    await put_events(conn, part.events, self._transactions.batch_seq + 1)
                    await put_statuses(conn, part.statuses, self._transactions.batch_seq + 1)
                    raise _ProbeOverError  # noqa: TRY301 - undoes the transaction
            except _ProbeOverError:
                pass

        pause = Pause()
        while True:
            try:
                found = await find_unstorable(batch, probe)
                break
            except LOST_CONNECTION as lost:
                await self._transactions.wait(pause, lost)
        detail = str(error).partition("\n")[0]
        self._log.error("batch.unstorable", rows=len(found), error=type(error).__name__)
        if not found:  # it is not what devices sent: retried for ever, and told each time, rather than dropped
            await self._transactions.wait(pause, error)
            return batch
        refused = _refused(self._sources, batch, found, detail)
        return replace(batch.only(frozenset(batch.rows()) - found), refused=[*batch.refused, *refused])

    async def checkpoint(self, changed: Sequence[Checkpoint], moment: Moment) -> None:
        """Write detector state down, and forget the batches that it includes. Raises OwnershipLostError."""

        async def put(conn: Connection) -> None:
            if not await put_checkpoints(
                conn,
                self._sources.settings.tenant_id,
                self._store.fence,
                changed,
                self._transactions.batch_seq,
                moment.alive_s,
            ):
                raise OwnershipLostError
            await self._order.checkpoint(conn, moment.now_s)
            await prune(conn, self._transactions.batch_seq)

        await self._transactions.until_done(put)
        self._order.checkpointed()

    async def widen(self, model: str, metrics: Sequence[str]) -> None:
        """Give metrics a column of their own, however long that takes."""
        await self._transactions.until_made(partial(self._store.tables.widen, model=model, metrics=metrics))

    async def catch_up(self) -> None:
        """Give those metrics their column for which somebody's reading left no room before."""
        if self._store.tables.is_lacking:
            await self._transactions.until_made(self._store.tables.catch_up)


def _row_of(written: Written, batch_seq: int, moment: Moment) -> BatchRow:
    return BatchRow(
        batch_seq=batch_seq,
        kind="ingest",
        alive_s=moment.alive_s,
        now_s=moment.now_s,
        packets=len(written.batch.packets),
        stored=written.stored,
        duplicates=written.duplicates,
        filled=written.filled,
        quarantined=len(written.refused),
        events=written.new_events,
    )


def _one_per_device(seen: Sequence[FirmwareSeen]) -> list[list[FirmwareSeen]]:
    """Firmware seen, in rounds with each device at most once, in order."""
    rounds: list[dict[str, FirmwareSeen]] = []
    for one in seen:
        for devices in rounds:
            if one.device_id not in devices:
                devices[one.device_id] = one
                break
        else:
            rounds.append({one.device_id: one})
    return [list(devices.values()) for devices in rounds]


def _refused(sources: Sources, batch: Batch, rows: AbstractSet[int], detail: str) -> list[QuarantineRow]:
    raws = RawElements(batch.packets)
    places = [(event.packet, event.element) for event in (*batch.events, *batch.statuses) if event.row in rows]
    for part in batch.readings:
        found = part.take(np.isin(part.row, list(rows)))
        places += zip(found.packet.tolist(), found.element.tolist(), strict=True)
    return [
        quarantine_row(sources, batch.packets, packet, raws.raw(packet, element), QuarantineReason.UNSTORABLE, detail)
        for packet, element in sorted(places)
    ]
