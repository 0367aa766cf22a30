"""Asks CRMs whom their people have contacted, and for whom they work: so that owners are not contacted besides."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from crm_sync.adapters.contract import TellsOfOwners
from crm_sync.delivery.channels import Channel
from crm_sync.owners.news import take_news
from crm_sync.owners.told import OwnerNews
from crm_sync.records.asking import Troubles, keep_asking
from crm_sync.records.progress import Pool, Progress
from devices.clock import Clock

FIRST_LOOK_BACK_S: Final = 30 * 86_400.0  # as far as the longest cap usually reaches
ASKED: Final = "{}/owners"  # under this name it is remembered how far an endpoint was asked
TROUBLES: Final = Troubles("owners.not_asked", "owners.database_unavailable", "owners.failed")


class OwnerPolling:
    """Asks every endpoint that can tell."""

    def __init__(
        self,
        tenant_id: str,
        channels: Sequence[Channel],
        pool: Pool,
        *,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        real_now_s: Callable[[], float] = time.time,
    ) -> None:
        self._tenant_id = tenant_id
        self._channels = channels
        self._pool = pool
        self._clock = clock
        self._log = log
        self._progress = Progress(pool, tenant_id, FIRST_LOOK_BACK_S, real_now_s)

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for channel in self._channels:
                adapter, name = channel.adapter, channel.settings.name
                if isinstance(adapter, TellsOfOwners) and adapter.owners_every_s is not None:
                    ask, log = partial(self.ask, name, adapter), self._log.bind(endpoint=name)
                    tasks.create_task(keep_asking(ask, adapter.owners_every_s, TROUBLES, log), name=f"{name} owners")

    async def ask(self, name: str, adapter: TellsOfOwners) -> Counter[str]:
        """Ask one endpoint, and keep what it tells; what came of each piece. Raises Retryable."""
        effects = Counter[str]()

        async def take(told: Sequence[OwnerNews]) -> bool:
            now_s = self._clock.now_s()
            async with self._pool.connection() as conn, conn.transaction():
                effects.update([str(await take_news(conn, self._tenant_id, name, news, now_s)) for news in told])
            return False

        if not await self._progress.go(ASKED.format(name), adapter.owner_news_since, take):
            self._log.warning("owners.more_to_ask", endpoint=name, taken=effects.total())
        return effects
