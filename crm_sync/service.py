"""crm_sync at work: the inbox, the steps held for their hour, and delivery, side by side."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from crm_sync import holds, inbox
from crm_sync.adapters.rest.shared_limits import share
from crm_sync.cases import step_approvals, step_queries, steps
from crm_sync.cases.callback import apply_callback
from crm_sync.cases.desk import Desk
from crm_sync.cases.step_queries import Step
from crm_sync.catching_up import Heads, look_after_release, look_again
from crm_sync.delivery.channels import close_channels, open_channels
from crm_sync.delivery.deliverer import Deliverer
from crm_sync.following import follow_fixes
from crm_sync.inbox_worker import InboxWorker
from crm_sync.keeping import Keeper
from crm_sync.records.owner_polling import OwnerPolling
from crm_sync.records.polling import Polling
from crm_sync.records.rounds import Rounds
from crm_sync.send_check import SendCheck
from crm_sync.stats import CrmStats
from devices.clock import Clock, to_datetime
from devices.errors import Retryable

STEPS_PER_LOOK: Final = 100
KEEP_WORKED_S: Final = 7 * 86400.0  # notices that were worked stay this long, for questions
RETRY_S: Final = 1.0
TIDY_S: Final = 30.0  # real seconds

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]
Log = structlog.typing.FilteringBoundLogger


class CrmSync:
    """Turns alarms into cases, and keeps CRMs informed, for as long as `run` runs."""

    def __init__(
        self,
        desk: Desk,
        pool: Pool,
        clock: Clock,
        log: Log,
        *,
        tenant_id: str = "default",
        heads: Heads | None = None,
    ) -> None:
        """`heads` lets stale alarms be looked at again. Raises ConfigError where an endpoint cannot be set up."""
        settings = self._settings = desk.settings
        self._pool = pool
        self._clock = clock
        self._log = log
        self._desk = desk
        self._tenant_id = tenant_id
        self.stats = CrmStats()
        self._inbox = InboxWorker(self._desk, pool, clock, log, stats=self.stats)
        self._channels = open_channels(settings.endpoints, partial(share, pool, tenant_id))
        self._deliverer = Deliverer(
            tenant_id,
            self._channels,
            pool,
            SendCheck(self._desk).may_send,
            clock=clock,
            log=log,
            stats=self.stats,
        )
        apply = partial(apply_callback, wording=desk.wording)
        self._polling = Polling(tenant_id, self._channels, pool, apply=apply, clock=clock, log=log)
        self._rounds = Rounds(
            tenant_id, self._channels, pool, settings.reconcile, clock=clock, log=log, stats=self.stats
        )
        self._owner_polling = OwnerPolling(tenant_id, self._channels, pool, clock=clock, log=log)
        self._heads = heads
        self._keeper = Keeper(desk, pool, clock, tenant_id, log)
        self._kept_s = -math.inf  # real
        self._notices_wait = asyncio.Event()

    def wake(self) -> None:
        """Look at the inbox now: alarms were committed to it."""
        self._notices_wait.set()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._work_inbox(), name="crm inbox")
                tasks.create_task(self._release_steps(), name="crm held steps")
                tasks.create_task(self._tidy(), name="crm tidying")
                tasks.create_task(self._deliverer.run(), name="crm delivery")
                tasks.create_task(self._polling.run(), name="crm polling")
                tasks.create_task(self._rounds.run(), name="crm reconciling")
                tasks.create_task(self._owner_polling.run(), name="crm owners")
        finally:
            await close_channels(self._channels)

    async def _work_inbox(self) -> None:
        while True:
            self._notices_wait.clear()
            if time.monotonic() - self._kept_s >= self._settings.poll_interval:
                await self._survive(self._keep)
                await self._survive(self._release_held)
                if await self._survive(self._follow_fixes) > 0:
                    self._deliverer.wake()
                self._kept_s = time.monotonic()
            if await self._survive(self._look_at_inbox) > 0:
                self._deliverer.wake()
                continue
            await self._wait(self._notices_wait)

    async def _keep(self) -> int:
        kept = await self._keeper.keep()
        if kept.any:
            self._log.info("trust.kept", **asdict(kept))
        if kept.opened:
            self._deliverer.wake()
        return kept.again

    async def _release_held(self) -> int:
        async with self._pool.connection() as conn, conn.transaction():
            return await holds.release_due(conn, self._clock.now_s())

    async def _follow_fixes(self) -> int:
        async with self._pool.connection() as conn, conn.transaction():
            return await follow_fixes(conn, self._desk, self._tenant_id, self._log, self._clock.now_s())

    async def _look_at_inbox(self) -> int:
        worked = await self._inbox.work_batch()
        self.stats.look_at_inbox()
        return worked

    async def _release_steps(self) -> None:
        while True:
            if await self._survive(self._release_due) > 0:
                self._deliverer.wake()
            await asyncio.sleep(self._settings.poll_interval)

    async def _tidy(self) -> None:
        while True:
            if await self._survive(self._look_again) > 0:
                self.wake()
            await self._survive(self._prune)
            await asyncio.sleep(TIDY_S)

    async def _release_due(self) -> int:
        now_s = self._clock.now_s()
        async with self._pool.connection() as conn:
            due = await step_queries.due_steps(conn, now_s, STEPS_PER_LOOK)
            forgotten = await step_queries.forgotten_steps(conn, now_s, STEPS_PER_LOOK)
        for step in forgotten:
            await self._survive(partial(self._expire, step, now_s))
        for step in due:
            await self._survive(partial(self._release, step, now_s))
        self.stats.steps += len(due)
        return len(due)

    async def _release(self, step: Step, now_s: float) -> int:
        async with self._pool.connection() as conn, conn.transaction():
            await steps.release_due(conn, self._desk, step, now_s)
        return 1

    async def _expire(self, step: Step, now_s: float) -> int:
        async with self._pool.connection() as conn, conn.transaction():
            await step_approvals.expire(conn, self._desk, step, now_s)
        return 1

    async def _look_again(self) -> int:
        now_s = self._clock.now_s()
        async with self._pool.connection() as conn:
            again = 0 if self._settings.kill_switch else await look_after_release(conn, now_s)
            if self._heads is not None:
                again += await look_again(conn, self._heads, self._settings.stale_after, now_s)
        return again

    async def _prune(self) -> int:
        async with self._pool.connection() as conn:
            await inbox.prune(conn, to_datetime(self._clock.now_s() - KEEP_WORKED_S))
        return 0

    async def _survive(self, work: Callable[[], Awaitable[int]]) -> int:
        """Do a piece of work; where the database is away, say so and let it be tried again."""
        try:
            return await work()
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, OSError, Retryable) as error:
            self._log.warning("crm.database_unavailable", error=type(error).__name__, detail=str(error)[:200])
        except Exception:  # noqa: BLE001 - the supervisor's boundary: one faulty case must not stop the others
            self._log.exception("crm.work_failed")
        self.stats.failures += 1
        await asyncio.sleep(RETRY_S)
        return 0

    async def _wait(self, event: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._settings.poll_interval):
                await event.wait()
        except TimeoutError:
            pass
