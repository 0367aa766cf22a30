"""Takes over what a CRM did with a record."""

from typing import Final

from crm_sync.adapters.contract import RecordChange
from crm_sync.cases.callback import ApplyCallback, CallbackEffect, CaseCallback
from crm_sync.cases.hearers import raise_external_version
from crm_sync.delivery.queries import record_external_id
from crm_sync.records import queries
from crm_sync.records.queries import Connection
from crm_sync.trust.verdicts import has_said

BUSY: Final = "busy"
"""Something is on its way to the record, and will say there how the case stands."""

_LIVE: Final = frozenset({"accepted", "in_progress", "waiting"})


async def take(
    conn: Connection, tenant_id: str, endpoint: str, change: RecordChange, now_s: float, *, apply: ApplyCallback
) -> str:
    """Apply what a hook tells; `now_s` is the gateway's clock. What was seen before has no effect."""
    known = await queries.find(conn, tenant_id, endpoint, change)
    case_id = change.case_id if known is None else known.case_id
    if case_id is None:
        return CallbackEffect.UNKNOWN_CASE
    if known is not None and _is_duplicate(known, change):
        return CallbackEffect.OTHER_RECORD
    if known is not None and await _tells_nothing(conn, known, change):
        return await _see_again(conn, tenant_id, endpoint, known, change)
    callback = CaseCallback(
        tenant_id,
        endpoint,
        case_id,
        change.status,
        now_s,
        outcome=change.outcome,
        version=change.version,
        customer_said=change.customer_said,
    )
    effect = await apply(conn, callback)
    if effect is CallbackEffect.UNKNOWN_CASE or effect is CallbackEffect.OLD_VERSION:
        return effect
    if change.external_id is not None:
        await record_external_id(conn, tenant_id, endpoint, case_id, change.external_id, now_s=now_s)
    await queries.note_seen(conn, tenant_id, endpoint, case_id, change)
    return effect


async def take_found(
    conn: Connection, tenant_id: str, endpoint: str, change: RecordChange, now_s: float, *, apply: ApplyCallback
) -> str:
    """Apply what was found by asking: how the record stands now, however it came to that."""
    known = await queries.find(conn, tenant_id, endpoint, change)
    if known is None:
        return CallbackEffect.UNKNOWN_CASE  # another program's record, or one that was never acknowledged to us
    if not known.is_quiet and not _is_duplicate(known, change):
        return BUSY
    return await take(conn, tenant_id, endpoint, change, now_s, apply=apply)


def _is_duplicate(known: queries.Known, change: RecordChange) -> bool:
    """Whether it is a second record of the case, which careloop puts away: that says nothing of the case."""
    return change.may_be_duplicate and change.external_id not in {None, known.external_id}


async def _tells_nothing(conn: Connection, known: queries.Known, change: RecordChange) -> bool:
    said = change.customer_said
    says_more = bool(said.strip()) and not await has_said(conn, known.case_id, said)
    return (_is_old_news(known, change) or _is_own_doing(known, change)) and not says_more


async def _see_again(
    conn: Connection, tenant_id: str, endpoint: str, known: queries.Known, change: RecordChange
) -> str:
    """A record stands where it was seen, or where careloop has put it: what was told before it is old all the same."""
    if change.version is not None and not await raise_external_version(conn, known.case_id, endpoint, change.version):
        return CallbackEffect.OLD_VERSION
    if not _is_old_news(known, change) and not known.is_reopening:
        await queries.note_seen(conn, tenant_id, endpoint, known.case_id, change, is_own=True)
    return CallbackEffect.NO_CHANGE


def _is_own_doing(known: queries.Known, change: RecordChange) -> bool:
    """Whether no agent has done it: a word that careloop has put there, and nobody has changed since."""
    if change.outcome is not None or change.status not in _LIVE:
        return False
    return known.is_reopening or change.word in known.put_as


def _is_old_news(known: queries.Known, change: RecordChange) -> bool:
    return (known.seen_status, known.seen_outcome) == (change.status, change.outcome)
