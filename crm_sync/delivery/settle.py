"""Writes down what came of an attempt, in one transaction: the attempt, its stream, and how its endpoint is doing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from crm_sync.adapters.contract import OURS, Outcome, Result
from crm_sync.delivery import queries
from crm_sync.delivery.queries import Claim, Connection
from crm_sync.delivery.step import Move, Step, next_step, refuses_us, wait_to_be_let_in
from crm_sync.outbox import OutboxMessage, enqueue_all
from crm_sync.policy.contacts import note_accepted
from crm_sync.settings import EndpointSettings, MessageType
from devices.clock import to_datetime

MIN_FAILED_ATTEMPTS: Final = 10
"""An endpoint is not disabled for having failed for days when it was hardly asked in them."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """One attempt, and the moment at which it is settled."""

    claim: Claim
    attempt_id: int
    outcome: Outcome
    duration_s: float
    now_s: float  # real
    gateway_now_s: float


@dataclass(frozen=True, slots=True)
class Settled:
    """What was written."""

    step: Step
    kept_lease: bool  # False: another worker has the stream by now, and nothing was changed
    disabled_reason: str | None = None  # the endpoint has just been disabled
    shut_out: bool = False  # the endpoint has just begun to refuse who careloop is


async def settle(
    conn: Connection,
    settlement: Settlement,
    endpoint: EndpointSettings,
    others: Sequence[EndpointSettings],
    random: Callable[[], float],
) -> Settled:
    """Advance, reschedule or dead-letter; `others` are told when the endpoint is disabled by it."""
    claimed, outcome, now_s = settlement.claim, settlement.outcome, settlement.now_s
    step = await _wait_to_be_let_in(conn, claimed, outcome, now_s)
    is_shut_out = step is not None
    if step is None:
        step = next_step(outcome, endpoint, claimed.message.type, failures=claimed.failures, now_s=now_s, random=random)
    if not await _move(conn, claimed, step, outcome, now_s):
        return Settled(step, kept_lease=False)
    await queries.settle_attempt(conn, settlement.attempt_id, outcome, now_s=now_s, duration_s=settlement.duration_s)
    tenant_id, name, case_id = claimed.message.tenant_id, claimed.message.endpoint, claimed.message.stream_key
    if outcome.external_id is not None:
        await queries.record_external_id(conn, tenant_id, name, case_id, outcome.external_id, now_s=now_s)
    if outcome.put_as:
        await queries.record_own_move(conn, tenant_id, name, case_id, outcome.put_as)
    if outcome.result is Result.OK:
        await queries.note_success(conn, tenant_id, name)
        if claimed.message.type is MessageType.CASE_UPDATED:
            await note_accepted(conn, claimed.message.message_id, settlement.gateway_now_s)
        return Settled(step, kept_lease=True)
    if outcome.code in OURS:  # says nothing of the endpoint
        return Settled(step, kept_lease=True)
    failing = await queries.note_failure(conn, tenant_id, name, now_s=now_s, pause_until_s=step.pause_until_s)
    if is_shut_out:
        return Settled(step, kept_lease=True, shut_out=await queries.note_not_let_in(conn, tenant_id, name, now_s))
    too_long = failing.attempts >= MIN_FAILED_ATTEMPTS and now_s - failing.since_s >= endpoint.disable_after
    if failing.disabled or not (step.disable or too_long):
        return Settled(step, kept_lease=True)
    reason = "gone" if step.disable else "failing"
    await queries.disable(conn, tenant_id, name, reason=reason, now_s=now_s)
    await enqueue_all(conn, _announcements(tenant_id, endpoint, others, reason, settlement))
    return Settled(step, kept_lease=True, disabled_reason=reason)


async def _wait_to_be_let_in(conn: Connection, claimed: Claim, outcome: Outcome, now_s: float) -> Step | None:
    """What follows from credentials that are refused; None where it is no matter of theirs.

    Where the endpoint has taken others since a message was refused, it is that message: it must not hold them up.
    """
    if not refuses_us(outcome):
        return None
    takes_nothing, since_s = await queries.standing_of(conn, claimed.message.tenant_id, claimed.message.endpoint)
    if claimed.attempts > 0 and not takes_nothing:
        return None
    return wait_to_be_let_in(claimed.failures, since_s, now_s)


async def _move(conn: Connection, claimed: Claim, step: Step, outcome: Outcome, now_s: float) -> bool:
    match step.move:
        case Move.DELIVERED:
            return await queries.advance(conn, claimed, "delivered", reason=None, now_s=now_s)
        case Move.SKIP:
            return await queries.advance(conn, claimed, "dead", reason=outcome.code, now_s=now_s)
        case Move.PARK:
            return await queries.park(conn, claimed, reason=outcome.code, now_s=now_s)
        case Move.AGAIN:
            return await queries.reschedule(conn, claimed, failures=step.failures, next_attempt_s=step.next_attempt_s)


def _announcements(
    tenant_id: str,
    endpoint: EndpointSettings,
    others: Sequence[EndpointSettings],
    reason: str,
    settlement: Settlement,
) -> list[OutboxMessage]:
    data = {"endpoint": endpoint.name, "reason": reason, "disabled_at": to_datetime(settlement.now_s)}
    return [
        OutboxMessage(
            tenant_id=tenant_id,
            endpoint=other.name,
            stream_key=f"endpoint_{endpoint.name}",
            type=MessageType.ENDPOINT_DISABLED,
            data=data,
            at_s=settlement.gateway_now_s,
        )
        for other in others
        if MessageType.ENDPOINT_DISABLED in other.types
    ]
