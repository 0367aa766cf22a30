"""What the rest of careloop asks of the registry, and the little that a running gateway writes into it.

A change of devices or credentials is notified on CHANNEL when it is committed: the payload is the device's id, or
`*` where many have changed.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, cast

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, args_row, class_row

from devices.errors import QuarantineReason, Rejected
from devices.ids import partition_of
from devices.registry.model import AssetView, Credential, Device, FirmwareSeen, Grant, GrantState, ListedDevice, Source

Connection = AsyncConnection[TupleRow]

CHANNEL: Final = "careloop_registry"

LOAD_DEVICES: Final = """
SELECT device_id, tenant_id, model, region, partition FROM device
WHERE revoked_at IS NULL AND (%(device_id)s::text IS NULL OR device_id = %(device_id)s)
"""


async def load_devices(conn: Connection, device_id: str | None = None) -> list[Device]:
    """Every device that is not removed, or the one of this id."""
    async with conn.cursor(row_factory=args_row(Device)) as cursor:
        return await (await cursor.execute(LOAD_DEVICES, {"device_id": device_id})).fetchall()


FIND_DEVICES: Final = """
SELECT device_id, tenant_id, model, region, partition FROM device
WHERE revoked_at IS NULL AND device_id = ANY (%s)
"""


async def find_devices(conn: Connection, device_ids: Sequence[str]) -> list[Device]:
    """Those of these devices that there are, and that are not removed."""
    async with conn.cursor(row_factory=args_row(Device)) as cursor:
        return await (await cursor.execute(FIND_DEVICES, (list(device_ids),))).fetchall()


LOAD_CREDENTIALS: Final = """
SELECT c.credential_id, c.tenant_id, c.device_id, c.scheme, c.salt, c.digest
FROM device_credential c JOIN device d USING (device_id)
WHERE c.revoked_at IS NULL AND d.revoked_at IS NULL
  AND (%(device_id)s::text IS NULL OR c.device_id = %(device_id)s)
ORDER BY c.credential_id DESC
"""


async def load_credentials(conn: Connection, device_id: str | None = None) -> list[Credential]:
    """What may be signed in with now, newest first: of every device, or of one."""
    async with conn.cursor(row_factory=args_row(Credential)) as cursor:
        return await (await cursor.execute(LOAD_CREDENTIALS, {"device_id": device_id})).fetchall()


READ_TOGETHER: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


async def read_together(conn: Connection) -> None:
    """At the beginning of a transaction: all that it reads is as of one moment."""
    _ = await conn.execute(READ_TOGETHER)


READ_MARK: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"


async def read_mark(conn: Connection) -> str:
    """A mark before which this transaction sees every change."""
    row = await (await conn.execute(READ_MARK)).fetchone()
    assert row is not None
    return str(row[0])


# Each device's credentials are looked up by the index, with statistics or without: OFFSET keeps the planner from
# reading the whole table of credentials for every few hundred devices.
READ_CHANGES: Final = """
SELECT d.device_id, d.tenant_id, d.model, d.region, d.partition, d.revoked_at IS NULL,
       c.credential_id, c.scheme, c.salt, c.digest
FROM (
    SELECT * FROM device
    WHERE device_id > %(after)s
      AND (%(since)s::text IS NULL OR changed_by >= %(since)s::text::xid8)
      AND (%(device_ids)s::text[] IS NULL OR device_id = ANY (%(device_ids)s))
    ORDER BY device_id LIMIT %(limit)s
) AS d
LEFT JOIN LATERAL (
    SELECT * FROM device_credential
    WHERE device_id = d.device_id AND revoked_at IS NULL AND d.revoked_at IS NULL OFFSET 0
) AS c ON true
ORDER BY d.device_id, c.credential_id DESC
"""


async def read_changes(
    conn: Connection, since: str | None, device_ids: Sequence[str] | None, *, after: str, limit: int
) -> list[TupleRow]:
    """Some devices behind `after`, removed ones too, and a row for each credential: those since a mark, these, or all.

    In the order of ids; a device's rows are all there.
    """
    named = None if device_ids is None else list(device_ids)
    parameters = {"since": since, "device_ids": named, "after": after, "limit": limit}
    return await (await conn.execute(READ_CHANGES, parameters)).fetchall()


DEVICE_EXISTS: Final = "SELECT EXISTS (SELECT FROM device WHERE device_id = %s AND revoked_at IS NULL)"


async def device_exists(conn: Connection, device_id: str) -> bool:
    """Whether there is such a device, and it is not removed."""
    row = await (await conn.execute(DEVICE_EXISTS, (device_id,))).fetchone()
    return row is not None and row[0] is True


KEEP_TENANT: Final = "INSERT INTO tenant (tenant_id, name) VALUES (%(tenant_id)s, %(tenant_id)s) ON CONFLICT DO NOTHING"


async def keep_tenant(conn: Connection, tenant_id: str) -> None:
    """Make a tenant known, under its id until somebody gives it a name."""
    _ = await conn.execute(KEEP_TENANT, {"tenant_id": tenant_id})


# A removed device comes back only when somebody adds it again: neither a message of its own nor an old file does that.
REGISTER_DEVICE: Final = """
INSERT INTO device (tenant_id, device_id, partition, model, source)
VALUES (%(tenant_id)s, %(device_id)s, %(partition)s, %(model)s, %(source)s)
ON CONFLICT (device_id) DO UPDATE
SET model = COALESCE(EXCLUDED.model, device.model), revoked_at = NULL
WHERE device.tenant_id = EXCLUDED.tenant_id AND (device.revoked_at IS NULL OR EXCLUDED.source = 'add')
  AND (device.revoked_at IS NOT NULL OR device.model IS DISTINCT FROM COALESCE(EXCLUDED.model, device.model))
