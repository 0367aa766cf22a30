"""Goes round by itself: holds every open case against its record, mends what may be mended, and tells the rest."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from crm_sync.adapters.contract import Audited
from crm_sync.delivery.channels import Channel
from crm_sync.records import queries
from crm_sync.records.reconcile import Disagreement, Drift, Reconciliation
from crm_sync.settings import ReconcileSettings
from crm_sync.stats import CrmStats
from devices.clock import Clock

DAY_S: Final = 86_400.0
PATIENCE: Final = 3
"""Cases in a row that a CRM is asked about in vain before the round is given up."""

MISSED_SHARE: Final = 0.01
"""Of a day's changes: when polling finds more of them than this, hooks are being lost."""

Pool = AsyncConnectionPool[AsyncConnection[Any]]


@dataclass(frozen=True, slots=True)
class Round:
    """What one round over an endpoint's cases found."""

    cases: int
    drifts: Sequence[Drift]

    @property
    def by_kind(self) -> Mapping[str, int]:
        """How many of each kind."""
        return Counter(drift.what.value for drift in self.drifts)


class Rounds:
    """Every endpoint whose records can be looked at, in turn."""

    def __init__(
        self,
        tenant_id: str,
        channels: Sequence[Channel],
        pool: Pool,
        settings: ReconcileSettings,
        *,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        stats: CrmStats | None = None,
        real_now_s: Callable[[], float] = time.time,
    ) -> None:
        self._tenant_id = tenant_id
        self._channels = channels
        self._pool = pool
        self._settings = settings
        self._clock = clock
        self._log = log
        self._stats = stats or CrmStats()
        self._real_now_s = real_now_s
        self._mended: dict[str, frozenset[tuple[str, str]]] = {}  # by endpoint: cases and how they had drifted

    async def run(self) -> None:
        """Go round until cancelled."""
        if self._settings.every == 0:
            return
        async with asyncio.TaskGroup() as tasks:
            for channel in self._channels:
                if isinstance(channel.adapter, Audited):
                    tasks.create_task(self._go_again(channel), name=f"reconciling {channel.settings.name}")

    async def _go_again(self, channel: Channel) -> None:
        """The first time after one interval, when all has settled that a start brings."""
        name = channel.settings.name
        while True:
            await asyncio.sleep(self._settings.every)
            try:
                await self.go(channel)
            except (psycopg.Error, PoolTimeout, OSError) as error:
                self._log.warning("records.database_unavailable", endpoint=name, error=type(error).__name__)
            except Exception:  # noqa: BLE001 - the supervisor's boundary: one endpoint must not stop the others
                self._log.exception("records.failed", endpoint=name)

    async def go(self, channel: Channel) -> Round | None:
        """One endpoint, once; None where its records cannot be looked at."""
        if not isinstance(channel.adapter, Audited):
            return None
        name = channel.settings.name
        work = Reconciliation(self._pool, self._tenant_id, name, channel.adapter)
        cases, drifts, unasked = 0, list[Drift](), 0
        async with aclosing(work.compare(self._clock.now_s() - DAY_S)) as compared:
            async for _, found in compared:
                cases += 1
                drifts += await self._mend(name, work, found)
                unasked = unasked + 1 if any(each.what is Disagreement.UNASKED for each in found) else 0
                if unasked == PATIENCE:
                    self._log.warning("records.not_compared", endpoint=name, cases=cases)
                    break
        self._mended[name] = frozenset(
            (drift.case_id, drift.what.value) for drift in drifts if drift.retold or self._was_mended(name, drift)
        )
        done = Round(cases, drifts)
        self._stats.compared[name], self._stats.drifts[name] = cases, dict(done.by_kind)
        log = self._log.warning if drifts else self._log.info
        log("records.compared", endpoint=name, cases=cases, drifts=len(drifts), **done.by_kind)
        if channel.expects_hooks:
            await self._weigh_hooks(name)
        return done

    async def _mend(self, name: str, work: Reconciliation, found: Sequence[Drift]) -> list[Drift]:
        """Tell a case again where that is allowed; what did not hold is somebody's will, and is not done again."""
        mends = [
            each for each in found if each.what.value in self._settings.repair and not self._was_mended(name, each)
        ]
        done = await work.retell(mends, self._clock.now_s()) if mends else []
        left = [each for each in found if each not in mends]
        for drift in (*done, *left):
            facts = {"case_id": drift.case_id, "external_id": drift.external_id, "says": drift.says}
            self._log.warning("records.drifted", endpoint=name, what=drift.what.value, retold=drift.retold, **facts)
        return [*done, *left]

    def _was_mended(self, name: str, drift: Drift) -> bool:
        return (drift.case_id, drift.what.value) in self._mended.get(name, frozenset())

    async def _weigh_hooks(self, name: str) -> None:
        """Say when polling finds what hooks should have told."""
        since_s = self._real_now_s() - DAY_S
        async with self._pool.connection() as conn:
            found, told = await queries.count_changes(conn, self._tenant_id, name, since_s)
        share = found / (found + told) if found else 0.0
        self._stats.hooks_missed[name] = share
        if share > MISSED_SHARE:
            self._log.warning("records.hooks_missed", endpoint=name, found=found, told=told)
