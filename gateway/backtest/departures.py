"""Devices that were removed or changed hands in a span of history: what was learnt of them held no longer."""

from dataclasses import dataclass
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.registry.partings import Why
from gateway.store.history import Wanted

Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class Departure:
    """A device that was forgotten, before the readings of later batches; `at_s` is the gateway's clock."""

    device_id: str
    why: Why
    batch_seq: int
    at_s: float


LIST_DEPARTURES: LiteralString = """
SELECT device_id, why, batch_seq, extract(epoch FROM forgotten_at)::float8 FROM forgotten_device
WHERE tenant_id = %(tenant_id)s AND forgotten_at >= %(since)s AND forgotten_at < %(until)s
  AND (%(devices)s::text[] IS NULL OR device_id = ANY(%(devices)s))
ORDER BY batch_seq, device_id
"""


async def list_departures(conn: Connection, tenant_id: str, wanted: Wanted) -> list[Departure]:
    """Devices that were removed or changed hands."""
    rows = await (await conn.execute(LIST_DEPARTURES, {**wanted.values, "tenant_id": tenant_id})).fetchall()
    return [Departure(device_id, Why(why), batch_seq, at_s) for device_id, why, batch_seq, at_s in rows]
