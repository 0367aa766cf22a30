"""Whether a CRM holds already what is about to be made there."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from crm_sync.adapters.contract import (
    NOT_LISTED,
    SEVERAL_RECORDS,
    Capabilities,
    CrmAdapter,
    Delivery,
    Limited,
    NotLetIn,
    Outcome,
    Result,
)
from crm_sync.delivery.step import CREATES
from crm_sync.settings import MessageType
from devices.errors import Retryable

_MEANS: Final[Mapping[type[Retryable], Result]] = {Limited: Result.RATE_LIMITED, NotLetIn: Result.AUTH}
_NEAR_S: Final = 0.01  # the wait was as long as it was to be


def may_have_made(kind: MessageType, outcome: Outcome) -> bool:
    """Whether an attempt may have made something though it is to be made again: proxies answer 503 to what was done."""
    was_answered = outcome.result is Result.RETRYABLE and outcome.status is not None
    return outcome.result is Result.UNKNOWN or (kind in CREATES and was_answered)


async def look_up(
    adapter: CrmAdapter, delivery: Delivery, *, asked_s: float | None, now_s: float
) -> Outcome | Delivery:
    """What to deliver; or what is known, where an earlier create may have succeeded and the CRM can be asked.

    A refusal proves nothing either: only a request that never left has surely made nothing. `asked_s` is when the last
    one ended that did leave: in some CRMs "not found" means nothing for a while after.
    """
    can = adapter.capabilities
    is_known = delivery.external_id is not None and can.completes
    if not delivery.uncertain or delivery.type not in CREATES or can.lookup == "none" or is_known:
        return delivery
    try:
        found = await adapter.find_case(delivery.key)
    except Retryable as error:
        return Outcome(
            _MEANS.get(type(error), Result.RETRYABLE), error.reason, error.detail, retry_after_s=error.retry_after_s
        )
    if found:
        return _found(found, delivery, can)
    wait_s = 0.0 if asked_s is None else asked_s + can.lookup_lag_s - now_s
    if wait_s > _NEAR_S:
        return Outcome(Result.RETRYABLE, NOT_LISTED, "what was just made may not be found yet", retry_after_s=wait_s)
    return delivery


def _found(found: Sequence[str], delivery: Delivery, can: Capabilities) -> Outcome | Delivery:
    if len(found) > 1:
        says = f"{len(found)} records hold this case's key"
        if can.unites:  # next time: whoever hears of the others must know which one is kept before they are put away
            return Outcome(Result.RETRYABLE, SEVERAL_RECORDS, says, external_id=found[0])
        return Outcome(Result.CONFLICT, SEVERAL_RECORDS, says)
    if can.completes:  # what came after its making may be missing
        return replace(delivery, external_id=found[0])
    return Outcome(Result.OK, "already_there", external_id=found[0])
