"""The delivery engine: one loop claims what is due, and a task per claim sends it and settles it.

No transaction and no pooled connection is held while a request is under way. A worker that dies leaves a lease that
ends and an attempt without a result: the message is claimed again, and sent again under the same id.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from crm_sync.adapters.contract import CrmAdapter, Delivery, Outcome, Result
from crm_sync.delivery import queries
from crm_sync.delivery.channels import Channel
from crm_sync.delivery.queries import Claim
from crm_sync.delivery.settle import Settled, Settlement, settle
from crm_sync.delivery.step import CREATES, counts_against_origin
from crm_sync.endpoints import LEASE_S
from crm_sync.outbox import QueuedMessage
from crm_sync.policy.model import SendDecision, Verdict
from devices.clock import Clock
from devices.errors import Retryable

POLL_S: Final = 0.5  # real seconds between looks at an idle outbox; wake() cuts it short
RECHECK_S: Final = 3.0  # a held message is asked about again this soon, since a scaled clock may run fast
DRAIN_S: Final = 5.0  # requests under way may end within this when the engine stops
SETTLE_RETRY_S: Final = 1.0

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


class MaySend(Protocol):
    """The contact policy, asked once more right before sending."""

    async def __call__(self, conn: AsyncConnection[TupleRow], message: QueuedMessage, now_s: float, /) -> SendDecision:
        """Whether the message may go out at `now_s` on the gateway's clock."""
        ...


@dataclass(frozen=True, slots=True)
class RealTime:
    """Real seconds since the epoch and chance, for leases, schedules and jitter; tests bring their own."""

    now_s: Callable[[], float] = time.time
    random: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class _Sending:
    """A claim that the policy let through."""

    claim: Claim
    attempt_id: int


