"""Commands to a device as pages show them, with what telemetry said of each: read only, on the caller's connection."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

Connection = AsyncConnection[TupleRow]

PENDING: Final = ("queued", "sent", "delivered")


@dataclass(frozen=True, slots=True)
class CommandRow:
    """A command, and the silent fix that it was, if it was one."""

    command_id: str
    name: str
    data: Mapping[str, object]
    issued_by: str
    state: str
    detail: str
    issued_at: datetime
    expires_at: datetime
    reached_at: datetime | None
    settled_at: datetime | None
    case_id: str | None
    fix_state: str | None
    fix_reason: str | None
    verify_until: datetime | None
    fix_settled_at: datetime | None

    @property
    def is_pending(self) -> bool:
        """Whether it can still be taken back."""
        return self.state in PENDING


_COMMANDS: Final[LiteralString] = """
SELECT c.command_id, c.name, c.data, c.issued_by, c.state, c.detail, c.issued_at, c.expires_at, c.reached_at,
       c.settled_at, f.case_id, f.state AS fix_state, f.reason AS fix_reason, f.verify_until,
       f.settled_at AS fix_settled_at
  FROM device_command c LEFT JOIN silent_fix f USING (command_id)
 WHERE c.tenant_id = %(tenant_id)s AND c.device_id = %(device_id)s
   AND (%(since)s::timestamptz IS NULL OR c.issued_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR c.issued_at <= %(until)s)
 ORDER BY c.issued_at DESC, c.command_id DESC LIMIT 20
"""


async def commands_of(
    conn: Connection, tenant_id: str, device_id: str, since: datetime | None = None, until: datetime | None = None
) -> list[CommandRow]:
    """What a device was told, the newest first; of a stretch of time where one is named."""
    values = {"tenant_id": tenant_id, "device_id": device_id, "since": since, "until": until}
    async with conn.cursor(row_factory=class_row(CommandRow)) as cursor:
        return await (await cursor.execute(_COMMANDS, values)).fetchall()
