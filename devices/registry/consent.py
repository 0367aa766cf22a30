"""Consent records after ISO/IEC TS 27560: every word of a person on one purpose and recipient, in its order."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Any, Final, Literal

from psycopg.rows import dict_row

from devices.registry.model import GrantState
from devices.registry.queries import Connection

IndicatedBy = Literal["subject", "controller", "other"]

_NAMESPACE: Final = uuid.UUID("6f0d3c0e-6f6b-5f3d-9a7e-2f1b8c4d5e60")


class ConsentState(StrEnum):
    """What a record comes to at some moment."""

    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


_COMES_TO: Final[Mapping[GrantState, ConsentState]] = {
    "given": ConsentState.GIVEN,
    "refused": ConsentState.REFUSED,
    "revoked": ConsentState.WITHDRAWN,
}


@dataclass(frozen=True, slots=True)
class ConsentEvent:
    """One word, and all that is known of how it was said."""

    event_id: uuid.UUID
    state: GrantState
    at: datetime  # from when it holds; the epoch where nobody knows
    until: datetime | None
    recorded_at: datetime
    basis: str | None = None
    source: str | None = None
    method: str | None = None
    notice: str | None = None
    notice_version: str | None = None
    notice_language: str | None = None
    personal_data: tuple[str, ...] = ()
    indicated_by: IndicatedBy = "subject"
    recorded_by: str | None = None
    historic: bool = False  # it was told after a later word was known, and never counts


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """Everything that an owner ever said about one purpose and recipient, oldest first."""

    record_id: uuid.UUID
    owner_ref: str
    purpose: str
    recipient: str
    events: Sequence[ConsentEvent]

    def state_at(self, at: datetime) -> ConsentState | None:
        """What the last word comes to; None where none holds yet."""
        holding = [event for event in self.events if event.at <= at and not event.historic]
        if not holding:
            return None
        last = holding[-1]
        if last.state == "given" and last.until is not None and last.until <= at:
            return ConsentState.EXPIRED
        return {"given": ConsentState.GIVEN, "refused": ConsentState.REFUSED, "revoked": ConsentState.WITHDRAWN}[
            last.state
        ]


def record_id_of(tenant_id: str, owner_ref: str, purpose: str, recipient: str) -> uuid.UUID:
    """The id of a record that nobody else has named: the same whenever it is worked out."""
    return uuid.uuid5(_NAMESPACE, f"{tenant_id}\x00{owner_ref}\x00{purpose}\x00{recipient}")


READ_EVENTS: Final = """
SELECT owner_ref, purpose, recipient, record_id, event_id, state, valid_from AS at, valid_until AS until, recorded_at,
       basis, source, method, notice, notice_version, notice_language, coalesce(personal_data, '{}') AS personal_data,
       indicated_by, recorded_by, historic
FROM grant_record
WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s
  AND (%(purpose)s::text IS NULL OR purpose = %(purpose)s)
  AND (%(recipient)s::text IS NULL OR recipient = %(recipient)s)
ORDER BY purpose, recipient, NOT historic, CASE WHEN historic THEN valid_from END, grant_id
"""


async def read_consents(
    conn: Connection, tenant_id: str, owner_ref: str, purpose: str | None = None, recipient: str | None = None
) -> list[ConsentRecord]:
    """An owner's records: of every purpose and recipient, or of those named."""
    values = {"tenant_id": tenant_id, "owner_ref": owner_ref, "purpose": purpose, "recipient": recipient}
    async with conn.cursor(row_factory=dict_row) as cursor:
        rows = await (await cursor.execute(READ_EVENTS, values)).fetchall()
    records: list[ConsentRecord] = []
    for (said_purpose, said_recipient), group in groupby(rows, key=lambda row: (row["purpose"], row["recipient"])):
        found = list(group)
        named = next((row["record_id"] for row in found if row["record_id"] is not None), None)
        record_id = named or record_id_of(tenant_id, owner_ref, said_purpose, said_recipient)
        events = tuple(_event_of_row(row) for row in found)
        records.append(ConsentRecord(record_id, owner_ref, said_purpose, said_recipient, events))
    return records


def _event_of_row(row: Mapping[str, Any]) -> ConsentEvent:
    values: dict[str, Any] = {name: row[name] for name in ConsentEvent.__slots__}
    values["personal_data"] = tuple(row["personal_data"])
    return ConsentEvent(**values)


LIST_OWNERS: Final = """
SELECT DISTINCT owner_ref FROM grant_record WHERE tenant_id = %s AND owner_ref > %s ORDER BY owner_ref LIMIT %s
"""


async def owners_with_consents(conn: Connection, tenant_id: str, after: str = "", limit: int = 1000) -> list[str]:
    """Owners who ever said a word, in the order of their references, from the first one behind `after`."""
    return [row[0] for row in await (await conn.execute(LIST_OWNERS, (tenant_id, after, limit))).fetchall()]


OWNER_EXISTS: Final = "SELECT FROM owner WHERE tenant_id = %s AND owner_ref = %s"


async def owner_exists(conn: Connection, tenant_id: str, owner_ref: str) -> bool:
    """Whether the registry knows an owner."""
    return await (await conn.execute(OWNER_EXISTS, (tenant_id, owner_ref))).fetchone() is not None


# What another system tells of, and was said before the last word that counts, is history: kept, and without effect.
ADD_EVENT: Final = """
INSERT INTO grant_record (tenant_id, owner_ref, purpose, recipient, state, basis, source, recorded_at, valid_from,
                          valid_until, event_id, record_id, method, notice, notice_version, notice_language,
                          personal_data, indicated_by, recorded_by, historic)
SELECT %(tenant_id)s, %(owner_ref)s, %(purpose)s, %(recipient)s, %(state)s, %(basis)s, %(source)s, %(recorded_at)s,
       %(at)s, %(until)s, %(event_id)s, %(record_id)s, %(method)s, %(notice)s, %(notice_version)s, %(notice_language)s,
       %(personal_data)s, %(indicated_by)s, %(recorded_by)s,
       %(imported)s AND EXISTS (SELECT FROM grant_record later
                WHERE later.tenant_id = %(tenant_id)s AND later.owner_ref = %(owner_ref)s
                  AND later.purpose = %(purpose)s AND later.recipient = %(recipient)s AND NOT later.historic
                  AND later.valid_from > %(at)s)
ON CONFLICT (tenant_id, event_id) DO NOTHING
"""


async def add_event(
    conn: Connection, tenant_id: str, record: ConsentRecord, event: ConsentEvent, *, imported: bool = False
) -> bool:
    """Keep one word of an owner, who must be known; False where it is known already.

    It counts from now on, unless it was `imported` and somebody has said something later.
    """
    values = {
        "tenant_id": tenant_id,
        "owner_ref": record.owner_ref,
        "purpose": record.purpose,
        "recipient": record.recipient,
        "record_id": record.record_id,
        "event_id": event.event_id,
        "state": event.state,
        "at": event.at,
        "until": event.until,
        "recorded_at": event.recorded_at,
        "basis": event.basis,
        "source": event.source,
        "method": event.method,
        "notice": event.notice,
        "notice_version": event.notice_version,
        "notice_language": event.notice_language,
        "personal_data": list(event.personal_data) or None,
        "indicated_by": event.indicated_by,
        "recorded_by": event.recorded_by,
        "imported": imported,
    }
    return (await conn.execute(ADD_EVENT, values)).rowcount > 0
