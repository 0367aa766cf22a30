"""The delivery engine: one loop claims what is due, and a task per claim sends it and settles it.

No transaction and no pooled connection is held while a request is under way. A worker that dies leaves a lease that
ends and an attempt without a result: the message is claimed again, and sent again under the same id.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from crm_sync.adapters.contract import ADAPTER_FAILED, Delivery, Outcome, Result
from crm_sync.delivery import queries
from crm_sync.delivery.channels import Channel
from crm_sync.delivery.look_up import look_up, may_have_made
from crm_sync.delivery.queries import Claim
from crm_sync.delivery.settle import Settled, Settlement, settle
from crm_sync.delivery.step import CREATES, counts_against_origin
from crm_sync.endpoints import LEASE_S
from crm_sync.outbox import QueuedMessage
from crm_sync.policy.model import SendDecision, Verdict
from crm_sync.stats import CrmStats
from crm_sync.together import without_waiting
from devices.clock import Clock

POLL_S: Final = 0.5  # real seconds between looks at an idle outbox; wake() cuts it short
MIN_HOLD_S: Final = 0.1
RECHECK_S: Final = 3.0  # a held message is asked about again this soon, since a scaled clock may run fast
MOST_RECHECK_S: Final = 300.0  # what the policy stumbles over is asked about this seldom in the end
STUMBLES_S: Final = 6 * 3600.0  # and is a dead letter after this
MOST_LOST_LEASES: Final = 20  # in a row: a crashing gateway alone must not give a message up
DRAIN_S: Final = 5.0  # requests under way may end within this when the engine stops
WORK_S: Final = 0.9 * LEASE_S  # for a claim's look-up and calls: what goes on beyond the lease may be done twice
SETTLE_RETRY_S: Final = 1.0

Pool = AsyncConnectionPool[AsyncConnection[Any]]


class MaySend(Protocol):
    """The contact policy, asked once more right before sending."""

    async def __call__(self, conn: AsyncConnection[Any], message: QueuedMessage, now_s: float, /) -> SendDecision:
        """Whether the message may go out at `now_s` on the gateway's clock."""
        ...


