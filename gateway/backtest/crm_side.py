"""What the CRM side would do with alarms: the same inbox, cases, policy and budget, on the history's clock.

Every CRM is taken to accept at once what it is told, and every product to do at once what it is told: whether that
helped is seen in what it sent.
"""

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, LiteralString, cast

import structlog

from crm_sync.cases import step_queries, steps
from crm_sync.cases.desk import Desk
from crm_sync.catching_up import look_again
from crm_sync.following import AT_ONCE, follow_fixes
from crm_sync.inbox import AlarmNotice, put_alarms
from crm_sync.inbox_worker import InboxWorker, Pool
from crm_sync.keeping import Keeper
from crm_sync.outbox import QueuedMessage
from crm_sync.policy.model import Verdict
from crm_sync.send_check import SendCheck
from crm_sync.settings import MessageType
from crm_sync.stats import CrmStats
from devices.clock import to_datetime
from gateway.backtest.apart import Connection, set_moment

LOOK_EVERY_S: Final = 3 * 3600.0
"""Of history, between looks at what waits: alarms left alone, room in the budget, outcomes…"""
LOOK_SELDOM_S: Final = 86_400.0
"""…and where nothing has been told for so long."""
STEPS_AT_ONCE: Final = 100
SETTLED: Final = {Verdict.SEND: "delivered", Verdict.WITHDRAW: "withdrawn"}


