"""Asks CRMs what has changed: some tell nothing, and hooks are lost."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from crm_sync.adapters.contract import Polled, RecordChange
from crm_sync.cases.callback import ApplyCallback, CallbackEffect
from crm_sync.delivery.channels import Channel
from crm_sync.records import queries
from crm_sync.records.take import BUSY, take_found
from devices.clock import Clock
from devices.errors import Retryable

FIRST_LOOK_BACK_S: Final = 86_400.0
LONGEST_WAIT_S: Final = 3600.0
UNREADABLE: Final = "unreadable"

Pool = AsyncConnectionPool[AsyncConnection[Any]]


class Polling:
    """Asks every endpoint that can be asked."""

    def __init__(
        self,
        tenant_id: str,
        channels: Sequence[Channel],
        pool: Pool,
        *,
        apply: ApplyCallback,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        real_now_s: Callable[[], float] = time.time,
    ) -> None:
        self._tenant_id = tenant_id
        self._channels = channels
        self._pool = pool
        self._apply = apply
        self._clock = clock
        self._log = log
        self._real_now_s = real_now_s

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for channel in self._channels:
                if isinstance(channel.adapter, Polled) and channel.adapter.poll_every_s is not None:
                    name = channel.settings.name
                    tasks.create_task(self._ask_again(name, channel.adapter, channel.adapter.poll_every_s), name=name)

    async def _ask_again(self, name: str, adapter: Polled, every_s: float) -> None:
        while True:
            wait_s = every_s
            try:
                await self.ask(name, adapter)
            except Retryable as error:
                self._log.warning("records.not_asked", endpoint=name, reason=error.reason)
                wait_s = min(max(every_s, error.retry_after_s or 0.0), LONGEST_WAIT_S)
            except (psycopg.Error, PoolTimeout, OSError) as error:
                self._log.warning("records.database_unavailable", endpoint=name, error=type(error).__name__)
            except Exception:  # noqa: BLE001 - the supervisor's boundary: one endpoint must not stop the others
                self._log.exception("records.failed", endpoint=name)
            await asyncio.sleep(wait_s)

    async def ask(self, name: str, adapter: Polled) -> Counter[str]:
        """Ask one endpoint once, and take over what it says; what came of each record. Raises Retryable.

        Where something is on its way to a record, the same time is asked for again: the answer was given before it.
        """
        began_s = self._real_now_s()
        async with self._pool.connection() as conn:
            until_s = await queries.asked_until_s(conn, self._tenant_id, name)
        changes = await adapter.changes_since(began_s - FIRST_LOOK_BACK_S if until_s is None else until_s)
        effects = Counter([await self._take(name, change) for change in changes])
        async with self._pool.connection() as conn, conn.transaction():
            if effects[CallbackEffect.APPLIED]:
                await queries.note_found(conn, self._tenant_id, name, effects[CallbackEffect.APPLIED], began_s)
            if not effects[BUSY]:
                await queries.note_asked(conn, self._tenant_id, name, began_s)
        return effects

    async def _take(self, name: str, change: RecordChange) -> str:
        try:
            async with self._pool.connection() as conn, conn.transaction():
                effect = await take_found(conn, self._tenant_id, name, change, self._clock.now_s(), apply=self._apply)
        except psycopg.DataError as error:  # one record that cannot be read must not hide all others
            self._log.warning("records.unreadable", endpoint=name, error=type(error).__name__)
            return UNREADABLE
        if effect == CallbackEffect.APPLIED:  # no hook has told it
            self._log.info("records.found", endpoint=name, external_id=change.external_id, status=change.status)
        return effect
