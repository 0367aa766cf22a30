"""Works the inbox: alarm notices in order, many in a transaction, each of them once."""

import time
from collections.abc import Callable
from enum import Enum
from typing import Final

import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from crm_sync import inbox
from crm_sync.apart import concerns_all
from crm_sync.cases.desk import Desk
from crm_sync.cases.major import take_incident
from crm_sync.cases.notices import take_notice
from crm_sync.inbox import InboxRow, decode_notice
from crm_sync.incidents import PREFIX, decode_incident
from crm_sync.stats import CrmStats
from crm_sync.together import without_waiting
from devices.clock import Clock, to_datetime

WORK_AT_MOST_S: Final = 0.1
"""A transaction of notices ends after this: what they made is seen, and sent, from its commit on."""

Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]


class _Fate(Enum):
    """What became of a notice in a transaction."""

    DONE = "done"
    BEGUN = "begun"  # it stays the first in the inbox, and is worked on in the next transaction
    PARKED = "parked"


class InboxWorker:
    """Turns notices into cases.

    However many workers there are in however many processes, one at a time has the turn; the order of a device's
    notices is the order in which they were put.
    """

    def __init__(
        self,
        desk: Desk,
        pool: Pool,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        *,
        stats: CrmStats | None = None,
        real_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._pool = pool
        self._clock = clock
        self._log = log
        self._stats = stats or CrmStats()
        self._real_s = real_s

    async def work_batch(self) -> int:
        """Work the next notices in one transaction; returns how many, begun ones too, 0 where another has the turn.

        A notice that fails by itself is parked with its error. Raises psycopg.OperationalError where the
        batch as a whole is to be tried again.
        """
        async with self._pool.connection() as conn, conn.transaction():
            if not await inbox.take_turn(conn):
                return 0
            rows = await inbox.waiting(conn, self._desk.settings.inbox_batch)
            if not rows:
                return 0
            endings = await inbox.last_endings(conn, [row.alarm_id for row in rows])
            now_s, begun_s = self._clock.now_s(), self._real_s()
            fates: dict[_Fate, list[int]] = {fate: [] for fate in _Fate}
            for row in rows:
                has_ended = endings.get(row.alarm_id, 0) > row.inbox_id
                fate = await self._work(conn, row, now_s, has_ended=has_ended)
                fates[fate].append(row.inbox_id)
                if fate is _Fate.BEGUN or self._real_s() - begun_s > WORK_AT_MOST_S:
                    break
            done, parked = fates[_Fate.DONE], fates[_Fate.PARKED]
            await inbox.finish(conn, done, to_datetime(now_s))
        self._stats.count_notices(len(done), len(parked))
        self._log.info("inbox.worked", notices=len(done), parked=len(parked))
        return sum(map(len, fates.values()))

    async def _work(self, conn: Connection, row: InboxRow, now_s: float, *, has_ended: bool) -> _Fate:
        """Work one notice behind a savepoint, its statements in a pipeline."""
        try:
            async with conn.transaction(), without_waiting(conn):
                if row.alarm_id.startswith(PREFIX):
                    is_done = await take_incident(conn, self._desk, decode_incident(row.raw), now_s)
                    return _Fate.DONE if is_done else _Fate.BEGUN
                await take_notice(conn, self._desk, decode_notice(row.raw), now_s, has_ended=has_ended)
        except Exception as error:
            if concerns_all(error):
                raise
            self._log.exception("inbox.parked", inbox_id=row.inbox_id, device_id=row.device_id, alarm_id=row.alarm_id)
            await inbox.park(conn, row.inbox_id, f"{type(error).__name__}: {error}"[:2000], to_datetime(now_s))
            return _Fate.PARKED
        return _Fate.DONE