class Deliverer:
    """Delivers what is due to every endpoint of one tenant, for as long as `run` runs."""

    def __init__(
        self,
        tenant_id: str,
        channels: Sequence[Channel],
        pool: Pool,
        may_send: MaySend,
        *,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        real_time: RealTime = RealTime(),
    ) -> None:
        self._tenant_id = tenant_id
        self._channels: Mapping[str, Channel] = {channel.settings.name: channel for channel in channels}
        self._pool = pool
        self._may_send = may_send
        self._clock = clock
        self._log = log
        self._real = real_time
        self._wake = asyncio.Event()
        self._in_flight: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look at the outbox now: something was committed to it."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled; requests under way are then given a few seconds to end."""
        try:
            while True:
                self._wake.clear()
                if not await self._look():
                    await self._idle()
        finally:
            await self._drain()

    async def _look(self) -> bool:
        """One round; False when there is nothing more to do for now."""
        try:
            return await self.deliver_due()
        except (psycopg.Error, PoolTimeout, OSError) as error:
            self._log.warning("delivery.database_unavailable", error=type(error).__name__)
            return False

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def deliver_due(self) -> bool:
        """Claim what is due and begin to send it; False when nothing was."""
        rooms = self._rooms(self._real.now_s())
        if not rooms:
            return False
        async with self._pool.connection() as conn, conn.transaction():
            claims = await queries.claim(conn, self._tenant_id, rooms, now_s=self._real.now_s(), lease_s=LEASE_S)
            admitted = [await self._admit(conn, each) for each in claims]
        for sending in admitted:
            if sending is not None:
                self._begin(sending)
        return bool(claims)

    def _rooms(self, now_s: float) -> dict[str, int]:
        """How many messages each endpoint can take at once, leaving out those that can take none."""
        rooms: dict[str, int] = {}
        probed: set[int] = set()
        for name, channel in self._channels.items():
            wanted = channel.adapter.capabilities.max_in_flight - self._in_flight[name]
            room = 0 if id(channel.breaker) in probed else channel.breaker.room(now_s, wanted)
            if room > 0:
                rooms[name] = room
                if channel.breaker.is_open:  # one probe per origin, not per endpoint
                    probed.add(id(channel.breaker))
        return rooms

    async def _admit(self, conn: AsyncConnection[TupleRow], claimed: Claim) -> _Sending | None:
        """Ask the policy, and note the attempt or settle without one; trouble with one message holds only that one."""
        now_s = self._real.now_s()
        gateway_now_s = self._clock.now_s()
        try:
            async with conn.transaction():
                decision = await self._may_send(conn, claimed.message, gateway_now_s)
        except psycopg.OperationalError:
            raise
        except Exception:  # noqa: BLE001 - the supervisor's boundary: the other messages are not to blame
            self._log.exception("delivery.policy_failed", message_id=claimed.message.message_id)
            decision = SendDecision(Verdict.HOLD)
        match decision.verdict:
            case Verdict.SEND:
                return _Sending(claimed, await queries.begin_attempt(conn, claimed, now_s))
            case Verdict.HOLD:
                wait_s = RECHECK_S if decision.until_s is None else decision.until_s - gateway_now_s
                again_s = now_s + min(max(wait_s, 0.1), RECHECK_S)
                await queries.reschedule(conn, claimed, failures=claimed.failures, next_attempt_s=again_s)
            case Verdict.WITHDRAW:
                reason = None if decision.reason is None else decision.reason.value
                await queries.advance(conn, claimed, "withdrawn", reason=reason, now_s=now_s)
                self._log.info(
                    "delivery.withdrawn",
                    endpoint=claimed.message.endpoint,
                    message_id=claimed.message.message_id,
                    reason=reason,
                )
        return None

    def _begin(self, sending: _Sending) -> None:
        message = sending.claim.message
        channel = self._channels[message.endpoint]
        channel.breaker.begin()
        self._in_flight[message.endpoint] += 1
        task = asyncio.create_task(self._deliver(channel, sending), name=f"deliver {message.message_id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()  # there is room again, and perhaps a next message of the same case

    async def _deliver(self, channel: Channel, sending: _Sending) -> None:
        """Send one message and settle it."""
        started_s = time.monotonic()
        try:
            outcome = await self._send(channel, sending.claim)
            channel.breaker.settle(self._real.now_s(), failed=counts_against_origin(outcome))
        except asyncio.CancelledError:
            channel.breaker.abandon()
            raise
        finally:
            self._in_flight[channel.settings.name] -= 1
        settled = await self._settle(channel, sending, outcome, time.monotonic() - started_s)
        self._report(sending.claim, outcome, settled)

    async def _send(self, channel: Channel, claimed: Claim) -> Outcome:
        message = claimed.message
        delivery = Delivery(
            key=message.stream_key,
            message_id=message.message_id,
            type=message.type,
            body=message.body,
            external_id=claimed.external_id,
            attempt=claimed.attempts + 1,
            uncertain=claimed.uncertain,
        )
        try:
            found = await _look_up(channel.adapter, delivery)
            return await channel.adapter.deliver(delivery) if found is None else found
        except Exception as error:  # noqa: BLE001 - the supervisor's boundary: a faulty adapter must not stop the others
            self._log.exception("delivery.adapter_failed", endpoint=message.endpoint, message_id=message.message_id)
            return Outcome(Result.UNKNOWN, "adapter_failed", detail=type(error).__name__)

    async def _settle(self, channel: Channel, sending: _Sending, outcome: Outcome, duration_s: float) -> Settled | None:
        """Write down what came of it; while the database is away, try for as long as the lease lasts."""
        deadline_s = time.monotonic() + LEASE_S - duration_s
        others = [other.settings for name, other in self._channels.items() if name != channel.settings.name]
        while True:
            try:
                settlement = Settlement(
                    sending.claim, sending.attempt_id, outcome, duration_s, self._real.now_s(), self._clock.now_s()
                )
                async with self._pool.connection() as conn, conn.transaction():
                    return await settle(conn, settlement, channel.settings, others, self._real.random)
            except (psycopg.OperationalError, PoolTimeout, OSError) as error:
                self._log.warning("delivery.unsettled", error=type(error).__name__)
                if time.monotonic() + SETTLE_RETRY_S > deadline_s:
                    return None
                await asyncio.sleep(SETTLE_RETRY_S)

    def _report(self, claimed: Claim, outcome: Outcome, settled: Settled | None) -> None:
        """The one line of a delivery; no payload, no person."""
        facts = {
            "endpoint": claimed.message.endpoint,
            "case_id": claimed.message.stream_key,
            "message_id": claimed.message.message_id,
            "type": claimed.message.type.value,
            "attempt": claimed.attempts + 1,
            "result": outcome.result.value,
            "code": outcome.code,
        }
        if settled is None or not settled.kept_lease:
            self._log.warning("delivery.lease_lost", **facts)
            return
        log = self._log.info if outcome.result is Result.OK else self._log.warning
        log("delivery.settled", **facts, then=settled.step.move.value)
        if settled.disabled_reason is not None:
            self._log.error("endpoint.disabled", endpoint=claimed.message.endpoint, reason=settled.disabled_reason)

    async def _drain(self) -> None:
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=DRAIN_S)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)


async def _look_up(adapter: CrmAdapter, delivery: Delivery) -> Outcome | None:
    """Where an earlier create may have succeeded and the CRM can be asked: what it holds. None: send it."""
    if not delivery.uncertain or delivery.type not in CREATES or adapter.capabilities.lookup == "none":
        return None
    try:
        found = await adapter.find_case(delivery.key)
    except Retryable as error:
        return Outcome(Result.RETRYABLE, error.reason, error.detail, retry_after_s=error.retry_after_s)
    if len(found) > 1:
        return Outcome(Result.CONFLICT, "several_records", f"{len(found)} records hold this case's key")
    return Outcome(Result.OK, "already_there", external_id=found[0]) if found else None