"""
MAKE_ASSET: Final = """
INSERT INTO asset (tenant_id, asset_id, device_id, model)
SELECT tenant_id, device_id, device_id, model FROM device WHERE device_id = %s
ON CONFLICT DO NOTHING
"""


async def register_device(
    conn: Connection, tenant_id: str, device_id: str, model: str | None, source: Source
) -> Device:
    """Make a device known, with an asset of its own where it has none; doing it again changes nothing.

    Raises Rejected (unknown_device) where it was removed, unless the source is `add`, or is another tenant's.
    """
    parameters = {
        "tenant_id": tenant_id,
        "device_id": device_id,
        "partition": partition_of(device_id),
        "model": model,
        "source": source,
    }
    await keep_tenant(conn, tenant_id)
    _ = await conn.execute(REGISTER_DEVICE, parameters)
    found = await load_devices(conn, device_id)
    if not found or found[0].tenant_id != tenant_id:
        detail = f"{device_id} was removed" if not found else f"{device_id} is another tenant's"
        raise Rejected(QuarantineReason.UNKNOWN_DEVICE, detail)
    _ = await conn.execute(MAKE_ASSET, (device_id,))
    return found[0]


# A device repeats its firmware in every reading: only a change from what it ran just before that moment is kept.
RECORD_FIRMWARE: Final = """
INSERT INTO firmware_history (tenant_id, device_id, firmware, since, received_at)
SELECT DISTINCT ON (seen.device_id, seen.since) seen.*
FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
     AS seen (tenant_id, device_id, firmware, since, received_at)
LEFT JOIN LATERAL (
    SELECT firmware FROM firmware_history earlier
    WHERE earlier.device_id = seen.device_id AND earlier.since <= seen.since
    ORDER BY earlier.since DESC, earlier.received_at DESC LIMIT 1
) AS before ON true
WHERE before.firmware IS DISTINCT FROM seen.firmware
ON CONFLICT DO NOTHING
RETURNING device_id
"""


async def record_firmware(conn: Connection, rows: Sequence[FirmwareSeen]) -> list[FirmwareSeen]:
    """Keep what is a change of firmware, and return that.

    Several changes of one device in one call must come as separate calls.
    """
    if not rows:
        return []
    columns = zip(
        *((row.tenant_id, row.device_id, row.firmware, row.since, row.received_at) for row in rows), strict=True
    )
    cursor = await conn.execute(RECORD_FIRMWARE, [list(column) for column in columns])
    changed = {row[0] for row in await cursor.fetchall()}
    return [row for row in rows if row.device_id in changed]


ASSET_OF: Final = """
SELECT a.tenant_id, a.asset_id, a.device_id, COALESCE(d.model, a.model) AS model,
       COALESCE(d.region, a.region) AS region, a.serial, a.purchased_on, a.warranty_until, a.lifecycle_stage,
       f.firmware, o.owner_ref, o.account_ref, o.time_zone, o.language
