"""Transactions that are tried until they stand, exactly once each."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from gateway.pipeline.judge import Judge
from gateway.pipeline.stats import PipelineStats
from gateway.pipeline.troubles import words_of
from gateway.pipeline.unstorable import is_about_data
from gateway.store.store import LOST_CONNECTION, Store

Connection = AsyncConnection[TupleRow]
_Result = TypeVar("_Result")
_Prepare = Callable[[Connection], Awaitable[None]]

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 5.0


@dataclass(slots=True)
class Pause:
    """How long to wait before the next attempt: longer each time, and never the same for two gateways."""

    jitter: Callable[[], float] = random.random
    attempts: int = 0

    def next_s(self) -> float:
        """Seconds before the next attempt."""
        self.attempts += 1
        longest_s = min(_FIRST_PAUSE_S * 2 ** min(self.attempts, 16), _LONGEST_PAUSE_S)
        return longest_s * (0.5 + self.jitter() / 2)


class Transactions:
    """The numbered transactions of ingest, and those beside them; the detectors' turn ends with each."""

    def __init__(
        self,
        store: Store,
        judge: Judge,
        stats: PipelineStats,
        log: structlog.typing.FilteringBoundLogger,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`timer` gives real seconds; the loop's own clock is too coarse: it counts whole milliseconds under uvloop."""
        self.batch_seq = 0  # of the last that was committed
        self.commit_s = 0.0  # how long its COMMIT took to be answered
        self.trouble: str | None = None  # why the last one failed, in words, until one goes through
        self._store = store
        self._judge = judge
        self._stats = stats
        self._log = log
        self.timer = timer

    async def until_done(self, work: Callable[[Connection], Awaitable[_Result]]) -> _Result:
        """Do something that may be done twice in a transaction of its own, however long that takes."""
        pause = Pause()
        while True:
            try:
                async with self._store.transaction() as conn:
                    result = await work(conn)
            except LOST_CONNECTION as error:
                await self.wait(pause, error)
            else:
                self.trouble = None
                return result

    async def until_made(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        """Do something that may be done twice and has transactions of its own, however long that takes."""
        pause = Pause()
        while True:
            try:
                await work(await self._store.connection())
            except LOST_CONNECTION as error:
                await self.wait(pause, error)
            else:
                self.trouble = None
                return

    async def until_committed(
        self, batch_seq: int, work: Callable[[Connection], Awaitable[_Result]], prepare: _Prepare | None = None
    ) -> _Result:
        """Do something in the numbered transaction, exactly once, however long that takes.

        `prepare` runs before it on the same connection, and again before each further attempt. Raises what is about the
        data, and OwnershipLostError.
        """
        pause = Pause()
        while True:
            result: list[_Result] = []
            worked_s = 0.0
            try:
                if prepare is not None:
                    await prepare(await self._store.connection())
                async with self._store.transaction() as conn:
                    result.append(await work(conn))
                    worked_s = self.timer()
                break
            except (*LOST_CONNECTION, psycopg.Error) as error:
                if is_about_data(error):
                    self._judge.rollback()
                    raise
                self._store.divider.forget()
                # With a result, what failed is the COMMIT, and only the database knows what became of it.
                if result and await self._was_committed(batch_seq, error):
                    break
                self._judge.rollback()
                await self.wait(pause, error)
            except BaseException:
                self._judge.rollback()
                raise
        self.commit_s = self.timer() - worked_s
        self._judge.commit()
        self.batch_seq = batch_seq
        self.trouble = None
        return result[0]

    async def _was_committed(self, batch_seq: int, error: BaseException) -> bool:
        pause = Pause()
        while True:
            await self.wait(pause, error)
            try:
                return await self._store.was_committed(batch_seq)
            except LOST_CONNECTION as again:
                error = again

    async def wait(self, pause: Pause, error: BaseException) -> None:
        """Say that an attempt failed, and wait before the next."""
        self.trouble = words_of(error)
        self._stats.retries += 1
        sqlstate = error.sqlstate if isinstance(error, psycopg.Error) else None
        self._log.warning("batch.retry", error=type(error).__name__, sqlstate=sqlstate, attempt=pause.attempts)
        await asyncio.sleep(pause.next_s())
