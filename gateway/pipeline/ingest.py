"""The pipeline's work once the database is owned: batch after batch, and what has to be done between them."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from devices.clock import Clock
from devices.errors import Rejected
from devices.payloads import Codec
from devices.registry.model import Device
from devices.registry.queries import find_devices, register_device
from gateway.detect.model import AlarmChange
from gateway.intake import Piece, Route
from gateway.order.keeper import OrderKeeper
from gateway.pipeline.ahead import Ahead, Taken
from gateway.pipeline.answering import Answers, settle
from gateway.pipeline.dialect import Dialects
from gateway.pipeline.directory import DeviceDirectory
from gateway.pipeline.health import HealthyClock
from gateway.pipeline.judge import Engine, Judge
from gateway.pipeline.pace import Pace
from gateway.pipeline.packets import device_ids_of
from gateway.pipeline.partings import Partings
from gateway.pipeline.priors import Priors
from gateway.pipeline.promotion import Promotion
from gateway.pipeline.queue import PacketQueue
from gateway.pipeline.recovery import Recovered
from gateway.pipeline.registrar import Registrar
from gateway.pipeline.rejudger import Bench, Rejudger
from gateway.pipeline.replay import Replays
from gateway.pipeline.settings import PipelineSettings
from gateway.pipeline.sources import AUTOMATIC, Sources
from gateway.pipeline.stats import PipelineStats
from gateway.pipeline.taps import Taps
from gateway.pipeline.timings import BatchTimings
from gateway.pipeline.transactions import Transactions
from gateway.pipeline.writer import BatchWriter, Moment
from gateway.pipeline.written import Written, verdicts_of
from gateway.store.checkpoints import Checkpoint
from gateway.store.ownership import OwnershipLostError, hold_fence
from gateway.store.store import Connection, Store

_HOUSEKEEPING_S: Final = 0.2
_REPLAYS_S: Final = 1.0
_PARTINGS_S: Final = 1.0
_TOO_LONG_S: Final = 3.0  # for a batch; then it is said that the database is slow
_UNKNOWN_FOR_S: Final = 5.0  # before a device that is not registered is looked up again
FLEET_EVERY_S: Final = 3600.0  # between looks at incidents; the gateway's clock
_MOST_UNKNOWN: Final = 10_000


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pipeline is put together from."""

    settings: PipelineSettings
    store: Store
    engine: Engine
    devices: DeviceDirectory
    codecs: Mapping[str, Codec]
    clock: Clock
    log: structlog.typing.FilteringBoundLogger
    queue: PacketQueue
    stats: PipelineStats
    timings: BatchTimings
    pace: Pace
    taps: Taps
    doors_healthy: Callable[[], bool]
    on_alarms: Callable[[], None]
    order: OrderKeeper
    make_engine: Callable[[], Engine] | None


