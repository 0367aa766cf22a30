"""What owners allow, as a person or another system says it: kept with its circumstances, and told where it ends."""

import uuid
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection

from crm_sync.outbox import OutboxMessage, enqueue_all
from crm_sync.settings import CrmSettings, MessageType
from devices.clock import to_datetime
from devices.errors import CareloopError, ConfigError, Fault
from devices.registry.consent import ConsentEvent, ConsentRecord, add_event, owner_exists, read_consents, record_id_of
from devices.registry.model import GrantState
from devices.registry.records import DeviceRecord

Connection = AsyncConnection[Any]

Allowed = tuple[str, str, str]
"""Whose, for which purpose, to which recipient."""

MOST_FAULTS: Final = 20


@dataclass(frozen=True, slots=True)
class Word:
    """What an owner says about one purpose and recipient, and how; `state` is of this word."""

    owner_ref: str
    purpose: str
    recipient: str
    state: GrantState
    recorded_by: str
    until: datetime | None = None
    basis: str | None = None
    source: str | None = None
    method: str | None = None
    notice: str | None = None
    notice_version: str | None = None
    notice_language: str | None = None
    personal_data: tuple[str, ...] = ()


async def record_word(
    conn: Connection, settings: CrmSettings, tenant_id: str, word: Word, now_s: float
) -> ConsentRecord:
    """Keep a word that counts from now on, and tell of it where it takes something back. Raises CareloopError."""
    if not await owner_exists(conn, tenant_id, word.owner_ref):
        raise CareloopError(
            "unknown_owner", f"the registry knows no owner {word.owner_ref}; import their product first"
        )
    now = to_datetime(now_s)
    known = await read_consents(conn, tenant_id, word.owner_ref, word.purpose, word.recipient)
    named = known[0].record_id if known else record_id_of(tenant_id, word.owner_ref, word.purpose, word.recipient)
    event = ConsentEvent(
        event_id=uuid.uuid4(),
        state=word.state,
        at=now,
        until=word.until,
        recorded_at=now,
        basis=word.basis,
        source=word.source,
        method=word.method,
        notice=word.notice,
        notice_version=word.notice_version,
        notice_language=word.notice_language,
        personal_data=word.personal_data,
        recorded_by=word.recorded_by,
    )
    before: Sequence[ConsentEvent] = known[0].events if known else ()
    record = ConsentRecord(named, word.owner_ref, word.purpose, word.recipient, [*before, event])
    await add_event(conn, tenant_id, record, event)
    if word.state == "revoked":
        await _tell_revoked(conn, settings, tenant_id, record, now_s)
    return record


async def withdraw_all(
    conn: Connection, settings: CrmSettings, tenant_id: str, said: Word, now_s: float
) -> list[ConsentRecord]:
    """Take back whatever the owner has given and not taken back; `said` tells how. Raises CareloopError."""
    taken: list[ConsentRecord] = []
    for record in await read_consents(conn, tenant_id, said.owner_ref):
        if record.state_at(to_datetime(now_s)) != "given":
            continue
        word = replace(said, purpose=record.purpose, recipient=record.recipient, state="revoked")
        taken.append(await record_word(conn, settings, tenant_id, word, now_s))
    return taken


async def import_records(
    conn: Connection, settings: CrmSettings, tenant_id: str, records: Sequence[ConsentRecord], now_s: float
) -> int:
    """Keep what is not known yet; returns how many words. Raises ConfigError where an owner is unknown."""
    faults = [
        Fault(f"owner {owner_ref}", "unknown to the registry", "an owner of an imported product")
        for owner_ref in dict.fromkeys(record.owner_ref for record in records)
        if not await owner_exists(conn, tenant_id, owner_ref)
    ]
    if faults:
        raise ConfigError(faults[:MOST_FAULTS])
    added = 0
    about = {(record.owner_ref, record.purpose, record.recipient) for record in records}
    async with taken_back(conn, settings, tenant_id, about, to_datetime(now_s)):
        for record in records:
            for event in record.events:
                added += await add_event(conn, tenant_id, record, event, imported=True)
    return added


def said_no(records: Sequence[DeviceRecord]) -> set[Allowed]:
    """What owners no longer allow, by the records of a registry's file."""
    return {
        (record.owner.owner_ref, grant.purpose, grant.recipient)
        for record in records
        if record.owner is not None
        for grant in record.grants
        if grant.state == "revoked"
    }


@asynccontextmanager
async def taken_back(
    conn: Connection, settings: CrmSettings, tenant_id: str, about: Collection[Allowed], at: datetime
) -> AsyncGenerator[None]:
    """Tell of what was given before this block, and is withdrawn after it."""
    given = [each for each in sorted(about) if await _in_state(conn, tenant_id, each, "given", at)]
    yield
    for each in given:
        known = await _in_state(conn, tenant_id, each, "withdrawn", at)
        if known is not None:
            await _tell_revoked(conn, settings, tenant_id, known, at.timestamp())


async def _in_state(conn: Connection, tenant_id: str, about: Allowed, state: str, at: datetime) -> ConsentRecord | None:
    """What is known of a purpose and recipient, if it stands so."""
    found = await read_consents(conn, tenant_id, *about)
    return found[0] if found and found[0].state_at(at) == state else None


async def _tell_revoked(
    conn: Connection, settings: CrmSettings, tenant_id: str, record: ConsentRecord, now_s: float
) -> None:
    """Tell the endpoints that asked for it that a grant has ended; the CRM knows the owner by this reference."""
    data = {
        "owner_ref": record.owner_ref,
        "purpose": record.purpose,
        "recipient": record.recipient,
        "record_id": str(record.record_id),
        "revoked_at": to_datetime(now_s),
    }
    key = f"consent_{record.record_id}"
    await enqueue_all(
        conn,
        [
            OutboxMessage(tenant_id, endpoint.name, key, MessageType.CONSENT_REVOKED, data, now_s)
            for endpoint in settings.endpoints
            if MessageType.CONSENT_REVOKED in endpoint.types
        ],
    )
