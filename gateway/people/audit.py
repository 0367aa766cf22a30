"""The record of who did what, and of who looked at an owner's data: only ever added."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from gateway.people.model import Actor

Connection = AsyncConnection[Any]

_RECORD: Final[LiteralString] = """
INSERT INTO audit (tenant_id, who, what, subject, inputs) VALUES (%s, %s, %s, %s, %s)
"""


async def record(conn: Connection, actor: Actor, what: str, subject: str, inputs: Mapping[str, object]) -> None:
    """Write down an act, on the transaction that carries it out: no act without its record, no record without the act.

    `what` is a constant of two words (`case.approve`, `owner.read`); `inputs` hold references, never contact data.
    """
    await conn.execute(_RECORD, [actor.tenant_id, str(actor), what, subject, Jsonb(dict(inputs))])


async def record_command(conn: Connection, tenant_id: str, what: str, subject: str, **inputs: object) -> None:
    """Write down what somebody did at the machine itself, with a command."""
    await conn.execute(_RECORD, [tenant_id, "command", what, subject, Jsonb(inputs)])


async def record_owner(conn: Connection, tenant_id: str, what: str, subject: str, **inputs: object) -> None:
    """Write down what an owner did by the link that was given to them."""
    await conn.execute(_RECORD, [tenant_id, "owner", what, subject, Jsonb(inputs)])


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act."""

    audit_id: int
    at: datetime
    who: str
    what: str
    subject: str
    inputs: Mapping[str, object]


_LIST: Final[LiteralString] = """
SELECT audit_id, at, who, what, subject, inputs FROM audit
 WHERE tenant_id = %(tenant_id)s
   AND (%(who)s::text IS NULL OR who = %(who)s)
   AND (%(what)s::text IS NULL OR what = %(what)s)
   AND (%(subject)s::text IS NULL OR subject = %(subject)s)
   AND (%(before)s::bigint IS NULL OR audit_id < %(before)s)
 ORDER BY audit_id DESC
 LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which acts; None lets all pass."""

    who: str | None = None
    what: str | None = None
    subject: str | None = None


async def list_audit(
    conn: Connection, tenant_id: str, which: AuditFilter, *, before: int | None = None, limit: int = 100
) -> list[AuditEntry]:
    """Acts of a tenant, the newest first."""
    values = {
        "tenant_id": tenant_id,
        "who": which.who,
        "what": which.what,
        "subject": which.subject,
        "before": before,
        "limit": limit,
    }
    async with conn.cursor(row_factory=class_row(AuditEntry)) as cursor:
        return await (await cursor.execute(_LIST, values)).fetchall()
