"""How an owner stands with the contact policy: who may not contact them, who did, and what waits for a yes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

from devices.clock import to_datetime

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class HoldView:
    """An owner who is to be left alone."""

    owner_ref: str
    kind: str
    actor: str
    why: str
    since: datetime
    until_at: datetime | None


@dataclass(frozen=True, slots=True)
class ContactView:
    """Somebody contacted an owner: careloop, or whoever the endpoint `source` tells of."""

    source: str
    reference: str
    channel: str | None
    contacted_at: datetime
    by_human: bool


@dataclass(frozen=True, slots=True)
class TicketView:
    """A ticket that a person opened for an owner, and that is open."""

    endpoint: str
    external_id: str
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """All of that, of one owner."""

    holds: tuple[HoldView, ...] = ()
    contacts: tuple[ContactView, ...] = ()
    tickets: tuple[TicketView, ...] = ()


_HOLDS: Final[LiteralString] = """
SELECT owner_ref, kind, actor, why, since, until_at FROM owner_hold
 WHERE tenant_id = %(tenant_id)s AND (%(owner_ref)s::text IS NULL OR owner_ref = %(owner_ref)s)
   AND released_at IS NULL AND (until_at IS NULL OR until_at > %(now)s)
 ORDER BY since, hold_id
 LIMIT 1000
"""


async def holds_now(
    conn: Connection, tenant_id: str, now_s: float, owner_ref: str | None = None
) -> tuple[HoldView, ...]:
    """Owners who are to be left alone: every one, or one."""
    values = {"tenant_id": tenant_id, "owner_ref": owner_ref, "now": to_datetime(now_s)}
    async with conn.cursor(row_factory=class_row(HoldView)) as cursor:
        return tuple(await (await cursor.execute(_HOLDS, values)).fetchall())


_CONTACTS: Final[LiteralString] = """
SELECT source, reference, channel, contacted_at, by_human FROM owner_contact
 WHERE tenant_id = %s AND owner_ref = %s ORDER BY contacted_at DESC, contact_id DESC LIMIT 100
"""

_TICKETS: Final[LiteralString] = """
SELECT endpoint, external_id, opened_at FROM human_case
 WHERE tenant_id = %s AND owner_ref = %s AND closed_at IS NULL ORDER BY opened_at, external_id LIMIT 100
"""


async def standing_of(conn: Connection, tenant_id: str, owner_ref: str, now_s: float) -> Standing:
    """How one owner stands."""
    holds = await holds_now(conn, tenant_id, now_s, owner_ref)
    async with conn.cursor(row_factory=class_row(ContactView)) as cursor:
        contacts = tuple(await (await cursor.execute(_CONTACTS, [tenant_id, owner_ref])).fetchall())
    async with conn.cursor(row_factory=class_row(TicketView)) as cursor:
        tickets = tuple(await (await cursor.execute(_TICKETS, [tenant_id, owner_ref])).fetchall())
    return Standing(holds, contacts, tickets)
