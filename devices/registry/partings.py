"""Devices that have to be forgotten: asked for by whoever changes the registry, in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from psycopg.rows import args_row

from devices.registry.queries import Connection


class Why(StrEnum):
    """Why nothing that was learnt of a device holds any more."""

    REMOVED = "device_removed"
    OWNER_CHANGED = "owner_changed"


@dataclass(frozen=True, slots=True)
class Parting:
    """One device to forget."""

    parting_id: int
    tenant_id: str
    device_id: str
    why: Why


ASK: Final = "INSERT INTO device_parting (tenant_id, device_id, why) VALUES (%s, %s, %s)"


async def ask_parting(conn: Connection, tenant_id: str, device_id: str, why: Why) -> None:
    """Have a device forgotten."""
    _ = await conn.execute(ASK, (tenant_id, device_id, str(why)))


# The devices are those of the session's table `entering`.
FOLLOW_OWNERS: Final = """
WITH present AS (
    SELECT a.device_id, s.owner_ref FROM entering e JOIN asset a USING (device_id)
    JOIN ownership s ON s.asset_id = a.asset_id AND s.until IS NULL
), changed AS (
    UPDATE device_owner o SET owner_ref = present.owner_ref FROM present
    WHERE o.device_id = present.device_id AND o.owner_ref <> present.owner_ref
    RETURNING o.tenant_id, o.device_id
)
INSERT INTO device_parting (tenant_id, device_id, why) SELECT tenant_id, device_id, 'owner_changed' FROM changed
"""
MEET_OWNERS: Final = """
INSERT INTO device_owner (tenant_id, device_id, owner_ref)
SELECT s.tenant_id, a.device_id, s.owner_ref FROM entering e JOIN asset a USING (device_id)
JOIN ownership s ON s.asset_id = a.asset_id AND s.until IS NULL
ON CONFLICT (device_id) DO NOTHING
"""


async def follow_owners(conn: Connection) -> None:
    """Have the devices that are being entered forgotten, where their owner is another than the last that was known."""
    _ = await conn.execute(FOLLOW_OWNERS)
    _ = await conn.execute(MEET_OWNERS)


LIST_PARTINGS: Final = """
SELECT parting_id, tenant_id, device_id, why FROM device_parting ORDER BY parting_id LIMIT %s
"""


async def list_partings(conn: Connection, limit: int) -> list[Parting]:
    """Those asked for first."""
    async with conn.cursor(row_factory=args_row(Parting)) as cursor:
        return await (await cursor.execute(LIST_PARTINGS, (limit,))).fetchall()


END_PARTINGS: Final = "DELETE FROM device_parting WHERE parting_id = ANY(%s)"


async def end_partings(conn: Connection, partings: Sequence[Parting]) -> None:
    """They are done."""
    _ = await conn.execute(END_PARTINGS, ([parting.parting_id for parting in partings],))