class Ingest:
    """Takes batches in, judges silences, writes checkpoints, and replays quarantine; one thing at a time."""

    def __init__(self, parts: Parts, recovered: Recovered) -> None:
        settings, store = parts.settings, parts.store
        self._parts = parts
        self._sources = Sources(settings, parts.devices, parts.codecs, store.profiles, store.tables)
        judge = Judge(parts.engine, store.profiles, parts.log, self._sources.profile_of)
        self._transactions = Transactions(store, judge, parts.stats, parts.log)
        self._transactions.batch_seq = recovered.batch_seq
        self._replays = Replays(parts.queue)
        self._dialects = Dialects(
            parts.codecs, settings.authority, settings.ingest.max_payload_bytes, replays=self._replays
        )
        self._ahead = Ahead(self._sources, self._dialects, parts.queue, parts.clock.now_s)
        self._writer = BatchWriter(
            store, judge, self._sources, self._transactions, parts.order, parts.log, meanwhile=self._meanwhile
        )
        self._health = HealthyClock(settings.ingest.outage_grace, recovered.healthy_s)
        self._partings = Partings(parts.engine, judge, self._transactions, Registrar(store, self._sources))
        self._priors = Priors(parts.engine, self._transactions, Registrar(store, self._sources))
        self._promotion = Promotion()
        self._rejudger = Rejudger(
            Bench(
                settings.order,
                store,
                judge,
                self._sources,
                self._transactions,
                parts.order,
                parts.make_engine,
                parts.log,
            )
        )
        self._unknown: dict[str, float] = {}
        self._answers = Answers()
        self._busy_since_s: float | None = None
        self._housekeeping_at_s = self._replays_at_s = self._fleet_at_s = self._fleet_loop_s = self._partings_at_s = 0.0
        self._checkpoint_at_s = self._loop_s() + settings.ingest.checkpoint_every
        if recovered.batches:  # soon: who is killed again and again must not have more to judge with each start
            self._checkpoint_at_s = self._loop_s()
        parts.pace.begin(self._loop_s())
        self._moment(None)  # the grace after the outage that a start is begins now

    @property
    def trouble(self) -> str | None:
        """What keeps readings from being stored, in words; None when nothing does."""
        if self._transactions.trouble is not None:
            return f"{self._transactions.trouble}; what has come waits and is tried again"
        waits_s = 0.0 if self._busy_since_s is None else self._loop_s() - self._busy_since_s
        return f"a batch has been waiting for the database for {waits_s:.0f} s" if waits_s > _TOO_LONG_S else None

    @property
    def has_taken(self) -> bool:
        """Whether a batch has left the queue that is not stored."""
        return self._ahead.has_taken

    def unsettled(self) -> Iterator[Piece]:
        """What has been taken from the queue and is not known to be stored."""
        return self._ahead.unsettled()

    async def take_in(self) -> None:
        """Store and judge a batch of what waits, then settle it. Raises OwnershipLostError."""
        self._busy_since_s = self._loop_s()
        try:
            await self._store()
        except BaseException:
            self._answers.give()  # to the batch before, which stands
            raise
        self._busy_since_s = None

    def _meanwhile(self) -> None:
        """What there is to do while the database has its own work."""
        self._answers.give()
        self._ahead.look()

    async def _store(self) -> None:
        taken, batch = await self._ahead.next(self._meet)
        oldest_s = taken.oldest_s
        moment = self._moment(oldest_s)
        begun_s = self._transactions.timer()
        written = await self._writer.write(batch, moment)
        took_s = self._transactions.timer() - begun_s
        self._ahead.settled()
        self._answers.owe(partial(self._settle, taken, written), is_more_waiting=self._ahead.has_taken)
        self._dialects.committed(taken.expanded)
        self._parts.order.take_in(self._transactions.batch_seq, written.readings, written.told_events(), written.aside)
        self._account(written, self._parts.clock.now_s() - oldest_s, took_s)
        self._announce(written.changes)
        await self._promote(written)

    def _settle(self, taken: Taken, written: Written) -> None:
        verdicts = verdicts_of(written)
        of_messages = taken.expanded.verdicts_of_messages(verdicts)
        self._parts.queue.learn(taken.pieces, of_messages)
        settle(taken.pieces, of_messages)
        self._parts.taps.tell(written.batch.packets, verdicts)

    async def keep_house(self) -> None:
        """What is due between batches. Raises OwnershipLostError."""
        loop_s = self._loop_s()
        if loop_s < self._housekeeping_at_s:
            return
        self._housekeeping_at_s = loop_s + _HOUSEKEEPING_S
        self._parts.stats.queued_packets = self._parts.queue.packets
        await self._part(loop_s)
        moment = self._moment(self._ahead.oldest_received_s())
        self._announce(await self._writer.decide(moment))
        if loop_s >= self._replays_at_s:
            self._replays_at_s = loop_s + _REPLAYS_S
            if self._dialects.has_recalls and not self._replays.is_under_way:
                await self._transactions.until_done(self._dialects.recall)
                self._dialects.recalled()
            await self._transactions.until_done(self._replays.go_on)
        if self._parts.order.is_due(loop_s):
            await self._transactions.until_done(self._flush_order)
            self._parts.order.flushed()
        await self._look_at_fleet(loop_s, moment)
        await self._priors.go_on(self._parts.clock.now_s(), self._health.now_s)
        self._announce(await self._rejudger.go_on(self._parts.clock.now_s(), self._health.now_s))
        if loop_s >= self._checkpoint_at_s:
            await self._writer.catch_up()
            await self.checkpoint()
        self._parts.stats.housekeepings += 1

    async def _part(self, loop_s: float) -> None:
        """Forget devices that were removed or have another owner."""
        if not self._parts.devices.take_gone() and loop_s < self._partings_at_s:
            return
        self._partings_at_s = loop_s + _PARTINGS_S
        moment = self._moment(self._ahead.oldest_received_s())
        done = await self._partings.go_on(moment.now_s, moment.alive_s)
        if done.device_ids:
            self._rejudger.drop(done.device_ids)
            self._partings_at_s = loop_s  # there may be more
            self._parts.log.info("detect.forgotten", devices=len(done.device_ids), alarms=len(done.changes))
        self._announce(done.changes)

    async def _flush_order(self, conn: Connection) -> None:
        if not await hold_fence(conn, self._parts.store.fence):
            raise OwnershipLostError
        await self._parts.order.flush(conn, self._parts.clock.now_s())

    async def _look_at_fleet(self, loop_s: float, moment: Moment) -> None:
        """Look at what befell many devices, at a moment up to which their silences have been decided."""
        now_s = moment.now_s
        if now_s < self._fleet_at_s or loop_s < self._fleet_loop_s or not self._parts.settings.fleet.enabled:
            return
        self._fleet_at_s, self._fleet_loop_s = now_s + FLEET_EVERY_S, loop_s + _REPLAYS_S
        if await self._writer.look_at_fleet(moment):
            self._parts.on_alarms()

    async def checkpoint(self) -> None:
        """Write down the state of the partitions that have changed. Raises OwnershipLostError."""
        self._checkpoint_at_s = self._loop_s() + self._parts.settings.ingest.checkpoint_every
        engine = self._parts.engine
        changed: list[Checkpoint] = []
        for number in sorted(engine.dirty()):
            changed.append(Checkpoint(number, engine.version, 0, engine.checkpoint(number)))
            await asyncio.sleep(0)  # a large fleet's state takes seconds: doors and API have their turn in between
        if changed:
            await self._writer.checkpoint(changed, Moment(self._parts.clock.now_s(), self._health.now_s))
            self._parts.log.debug(
                "detect.checkpointed", partitions=len(changed), batch_seq=self._transactions.batch_seq
            )

    def _moment(self, oldest_s: float | None) -> Moment:
        """Now; the healthy clock does not run ahead of a packet that waits, nor while the doors hold back."""
        now_s = self._parts.clock.now_s()
        is_healthy = (
            self._parts.doors_healthy() and self._transactions.trouble is None and not self._parts.queue.is_full
        )
        until_s = now_s if oldest_s is None else min(now_s, oldest_s)
        return Moment(now_s, self._health.advance(until_s, is_healthy=is_healthy))

    async def _meet(self, pieces: Sequence[Piece]) -> None:
        """Look up devices that the directory does not know; register them where the policy says so."""
        known = self._parts.devices
        strange = known.strangers(device_ids_of(pieces))
        if not strange:
            return
        strange &= device_ids_of(piece for piece in pieces if piece.route is not Route.UNKNOWN) - {""}
        loop_s = self._loop_s()
        if len(self._unknown) > _MOST_UNKNOWN:
            self._unknown.clear()
        wanted = sorted(name for name in strange if self._unknown.get(name, loop_s) <= loop_s)
        if not wanted:
            return
        for device in await self._transactions.until_done(partial(self._find, device_ids=wanted)):
            known.put(device)
        self._unknown.update((name, loop_s + _UNKNOWN_FOR_S) for name in wanted if known.get(name) is None)

    async def _find(self, conn: Connection, device_ids: Sequence[str]) -> list[Device]:
        if self._parts.settings.ingest.unknown_device == "quarantine":
            return await find_devices(conn, device_ids)
        devices: list[Device] = []
        for device_id in device_ids:
            with suppress(Rejected):  # it was removed, or is another tenant's
                devices.append(await register_device(conn, self._parts.settings.tenant_id, device_id, None, "auto"))
        return devices

    def _account(self, written: Written, lag_s: float, took_s: float) -> None:
        self._parts.stats.count(written, lag_s)
        self._parts.timings.observe(written.told, took_s, self._transactions.commit_s, lag_s)
        self._parts.pace.observe(written.stored, self._loop_s())
        self._parts.log.debug(
            "batch.committed",
            batch_seq=self._transactions.batch_seq,
            packets=len(written.batch.packets),
            stored=written.stored,
            duplicates=written.duplicates,
            filled=written.filled,
            quarantined=len(written.refused),
            events=written.new_events,
            alarms=len(written.changes),
            took_s=round(took_s, 3),
            lag_s=round(lag_s, 3),
        )

    def _announce(self, changes: Sequence[AlarmChange]) -> None:
        if changes:
            self._parts.on_alarms()

    async def _promote(self, written: Written) -> None:
        for stored in written.readings:
            if stored.new.table.model == AUTOMATIC and stored.new.extra:
                self._promotion.note(stored.new.extra.values())
                names = self._promotion.take(self._parts.store.tables[AUTOMATIC])
                if names:
                    await self._writer.widen(AUTOMATIC, names)
                    columns = len(self._parts.store.tables[AUTOMATIC].columns)
                    self._parts.log.info("store.widened", table=stored.new.table.name, columns=columns)

    @staticmethod
    def _loop_s() -> float:
        return asyncio.get_running_loop().time()
