"""The maintenance job: runs inside the gateway that owns ingest, beside it and never in its way."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.clock import Clock
from devices.profiles.model import Profile
from gateway.database.edition import Edition
from gateway.maintenance.community import Community
from gateway.maintenance.in_order import InOrder
from gateway.maintenance.passing import forget_what_passed
from gateway.maintenance.retention import Terms, find_due, retire
from gateway.maintenance.retention_queries import put_mark
from gateway.maintenance.rollups import OwnRollups, leave_rollups
from gateway.maintenance.sessions import connect, maintaining
from gateway.maintenance.settings import MaintenanceSettings, RetentionSettings
from gateway.store.editions import lift_limits
from gateway.store.ownership import read_fence
from gateway.store.queries import last_batch
from gateway.store.store import LOST_CONNECTION
from gateway.store.tables import read_tables
from gateway.store.times import datetime_of

Connection = AsyncConnection[TupleRow]

MARK_EVERY_S: Final = 3600.0
RETIRE_EVERY_S: Final = 3600.0
_HELD_BACK_S: Final = 1.0
_IN_ORDER_S: Final = 20.0
"""For so long a round at most moves what is rolled up: what has been stored since is rolled up first."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What maintenance works with."""

    conninfo: str
    tenant_id: str
    profiles: Mapping[str, Profile]
    settings: MaintenanceSettings
    retention: RetentionSettings
    edition: Edition
    clock: Clock
    log: structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class Done:
    """What a round of maintenance came to."""

    slices: int
    retired: Mapping[str, int]  # rows, by purpose


class Maintenance:
    """Rolls usage up and lets go what is kept no longer, as long as this gateway owns ingest."""

    def __init__(
        self,
        upkeep: Upkeep,
        fence: Callable[[], int | None] = lambda: None,
        is_behind: Callable[[], bool] = lambda: False,
    ) -> None:
        """`fence` is that of the ingest that this gateway owns, None while it owns none; `is_behind` when it lags."""
        self._upkeep = upkeep
        self._fence = fence
        self._is_behind = is_behind
        self._rollups = OwnRollups(upkeep.profiles, time.perf_counter)
        self._community = Community(upkeep.settings, upkeep.retention, upkeep.profiles, upkeep.log)
        self._in_order = InOrder()
        self._conn: Connection | None = None
        self._retire_at_s = 0.0
        self._has_named = False  # the models of [[retention.models]] that are none

    async def run(self) -> None:
        """Work until cancelled; what keeps it from working is told, and tried again."""
        try:
            while True:
                await asyncio.sleep(self._upkeep.settings.every)
                try:
                    await self._look()
                except LOST_CONNECTION as error:
                    self._upkeep.log.warning("maintenance.put_off", error=type(error).__name__)
                except psycopg.Error as error:  # nothing of what it does may end a gateway that stores
                    self._upkeep.log.exception("maintenance.failed", error=type(error).__name__)
                    self._rollups.forget()
                    self._in_order.forget()
                    await self.close()
        finally:
            await self.close()

    async def _look(self) -> None:
        conn = await self._connection()
        fence = self._fence()
        if fence is None or await read_fence(conn) != fence:
            return
        loop_s = asyncio.get_running_loop().time()
        is_time = loop_s >= self._retire_at_s
        done = await self.work(conn, with_retention=is_time)
        if is_time:
            self._retire_at_s = loop_s + RETIRE_EVERY_S
            await forget_what_passed(conn)
        if done.slices or done.retired:
            self._upkeep.log.info("maintenance.done", slices=done.slices, retired=dict(done.retired))

    async def work(self, conn: Connection, *, with_retention: bool) -> Done:
        """One round: mark the time, roll up what has been stored, let go what is due."""
        upkeep = self._upkeep
        async with maintaining(conn):
            batch_seq, _ = await last_batch(conn)
            await put_mark(conn, upkeep.tenant_id, self._now, batch_seq, MARK_EVERY_S)
        slices = await self._roll_up(conn)
        retired: dict[str, int] = {}
        if with_retention:
            await self._name_strangers(conn)
            for due in await find_due(conn, self.terms):
                await self._wait_for_ingest()
                retired[due.purpose] = retired.get(due.purpose, 0) + await retire(conn, self.terms, due)
        if retired:
            self._rollups.forget()
            self._in_order.forget()
        return Done(slices, {purpose: rows for purpose, rows in retired.items() if rows})

    async def _name_strangers(self, conn: Connection) -> None:
        if self._has_named:
            return
        self._has_named = True
        known = {*self._upkeep.profiles, *(table.model for table in await read_tables(conn))}
        for model in self._upkeep.retention.strangers(known):
            self._upkeep.log.warning("retention.unknown_model", model=model)

    @property
    def terms(self) -> Terms:
        """What retention is to do as of now."""
        upkeep = self._upkeep
        return Terms(upkeep.tenant_id, upkeep.retention, self._now, has_columnstore=upkeep.edition.is_community)

    async def _roll_up(self, conn: Connection) -> int:
        if self._upkeep.edition.is_community:
            self._rollups.leave(await self._community.keep_up(conn))
        if self._upkeep.settings.rollups == "off":
            await leave_rollups(conn)
            return 0
        before, is_more = self._rollups.slices, True
        while is_more:
            await self._wait_for_ingest()
            started_s = time.perf_counter()
            is_more = await self._rollups.advance(conn)
            await asyncio.sleep((time.perf_counter() - started_s) if is_more else 0)  # half of the time is for others
        await self._put_in_order(conn)
        return self._rollups.slices - before

    async def _put_in_order(self, conn: Connection) -> None:
        until_s, is_more = time.perf_counter() + _IN_ORDER_S, True
        while is_more and time.perf_counter() < until_s:
            await self._wait_for_ingest()
            started_s = time.perf_counter()
            is_more = await self._in_order.advance(conn, self._rollups.models, self._now)
            await asyncio.sleep((time.perf_counter() - started_s) if is_more else 0)

    @property
    def _now(self) -> datetime:
        return datetime_of(round(self._upkeep.clock.now_s() * 1e6))

    async def _wait_for_ingest(self) -> None:
        while self._is_behind():  # noqa: ASYNC110 - a queue that is long says nothing when it is short again
            await asyncio.sleep(_HELD_BACK_S)

    async def _connection(self) -> Connection:
        if self._conn is None or self._conn.closed or self._conn.broken:
            self._conn = await connect(self._upkeep.conninfo)
            await lift_limits(self._conn, self._upkeep.edition)
        return self._conn

    async def close(self) -> None:
        """Let go of the connection."""
        if self._conn is not None:
            with suppress(psycopg.Error, OSError):
                await self._conn.close()
            self._conn = None
