"""Asks CRMs what has changed: some tell nothing, and hooks are lost."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import psycopg
import structlog

from crm_sync.adapters.contract import Polled, RecordChange
from crm_sync.cases.callback import ApplyCallback, CallbackEffect
from crm_sync.delivery.channels import Channel
from crm_sync.records import queries
from crm_sync.records.asking import Troubles, keep_asking
from crm_sync.records.progress import Pool, Progress
from crm_sync.records.take import BUSY, take_found
from devices.clock import Clock

FIRST_LOOK_BACK_S: Final = 86_400.0
UNREADABLE: Final = "unreadable"
TROUBLES: Final = Troubles("records.not_asked", "records.database_unavailable", "records.failed")


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
        self._progress = Progress(pool, tenant_id, FIRST_LOOK_BACK_S, real_now_s)

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for channel in self._channels:
                adapter, name = channel.adapter, channel.settings.name
                if isinstance(adapter, Polled) and adapter.poll_every_s is not None:
                    ask, log = partial(self.ask, name, adapter), self._log.bind(endpoint=name)
                    tasks.create_task(keep_asking(ask, adapter.poll_every_s, TROUBLES, log), name=name)

    async def ask(self, name: str, adapter: Polled) -> Counter[str]:
        """Ask one endpoint, and take over what it says; what came of each record. Raises Retryable.

        Where something is on its way to a record, the same time is asked for again: the answer was given before it.
        """
        effects = Counter[str]()

        async def take(changes: Sequence[RecordChange]) -> bool:
            some = Counter([await self._take(name, change) for change in changes])
            effects.update(some)
            if found := some[CallbackEffect.APPLIED]:
                async with self._pool.connection() as conn, conn.transaction():
                    await queries.note_found(conn, self._tenant_id, name, found, self._real_now_s())
            return some[BUSY] > 0

        if not await self._progress.go(name, adapter.changes_since, take):
            self._log.warning("records.more_to_ask", endpoint=name, taken=effects.total())
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
