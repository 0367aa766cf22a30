"""`/metrics`: facts gathered when somebody scrapes; what the database must be asked for is asked beforehand."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from psycopg import AsyncConnection, Error
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from devices.clock import Clock
from gateway.cohorts.shown import IncidentTotals, count_incidents
from gateway.doors.listen.counters import ListenStats
from gateway.doors.subscribe.stats import SubscribeStats
from gateway.loop_lag import LoopLag
from gateway.metrics.facts import DatabaseFacts, Facts, QueueFacts
from gateway.metrics.families import families
from gateway.outreach.supervisor import Outreach
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.settings import BatchSettings
from gateway.store.tallies import Backlog, Tallies, fold_changes, read_backlog, read_tallies

ASKED_EVERY_S: Final = 10.0
FOLDED_EVERY: Final = 3  # askings
STALE_S: Final = 60.0  # then the numbers of the database are left out rather than told as if they were true
ANSWERS_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class MetricSources:
    """Where the numbers come from."""

    tenant_id: str
    pool: AsyncConnectionPool[AsyncConnection[TupleRow]]
    edition: str
    clock: Clock
    pipeline: Pipeline
    limits: BatchSettings
    outreach: Outreach
    doors: Callable[[], Mapping[str, bool]]
    listen: Callable[[], ListenStats | None]
    subscribe: Callable[[], SubscribeStats | None]
    checks: Callable[[], Mapping[str, bool]]
    database_answer_s: Callable[[], float]


class Metrics(Collector):
    """The numbers of one gateway; without module-wide registries, so that there may be several in a process."""

    def __init__(self, sources: MetricSources) -> None:
        self._sources = sources
        self._lag = LoopLag()
        self._tallies: Tallies | None = None
        self._backlog: Backlog | None = None
        self._incidents: IncidentTotals | None = None
        self._asked_s = 0.0
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        # While it does not run, that of no process: its files are not there, and nothing is told of it.
        ProcessCollector("careloop_crm", lambda: sources.outreach.pid or 0, registry=self._registry)

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """The exposition in the format that the Accept header asks for, and that format's content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is to tell depends on what has happened."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Every family, as of now."""
        return families(self._facts())

    async def watch(self) -> None:
        """Ask the database again and again, and fold its tallies, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lag.watch(), name="loop lag")
            tasks.create_task(self._ask(), name="tallies")

    async def _ask(self) -> None:
        asked = 0
        while True:
            with suppress(Error, PoolTimeout, OSError):  # readiness says that the database is away
                async with asyncio.timeout(ANSWERS_S), self._sources.pool.connection() as conn:
                    self._tallies = await read_tallies(conn, self._sources.tenant_id)
                    self._backlog = await read_backlog(conn, self._sources.tenant_id)
                    self._incidents = await count_incidents(conn, self._sources.tenant_id)
                    if asked % FOLDED_EVERY == 0:
                        await fold_changes(conn)
                    self._asked_s = time.monotonic()
            asked += 1
            await asyncio.sleep(ASKED_EVERY_S)

    def _facts(self) -> Facts:
        sources = self._sources
        pulse = sources.outreach.pulse
        is_fresh = time.monotonic() - self._asked_s < STALE_S
        pools = {"api": _numbers(sources.pool.get_stats())}
        lag = {"gateway": self._lag.longest_s}
        if pulse is not None:
            pools["crm"], lag["crm"] = pulse.pool, pulse.loop_lag_s
        return Facts(
            version=version("careloop"),
            database_edition=sources.edition,
            checks=sources.checks(),
            now_s=sources.clock.now_s(),
            stats=sources.pipeline.stats,
            timings=sources.pipeline.timings,
            queue=self._queue(),
            doors=sources.doors(),
            listen=sources.listen(),
            subscribe=sources.subscribe(),
            database=DatabaseFacts(
                sources.database_answer_s(),
                self._tallies if is_fresh else None,
                self._backlog if is_fresh else None,
                self._incidents if is_fresh else None,
            ),
            order=sources.pipeline.order.totals(),
            pools=pools,
            loop_lag_s=lag,
            crm=pulse,
            crm_restarts=sources.outreach.restarts,
        )

    def _queue(self) -> QueueFacts:
        queue, limits = self._sources.pipeline.queue, self._sources.limits
        oldest_s = queue.oldest_received_s()
        waited_s = 0.0 if oldest_s is None else max(self._sources.clock.now_s() - oldest_s, 0.0)
        return QueueFacts(queue.packets, queue.bytes, limits.queue_packets, limits.queue_bytes, waited_s)


def _numbers(stats: Mapping[str, int]) -> dict[str, int]:
    return {name: int(value) for name, value in stats.items()}
