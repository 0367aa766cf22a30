"""The rows of captured messages: a ring of so many for each device."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

Connection = AsyncConnection[Any]

MOST_MESSAGES: Final = 100
"""Of one device; the next one takes the place of the oldest."""


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it came, cut where it is long, and what became of it."""

    number: int  # from 0 on, in the order of arrival
    received_at: datetime  # the gateway's clock
    topic: str
    payload: bytes
    payload_bytes: int
    stored: int
    duplicates: int
    quarantined: int
    reason: str | None


_KEEP: Final[LiteralString] = """
INSERT INTO raw_message (tenant_id, device_id, slot, number, received_at, topic, payload, payload_bytes, stored,
                         duplicates, quarantined, reason)
VALUES (%(tenant_id)s, %(device_id)s, %(slot)s, %(number)s, %(received_at)s, %(topic)s, %(payload)s,
        %(payload_bytes)s, %(stored)s, %(duplicates)s, %(quarantined)s, %(reason)s)
ON CONFLICT (tenant_id, device_id, slot) DO UPDATE
   SET (number, received_at, topic, payload, payload_bytes, stored, duplicates, quarantined, reason, kept_at)
     = (excluded.number, excluded.received_at, excluded.topic, excluded.payload, excluded.payload_bytes,
        excluded.stored, excluded.duplicates, excluded.quarantined, excluded.reason, excluded.kept_at)
"""


async def keep_messages(conn: Connection, tenant_id: str, device_id: str, messages: Sequence[RawMessage]) -> None:
    """Keep messages, each in the place of the one that came so many before it."""
    rows = [
        {name: getattr(message, name) for name in RawMessage.__dataclass_fields__}
        | {"tenant_id": tenant_id, "device_id": device_id, "slot": message.number % MOST_MESSAGES}
        for message in messages
    ]
    async with conn.cursor() as cursor:
        await cursor.executemany(_KEEP, rows)


_NEWEST: Final[LiteralString] = """
SELECT number, received_at, topic, payload, payload_bytes, stored, duplicates, quarantined, reason
  FROM raw_message WHERE tenant_id = %s AND device_id = %s ORDER BY number DESC
"""


async def list_messages(conn: Connection, tenant_id: str, device_id: str) -> list[RawMessage]:
    """What is kept of a device, the newest first."""
    async with conn.cursor(row_factory=class_row(RawMessage)) as cursor:
        return await (await cursor.execute(_NEWEST, [tenant_id, device_id])).fetchall()


_DROP: Final[LiteralString] = "DELETE FROM raw_message WHERE tenant_id = %s AND device_id = %s"


async def drop_messages(conn: Connection, tenant_id: str, device_id: str) -> None:
    """Let go what was kept of a device."""
    await conn.execute(_DROP, [tenant_id, device_id])