FROM asset a
JOIN device d USING (device_id)
LEFT JOIN ownership s ON s.asset_id = a.asset_id AND s.until IS NULL
LEFT JOIN owner o ON o.tenant_id = s.tenant_id AND o.owner_ref = s.owner_ref
LEFT JOIN LATERAL (
    SELECT firmware FROM firmware_history h WHERE h.device_id = a.device_id
    ORDER BY since DESC, received_at DESC LIMIT 1
) AS f ON true
WHERE a.device_id = %s
"""


async def asset_of(conn: Connection, device_id: str) -> AssetView | None:
    """The asset that a device is in, with its present owner and firmware."""
    async with conn.cursor(row_factory=class_row(AssetView)) as cursor:
        return await (await cursor.execute(ASSET_OF, (device_id,))).fetchone()


# The last word counts, not the last date: clocks differ, and a person's last word is what was recorded last.
GRANT_STATE: Final = """
SELECT CASE WHEN valid_until IS NULL OR valid_until > %(at)s THEN state END
FROM grant_record
WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND purpose = %(purpose)s
  AND recipient = %(recipient)s AND valid_from <= %(at)s AND NOT historic
ORDER BY grant_id DESC LIMIT 1
"""


async def grant_state(  # noqa: PLR0917 - the five parts of a grant's key, and when
    conn: Connection, tenant_id: str, owner_ref: str, purpose: str, recipient: str, at: datetime
) -> GrantState | None:
    """What the owner's last word on this purpose and recipient is at `at`; None where there is none, or it ran out."""
    parameters = {
        "tenant_id": tenant_id,
        "owner_ref": owner_ref,
        "purpose": purpose,
        "recipient": recipient,
        "at": at,
    }
    row = await (await conn.execute(GRANT_STATE, parameters)).fetchone()
    return None if row is None else cast("GrantState | None", row[0])


GRANTS_OF: Final = """
SELECT DISTINCT ON (purpose, recipient)
       owner_ref, purpose, recipient, state, basis, source, recorded_at, valid_from, valid_until
FROM grant_record WHERE tenant_id = %s AND owner_ref = %s AND NOT historic
ORDER BY purpose, recipient, grant_id DESC
"""


async def grants_of(conn: Connection, tenant_id: str, owner_ref: str) -> list[Grant]:
    """The owner's last word on each purpose and recipient."""
    async with conn.cursor(row_factory=class_row(Grant)) as cursor:
        return await (await cursor.execute(GRANTS_OF, (tenant_id, owner_ref))).fetchall()


LIST_DEVICES: Final = """
SELECT d.device_id, d.model, d.region, d.source, d.registered_at, f.firmware, a.asset_id, s.owner_ref,
       (SELECT count(*) FROM device_credential c WHERE c.device_id = d.device_id AND c.revoked_at IS NULL)
FROM (
    SELECT * FROM device
    WHERE tenant_id = %(tenant_id)s AND revoked_at IS NULL AND device_id > %(after)s
      AND (%(model)s::text IS NULL OR model = %(model)s)
    ORDER BY device_id LIMIT %(limit)s
) AS d
LEFT JOIN asset a USING (device_id)
LEFT JOIN ownership s ON s.asset_id = a.asset_id AND s.until IS NULL
LEFT JOIN LATERAL (
    SELECT firmware FROM firmware_history h WHERE h.device_id = d.device_id
    ORDER BY since DESC, received_at DESC LIMIT 1
) AS f ON true
ORDER BY d.device_id
"""


async def list_devices(
    conn: Connection, tenant_id: str, *, model: str | None = None, after: str = "", limit: int = 100
) -> list[ListedDevice]:
    """Devices by id, from the first one behind `after`; of one model where it is named."""
    parameters = {"tenant_id": tenant_id, "model": model, "after": after, "limit": limit}
    async with conn.cursor(row_factory=args_row(ListedDevice)) as cursor:
        return await (await cursor.execute(LIST_DEVICES, parameters)).fetchall()


_COUNT_DEVICES: Final = """
SELECT CASE WHEN a.asset_id IS NOT NULL THEN coalesce(d.model, a.model) END, count(*)::integer
  FROM device d LEFT JOIN asset a USING (device_id)
 WHERE d.tenant_id = %s AND d.revoked_at IS NULL
   AND NOT (coalesce(d.model, a.model) IS NULL AND d.device_id LIKE ANY(%s::text[]))
 GROUP BY 1
"""


async def count_devices(conn: Connection, tenant_id: str, edge_nodes: Iterable[str] = ()) -> dict[str | None, int]:
    """How many registered devices a tenant has of each model, as `asset_of` gives it; None where that knows none.

    Who only speaks for others is none: those of no model among `edge_nodes`, ids and patterns (`*`: any characters).
    """
    values = [tenant_id, as_like(edge_nodes)]
    return {model: count async for model, count in await conn.execute(_COUNT_DEVICES, values)}


def as_like(patterns: Iterable[str]) -> list[str]:
    """Patterns of device ids, in which `*` stands for any characters, as SQL's LIKE has them."""
    return [pattern.replace("_", r"\_").replace("*", "%") for pattern in patterns]