@dataclass(frozen=True, slots=True)
class RealTime:
    """Real seconds since the epoch and chance, for leases, schedules and jitter; tests bring their own."""

    now_s: Callable[[], float] = time.time
    random: Callable[[], float] = random.random


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
        stats: CrmStats | None = None,
    ) -> None:
        self._tenant_id = tenant_id
        self._channels: Mapping[str, Channel] = {channel.settings.name: channel for channel in channels}
        self._pool = pool
        self._may_send = may_send
        self._clock = clock
        self._log = log
        self._real = real_time
        self._stats = stats or CrmStats()
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
            await self.drain(DRAIN_S)

    async def drain(self, timeout_s: float) -> None:
        """Wait for the requests under way, and cut off those that take longer: their leases end by themselves."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _look(self) -> bool:
        """One round; False when there is nothing more to do for now."""
        try:
            found = await self.deliver_due()
        except (psycopg.Error, PoolTimeout, OSError) as error:
            self._log.warning("delivery.database_unavailable", error=type(error).__name__)
            self._stats.failures += 1
            return False
        self._stats.look_at_outbox()
        return found

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
        for claimed in claims:
            self._begin(claimed)
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

    def _begin(self, claimed: Claim) -> None:
        channel = self._channels[claimed.message.endpoint]
        channel.breaker.begin()
        self._in_flight[channel.settings.name] += 1
        task = asyncio.create_task(self._work(channel, claimed), name=f"deliver {claimed.message.message_id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()  # there is room again, and perhaps a next message of the same case

    async def _work(self, channel: Channel, claimed: Claim) -> None:
        """One claim from beginning to end; what goes wrong on the way is settled when the lease has ended."""
        try:
            await self._deliver(channel, claimed)
        except (psycopg.Error, PoolTimeout, OSError) as error:
            self._log.warning(
                "delivery.database_unavailable", message_id=claimed.message.message_id, error=type(error).__name__
            )
        except Exception:  # noqa: BLE001 - the supervisor's boundary: nobody awaits this task
            self._log.exception("delivery.failed", message_id=claimed.message.message_id)
        finally:
            channel.breaker.abandon()  # nothing more, if it was settled
            self._in_flight[channel.settings.name] -= 1

    async def _deliver(self, channel: Channel, claimed: Claim) -> None:
        ends_at = asyncio.get_running_loop().time() + WORK_S
        async with self._pool.connection() as conn, conn.transaction():
            attempt_id = await self._admit(conn, claimed)
        if attempt_id is None:
            return
        started_s = time.monotonic()
        outcome = await self._send(channel, claimed, ends_at)
        duration_s = time.monotonic() - started_s
        channel.breaker.settle(self._real.now_s(), failed=counts_against_origin(outcome))
        settled = await self._settle(channel, claimed, attempt_id, outcome, duration_s)
        self._stats.count_delivery(claimed.message.endpoint, outcome.result.value, duration_s)
        self._report(claimed, outcome, settled)

    async def _admit(self, conn: AsyncConnection[Any], claimed: Claim) -> int | None:
        """Ask the policy, and note the attempt that it allows; None where it does not, or the lease is another's."""
        now_s, gateway_now_s = self._real.now_s(), self._clock.now_s()
        if claimed.lost_leases >= MOST_LOST_LEASES:
            await self._give_up(conn, claimed, "worker_lost", now_s)
            return None
        decision = await self._ask(conn, claimed, gateway_now_s)
        if decision is None:
            await self._stumble(conn, claimed, now_s)
            return None
        match decision.verdict:
            case Verdict.SEND:
                return await queries.begin_attempt(conn, claimed, now_s)
            case Verdict.HOLD:
                wait_s = RECHECK_S if decision.until_s is None else decision.until_s - gateway_now_s
                again_s = now_s + min(max(wait_s, MIN_HOLD_S), RECHECK_S)
                await queries.reschedule(conn, claimed, failures=claimed.failures, next_attempt_s=again_s)
            case Verdict.WITHDRAW:
                await queries.advance(conn, claimed, "withdrawn", reason=decision.reason, now_s=now_s)
                facts = {"message_id": claimed.message.message_id, "reason": decision.reason}
                self._log.info("delivery.withdrawn", endpoint=claimed.message.endpoint, **facts)
        return None

    async def _ask(self, conn: AsyncConnection[Any], claimed: Claim, gateway_now_s: float) -> SendDecision | None:
        """What the policy says; None where it fails."""
        try:
            async with conn.transaction(), without_waiting(conn):
                return await self._may_send(conn, claimed.message, gateway_now_s)
        except psycopg.OperationalError:
            raise
        except Exception:  # noqa: BLE001 - the supervisor's boundary: the other messages are not to blame
            self._log.exception("delivery.policy_failed", message_id=claimed.message.message_id)
            return None

    async def _stumble(self, conn: AsyncConnection[Any], claimed: Claim, now_s: float) -> None:
        """The policy failed: ask about the message ever less often, give it up in the end; never send it unasked."""
        since_s = now_s if claimed.stumbling_since_s is None else claimed.stumbling_since_s
        if now_s - since_s >= STUMBLES_S:
            await self._give_up(conn, claimed, "policy_failed", now_s)
            return
        again_s = now_s + min(max(now_s - since_s, RECHECK_S), MOST_RECHECK_S)
        failures = claimed.failures
        await queries.reschedule(conn, claimed, failures=failures, next_attempt_s=again_s, stumbling_since_s=since_s)

    async def _give_up(self, conn: AsyncConnection[Any], claimed: Claim, reason: str, now_s: float) -> None:
        """Make a dead letter of what cannot be worked, so that the others go on; a person may send it again."""
        await queries.lose_attempts(conn, claimed, now_s)
        if claimed.message.type in CREATES:
            await queries.park(conn, claimed, reason=reason, now_s=now_s)
        else:
            await queries.advance(conn, claimed, "dead", reason=reason, now_s=now_s)
        facts = {"message_id": claimed.message.message_id, "reason": reason}
        self._log.error("delivery.given_up", endpoint=claimed.message.endpoint, **facts)

    async def _send(self, channel: Channel, claimed: Claim, ends_at: float) -> Outcome:
        """Look the record up where that is needed, and tell it; cut off at `ends_at`: then the lease is still ours."""
        message = claimed.message
        delivery = Delivery(
            key=message.stream_key,
            message_id=message.message_id,
            type=message.type,
            body=message.body,
            external_id=claimed.external_id,
            attempt=claimed.attempts + 1,
            uncertain=claimed.uncertain,
            overtaken=claimed.overtaken,
            parent_id=claimed.parent_id,
        )
        limit = asyncio.timeout_at(ends_at)
        try:
            async with limit:
                found = await look_up(channel.adapter, delivery, asked_s=claimed.asked_s, now_s=self._real.now_s())
                outcome = found if isinstance(found, Outcome) else await channel.adapter.deliver(found)
        except Exception as error:  # noqa: BLE001 - the supervisor's boundary: a faulty adapter must not stop the others
            if limit.expired():
                outcome = Outcome(Result.UNKNOWN, "timeout", "the look-up and all calls together")
            else:
                self._log.exception("delivery.adapter_failed", endpoint=message.endpoint, message_id=message.message_id)
                outcome = Outcome(Result.UNKNOWN, ADAPTER_FAILED, detail=type(error).__name__)
        if not may_have_made(message.type, outcome):
            return outcome
        # a look-up before this would find nothing and mean nothing
        return replace(
            outcome, retry_after_s=max(outcome.retry_after_s or 0, channel.adapter.capabilities.lookup_lag_s)
        )

    async def _settle(
        self, channel: Channel, claimed: Claim, attempt_id: int, outcome: Outcome, duration_s: float
    ) -> Settled | None:
        """Write down what came of it; while the database is away, try for as long as the lease lasts."""
        deadline_s = time.monotonic() + LEASE_S - duration_s
        others = [other.settings for name, other in self._channels.items() if name != channel.settings.name]
        while True:
            settlement = Settlement(claimed, attempt_id, outcome, duration_s, self._real.now_s(), self._clock.now_s())
            try:
                async with self._pool.connection() as conn, conn.transaction(), without_waiting(conn):
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
        if settled.shut_out:
            self._log.error("endpoint.not_let_in", endpoint=claimed.message.endpoint, code=outcome.code)
        if settled.disabled_reason is not None:
            self._log.error("endpoint.disabled", endpoint=claimed.message.endpoint, reason=settled.disabled_reason)