class HistoryClock:
    """Stands where the history does."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now_s(self) -> float:
        """Seconds since the Unix epoch."""
        return self.at_s


class CrmSide:
    """Works notices in a session that was set apart."""

    def __init__(self, conn: Connection, desk: Desk, tenant_id: str, heads: Mapping[str, float]) -> None:
        """`heads` are the newest device times known, as the history goes on."""
        self._conn = conn
        self._desk = desk
        self._heads = heads
        self._clock = HistoryClock()
        self._looked_s: float | None = None
        self._told_s = 0.0  # when the last notice came
        self._proof_s: float | None = None  # when the next silent fix must have been seen to help, where one is tried
        self._tenant_id = tenant_id
        self.stats = CrmStats()
        silent = self._log = structlog.wrap_logger(
            structlog.PrintLogger(), wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
        )
        pool = cast("Pool", _OneConnection(conn))
        self._inbox = InboxWorker(desk, pool, self._clock, silent, stats=self.stats)
        self._keeper = Keeper(desk, pool, self._clock, tenant_id, silent)
        self._check = SendCheck(desk)

    async def take(self, notices: Sequence[AlarmNotice]) -> None:
        """Work notices, each at the moment it was recorded, in order."""
        at = 0
        while at < len(notices):
            now_s = notices[at].recorded_at_s
            end = at
            while end < len(notices) and notices[end].recorded_at_s <= now_s:
                end += 1
            await self.pass_time(now_s)
            self._told_s = now_s
            await put_alarms(self._conn, notices[at:end])
            await self._work_inbox()
            at = end

    async def pass_time(self, until_s: float) -> None:
        """Let the clock go on to a moment, and do what falls due on the way."""
        self._looked_s = until_s if self._looked_s is None else self._looked_s
        while (next_s := self._looked_s + self._pause_s(self._looked_s)) <= until_s:
            await self._await_proofs(next_s)
            self._looked_s = next_s
            await self._release_steps(self._looked_s)
            await self._set_clock(self._looked_s)
            await self._keeper.keep()
            await look_again(self._conn, self._find_heads, self._desk.settings.stale_after, self._looked_s)
            await self._work_inbox()
        await self._await_proofs(until_s)
        await self._release_steps(until_s)
        await self._set_clock(until_s)

    def _pause_s(self, looked_s: float) -> float:
        return LOOK_EVERY_S if looked_s - self._told_s < LOOK_SELDOM_S else LOOK_SELDOM_S

    async def _set_clock(self, at_s: float) -> None:
        self._clock.at_s = max(at_s, self._clock.at_s)
        await set_moment(self._conn, self._clock.at_s)

    async def _work_inbox(self) -> None:
        worked = 1
        while worked:
            worked = await self._inbox.work_batch()
        await self._follow_fixes()
        await self._send()

    async def _follow_fixes(self) -> None:
        """Take what products are told as done, and follow what comes of it."""
        obeyed, followed = await self._obey(), AT_ONCE
        while obeyed or (self._proof_s is not None and followed >= AT_ONCE):
            async with self._conn.transaction():
                followed = await follow_fixes(self._conn, self._desk, self._tenant_id, self._log, self._clock.at_s)
            self._proof_s = await _next_proof_s(self._conn)
            obeyed = await self._obey()

    async def _obey(self) -> int:
        at = to_datetime(self._clock.at_s)
        return (await self._conn.execute(OBEY, {"at": at})).rowcount

    async def _await_proofs(self, until_s: float) -> None:
        """Ask of each silent fix whether it has helped, at the moment when its time is over."""
        while (proof_s := self._proof_s) is not None and proof_s <= until_s:
            await self._release_steps(proof_s)
            await self._set_clock(proof_s)
            await self._work_inbox()
            self._put_off(proof_s)

    def _put_off(self, proof_s: float) -> None:
        """What could not be followed at its moment is looked at again later, not at that moment for ever."""
        if self._proof_s is not None and self._proof_s <= proof_s:
            self._proof_s = proof_s + LOOK_EVERY_S

    async def _release_steps(self, until_s: float) -> None:
        """Send the steps whose hour comes before a moment, each at its hour."""
        while due := await step_queries.due_steps(self._conn, until_s, STEPS_AT_ONCE):
            for step in due:
                await self._set_clock(step.due_at_s)
                async with self._conn.transaction():
                    await steps.release_due(self._conn, self._desk, step, self._clock.at_s)
            await self._send()

    async def _send(self) -> None:
        """Ask the policy once more about every message that waits, and take what may go as delivered."""
        for message in await _pending(self._conn):
            async with self._conn.transaction():
                decision = await self._check.may_send(self._conn, message, self._clock.at_s)
                if decision.verdict in SETTLED:
                    await _settle(self._conn, message.message_id, SETTLED[decision.verdict])

    async def _find_heads(self, _conn: Connection, device_ids: Sequence[str]) -> Mapping[str, float]:
        return {device_id: self._heads[device_id] for device_id in device_ids if device_id in self._heads}


class _OneConnection:
    """Stands in for a pool: everything happens in the one session that was set apart."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """The session."""
        yield self._conn


OBEY: LiteralString = """
UPDATE device_command SET state = 'done', delivered_at = %(at)s, reached_at = %(at)s, settled_at = %(at)s
 WHERE state = 'queued'
"""
NEXT_PROOF: LiteralString = """
SELECT extract(epoch FROM min(verify_until))::float8 FROM silent_fix WHERE state = 'verifying'
"""


async def _next_proof_s(conn: Connection) -> float | None:
    row = await (await conn.execute(NEXT_PROOF)).fetchone()
    return None if row is None or row[0] is None else float(row[0])


PENDING: LiteralString = """
SELECT m.tenant_id, s.endpoint, s.stream_key, m.seq, m.message_id, m.type, m.body, m.created_at
FROM outbox_message m JOIN outbox_stream s USING (stream_id) WHERE m.state = 'pending' ORDER BY m.number
"""


async def _pending(conn: Connection) -> list[QueuedMessage]:
    rows = await (await conn.execute(PENDING)).fetchall()
    return [
        QueuedMessage(tenant_id, endpoint, key, seq, message_id, MessageType(kind), body, created_at)
        for tenant_id, endpoint, key, seq, message_id, kind, body, created_at in rows
    ]


SETTLE: LiteralString = "UPDATE outbox_message SET state = %s WHERE message_id = %s"


async def _settle(conn: Connection, message_id: str, state: str) -> None:
    await conn.execute(SETTLE, (state, message_id))
