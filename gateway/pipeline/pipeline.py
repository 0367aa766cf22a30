"""The pipeline: takes packets from the doors, and settles them once what they said is stored and judged.

submit ─▶ queue ─▶ decode ─▶ transaction (store, judge, alarms, counters) ─▶ commit ─▶ settle, taps, CRM
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

import structlog

from devices.clock import Clock
from devices.payloads import Codec
from devices.payloads.dialect import is_dialect
from gateway.intake import NO_ANSWER, Piece
from gateway.order.keeper import OrderKeeper
from gateway.pipeline.directory import DeviceDirectory
from gateway.pipeline.ingest import Ingest, Parts
from gateway.pipeline.judge import Engine
from gateway.pipeline.pace import Pace
from gateway.pipeline.queue import PacketQueue
from gateway.pipeline.recovery import Recovery
from gateway.pipeline.settings import PipelineSettings
from gateway.pipeline.stats import PipelineStats
from gateway.pipeline.taps import Taps
from gateway.pipeline.timings import BatchTimings
from gateway.pipeline.troubles import words_of
from gateway.store.store import LOST_CONNECTION, Connection, Store

_TICK_S: Final = 0.2
_REOPEN_S: Final = 0.5
_FLUSH_TIMEOUT_S: Final = 10.0


def _always() -> bool:
    return True


def _nothing() -> None:
    return None


class Pipeline:
    """The way from packets to settled packets; the doors see it as their `Intake`."""

    def __init__(  # noqa: PLR0917 - the composition root passes everything down
        self,
        settings: PipelineSettings,
        store: Store,
        engine: Engine,
        devices: DeviceDirectory,
        codecs: Mapping[str, Codec],
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        *,
        doors_healthy: Callable[[], bool] = _always,
        on_alarms: Callable[[], None] = _nothing,
        make_engine: Callable[[], Engine] | None = None,
    ) -> None:
        """Put the pipeline together; `on_alarms` is called after a commit that handed alarms to the CRM side.

        `make_engine` gives detectors that know nothing yet, for judging devices anew whose readings came late.
        """
        self.stats = PipelineStats()
        self.order = OrderKeeper(settings.tenant_id, settings.order, log)
        self.timings = BatchTimings()
        self.pace = Pace()
        self.taps = Taps()
        self._queue = PacketQueue(settings.batch, [name for name, codec in codecs.items() if is_dialect(codec)])
        self._parts = Parts(
            settings=settings,
            store=store,
            engine=engine,
            devices=devices,
            codecs=codecs,
            clock=clock,
            log=log,
            queue=self._queue,
            stats=self.stats,
            timings=self.timings,
            pace=self.pace,
            taps=self.taps,
            doors_healthy=doors_healthy,
            on_alarms=on_alarms,
            order=self.order,
            make_engine=make_engine,
        )
        self._ingest: Ingest | None = None
        self._is_stopping = False
        self._waits_for: str | None = None  # before the database is owned

    def prior_of(self, device_id: str) -> int:
        """The number of what was known beforehand when a device was first heard."""
        return self._parts.engine.prior_of(device_id)

    def submit(self, pieces: Sequence[Piece]) -> bool:
        """Take packets, always; False asks the door to stop reading until `when_ready` calls back."""
        return self._queue.put(pieces)

    def when_ready(self, resume: Callable[[], None], *, little: bool = False) -> None:
        """Call `resume` once, in the event loop, when there is room again; for a `little`, as soon as there is any."""
        self._queue.when_ready(resume, little=little)

    @property
    def healthy(self) -> bool:
        """Whether this gateway owns the database, and its transactions go through."""
        return self.trouble is None

    @property
    def trouble(self) -> str | None:
        """What keeps readings from being stored, in words; None when nothing does."""
        return self._starting if self._ingest is None else self._ingest.trouble

    @property
    def _starting(self) -> str:
        if self._parts.store.is_standby:
            return "standby: another gateway owns the database; this one takes over when that one ends"
        return self._waits_for or "detectors are being brought to where they were"

    @property
    def queue(self) -> PacketQueue:
        """What waits for a batch, for those who look at it."""
        return self._queue

    async def run(self) -> None:
        """Work until cancelled; then store and settle what has been taken, and let go of the database.

        Raises OwnershipLostError when another gateway has taken over: the process must start anew.
        """
        work = asyncio.create_task(self._work(), name="pipeline.work")
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            self._is_stopping = True
            if self._ingest is not None:  # else there is nothing that could be stored
                await asyncio.wait({work}, timeout=_FLUSH_TIMEOUT_S)
            raise
        finally:
            work.cancel()
            await asyncio.wait({work})
            self._tell_given_up()
            self._ingest = None
            await self._parts.store.close()

    def _tell_given_up(self) -> None:
        """Say what a stop without a database loses: at QoS 0 nobody sends again what was not stored."""
        taken = () if self._ingest is None else self._ingest.unsettled()
        left = [token for piece in chain(taken, self._queue.waiting()) for token in piece.tokens]
        self.stats.given_up = left.count(NO_ANSWER)
        if left:
            self._parts.log.warning(
                "pipeline.given_up", lost_at_qos_0=self.stats.given_up, sent_again=len(left) - self.stats.given_up
            )

    async def _work(self) -> None:
        ingest = self._ingest = await self._start()
        while not (self._is_stopping and not self._queue.packets and not ingest.has_taken):
            if ingest.has_taken or await self._queue.wait(0.0 if self._is_stopping else _TICK_S):
                await ingest.take_in()
            await ingest.keep_house()
        await ingest.checkpoint()

    async def _start(self) -> Ingest:
        """Own the database, and bring the detectors to where they were, however often it goes away meanwhile."""
        while True:
            conn = await self._open()
            parts, store = self._parts, self._parts.store
            parts.log.info(
                "store.opened", database=store.edition.describe() if store.edition else "", fence=store.fence
            )
            recovery = Recovery(parts.engine, store.profiles, store.tables.all(), parts.log, parts.order)
            try:
                return Ingest(parts, await recovery.run(conn))
            except LOST_CONNECTION as error:
                if parts.make_engine is None:
                    raise
                await self._wait_for_database("detect.not_recovered", error)
                # What these have taken in already must not be taken in twice.
                self.order = OrderKeeper(parts.settings.tenant_id, parts.settings.order, parts.log)
                self._parts = replace(parts, engine=parts.make_engine(), order=self.order)

    async def _open(self) -> Connection:
        while True:
            try:
                conn = await self._parts.store.open()
            except LOST_CONNECTION as error:
                await self._wait_for_database("store.unreachable", error)
            else:
                self._waits_for = None
                return conn

    async def _wait_for_database(self, event: str, error: BaseException) -> None:
        self._parts.log.warning(event, error=type(error).__name__)
        self._waits_for = words_of(error)
        await asyncio.sleep(_REOPEN_S)
