"""Plays one case through an endpoint, from its opening to its end, before the first real one is sent."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

from crm_sync.adapters.contract import CrmAdapter, Delivery, Health, Outcome, Result
from crm_sync.outbox import OutboxMessage, encode_body
from crm_sync.settings import MessageType
from devices.clock import to_datetime
from devices.errors import Retryable


async def rehearse(
    adapter: CrmAdapter, now_s: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[Health]:
    """Open, look for, add to and resolve a case that says that it is a test; ends at the first step that fails."""
    case_id, external_id = f"case_check_{secrets.token_hex(6)}", None
    opened = await adapter.deliver(_delivery(case_id, MessageType.CASE_OPENED, external_id, now_s))
    yield _say("a record was made", opened)
    if opened.result is not Result.OK:
        return
    external_id = opened.external_id
    if adapter.capabilities.lookup != "none":
        await sleep(adapter.capabilities.lookup_lag_s)
        found = await _look(adapter, case_id, external_id)
        yield found
        if not found.ok:
            return
    for kind, words in ((MessageType.CASE_UPDATED, "it was added to"), (MessageType.CASE_RESOLVED, "it was closed")):
        outcome = await adapter.deliver(_delivery(case_id, kind, external_id, now_s))
        yield _say(words, outcome)
        if outcome.result is not Result.OK:
            return


async def _look(adapter: CrmAdapter, case_id: str, external_id: str | None) -> Health:
    try:
        found = await adapter.find_case(case_id)
    except Retryable as error:
        return Health(ok=False, detail=f"it could not be looked for: {error}")
    if list(found) == [external_id]:
        return Health(ok=True, detail="it is found under the case's id")
    shown = ", ".join(found) or "nothing"
    return Health(ok=False, detail=f"under the case's id {shown} is found, not {external_id}")


def _say(words: str, outcome: Outcome) -> Health:
    if outcome.result is Result.OK:
        return Health(ok=True, detail=words if outcome.external_id is None else f"{words}: {outcome.external_id}")
    told = " ".join(part for part in (outcome.result, outcome.code, outcome.field, outcome.detail) if part)
    return Health(ok=False, detail=f"not so: {words}: {told}"[:600])


def _delivery(case_id: str, kind: MessageType, external_id: str | None, now_s: float) -> Delivery:
    is_over = kind is MessageType.CASE_RESOLVED
    data: dict[str, object] = {
        "case_id": case_id,
        "version": 1,
        "change": "resolved_by_agent" if is_over else "opened",
        "state": "resolved" if is_over else "open",
        "problem": "check",
        "severity": "minor",
        "title": "careloop: a test of the connection",
        "brief": "Somebody is connecting careloop. There is nothing to do; this record may be deleted.",
        "team": "service",
        "opened_at": to_datetime(now_s),
        "sla_due_at": None,
        "device_id": "check",
        "asset": {"asset_id": "check", "serial": None, "model": None},
        "owner_ref": None,
        "account_ref": None,
        "alarms": [],
        "relapse_of": None,
    }
    message = OutboxMessage("default", "check", case_id, kind, data, now_s)
    return Delivery(case_id, message.message_id, kind, encode_body(message), external_id, 1, uncertain=False)
