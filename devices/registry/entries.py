"""Entering devices into the registry, thousands at a time, each statement once for all of them.

What a file says is true of devices, assets and owners: it overwrites, and what it leaves out stays. It may not undo
what was decided later: a removed device stays removed, a revoked password stays revoked, and a grant that the owner
has taken back since is not given again.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Final

from devices.errors import ConfigError, Fault
from devices.ids import partition_of
from devices.registry.model import Source
from devices.registry.partings import follow_owners
from devices.registry.passwords import enter_passwords
from devices.registry.queries import Connection, keep_tenant
from devices.registry.records import DeviceRecord, OwnerRecord


@dataclass(frozen=True, slots=True)
class Entered:
    """What entering devices changed."""

    devices: int = 0  # read
    added: int = 0
    changed: int = 0
    passwords: int = 0  # new ones
    handovers: int = 0  # assets that have another owner now
    grants: int = 0  # new records
    left_removed: tuple[str, ...] = ()  # devices that were removed once, and stay so

    def __add__(self, other: "Entered") -> "Entered":
        """Both together."""
        return Entered(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


async def enter(
    conn: Connection, records: Sequence[DeviceRecord], *, tenant_id: str, source: Source, at: datetime
) -> Entered:
    """Enter devices with their assets, owners, passwords and grants.

    Raises ConfigError where a device or an asset is another tenant's.
    """
    known = await _known(conn, records, tenant_id)
    removed = {device_id for device_id, is_removed in known.items() if is_removed and source != "add"}
    entered = [record for record in records if record.device_id not in removed]
    await keep_tenant(conn, tenant_id)
    await _put_down(conn, entered)
    changed = await _enter_devices(conn, tenant_id, source)
    await _enter_assets(conn, tenant_id, at)
    await _enter_owners(conn, tenant_id, entered)
    handovers = await _hand_over(conn, tenant_id, at)
    await follow_owners(conn)
    grants = await _enter_grants(conn, tenant_id, entered, at)
    await _enter_firmware(conn, tenant_id, at)
    passwords = await enter_passwords(conn, tenant_id, entered)
    added = sum(record.device_id not in known for record in entered)
    return Entered(
        devices=len(records),
        added=added,
        changed=changed - added,
        passwords=passwords,
        handovers=handovers,
        grants=grants,
        left_removed=tuple(sorted(removed)),
    )


KNOWN_DEVICES: Final = """
SELECT device_id, tenant_id, revoked_at IS NOT NULL FROM device WHERE device_id = ANY(%s)
"""
FOREIGN_ASSETS: Final = "SELECT asset_id FROM asset WHERE asset_id = ANY(%s) AND tenant_id <> %s"


async def _known(conn: Connection, records: Sequence[DeviceRecord], tenant_id: str) -> dict[str, bool]:
    """Which of the devices exist already, and whether they were removed."""
    device_ids = [record.device_id for record in records]
    asset_ids = [record.asset.asset_id or record.device_id for record in records]
    rows = await (await conn.execute(KNOWN_DEVICES, (device_ids,))).fetchall()
    foreign = await (await conn.execute(FOREIGN_ASSETS, (asset_ids, tenant_id))).fetchall()
    taken = [device_id for device_id, tenant, _ in rows if tenant != tenant_id] + [row[0] for row in foreign]
    if taken:
        raise ConfigError([Fault(name, "another tenant's", "ids that no other tenant uses") for name in taken])
    return {device_id: is_removed for device_id, _, is_removed in rows}


# The records of one call, as a table of this session, so that each statement below enters all of them at once.
MAKE_ENTERING: Final = """
CREATE TEMPORARY TABLE IF NOT EXISTS entering (
    device_id text, partition smallint, model text, region text, firmware text, asset_id text, serial text,
    purchased_on date, warranty_until date, lifecycle_stage text, owner_ref text
)
"""
EMPTY_ENTERING: Final = "TRUNCATE entering"
COPY_ENTERING: Final = "COPY entering FROM STDIN"


async def _put_down(conn: Connection, records: Sequence[DeviceRecord]) -> None:
    _ = await conn.execute(MAKE_ENTERING)
    _ = await conn.execute(EMPTY_ENTERING)
    async with conn.cursor() as cursor, cursor.copy(COPY_ENTERING) as copy:
        for record in records:
            asset = record.asset
            await copy.write_row(
                (
                    record.device_id,
                    partition_of(record.device_id),
                    record.model,
                    record.region,
                    record.firmware,
                    asset.asset_id,
                    asset.serial,
                    asset.purchased_on,
                    asset.warranty_until,
                    asset.lifecycle_stage,
                    record.owner.owner_ref if record.owner else None,
                )
            )


ENTER_DEVICES: Final = """
INSERT INTO device (tenant_id, device_id, partition, model, region, source)
SELECT %(tenant_id)s, device_id, partition, model, region, %(source)s FROM entering
ON CONFLICT (device_id) DO UPDATE
SET model = COALESCE(EXCLUDED.model, device.model), region = COALESCE(EXCLUDED.region, device.region),
    revoked_at = NULL
WHERE (device.model, device.region, device.revoked_at)
   IS DISTINCT FROM (COALESCE(EXCLUDED.model, device.model), COALESCE(EXCLUDED.region, device.region), NULL)
"""


async def _enter_devices(conn: Connection, tenant_id: str, source: Source) -> int:
    """How many devices were added or changed."""
    return (await conn.execute(ENTER_DEVICES, {"tenant_id": tenant_id, "source": source})).rowcount


# A device can be in one asset only: taken out of where it was before it is put where the file says.
TAKE_OUT: Final = """
UPDATE asset SET device_id = NULL FROM entering e
WHERE asset.device_id = e.device_id AND e.asset_id IS NOT NULL AND asset.asset_id <> e.asset_id
RETURNING asset.asset_id
"""
PUT_IN: Final = """
INSERT INTO asset (tenant_id, asset_id, device_id, model, region, serial, purchased_on, warranty_until,
                   lifecycle_stage)
SELECT %(tenant_id)s, COALESCE(e.asset_id, a.asset_id, e.device_id), e.device_id, e.model, e.region, e.serial,
       e.purchased_on, e.warranty_until, e.lifecycle_stage
FROM entering e LEFT JOIN asset a USING (device_id)
ON CONFLICT (asset_id) DO UPDATE
SET device_id = EXCLUDED.device_id,
    model = COALESCE(EXCLUDED.model, asset.model),
    region = COALESCE(EXCLUDED.region, asset.region),
    serial = COALESCE(EXCLUDED.serial, asset.serial),
    purchased_on = COALESCE(EXCLUDED.purchased_on, asset.purchased_on),
    warranty_until = COALESCE(EXCLUDED.warranty_until, asset.warranty_until),
    lifecycle_stage = COALESCE(EXCLUDED.lifecycle_stage, asset.lifecycle_stage)
"""
RETIRE: Final = """
UPDATE ownership SET until = GREATEST(%(at)s, since) FROM asset
WHERE ownership.asset_id = ANY(%(asset_ids)s) AND until IS NULL
  AND asset.asset_id = ownership.asset_id AND asset.device_id IS NULL
"""


async def _enter_assets(conn: Connection, tenant_id: str, at: datetime) -> None:
    taken_out = await (await conn.execute(TAKE_OUT)).fetchall()
    _ = await conn.execute(PUT_IN, {"tenant_id": tenant_id})
    if taken_out:
        _ = await conn.execute(RETIRE, {"at": at, "asset_ids": [row[0] for row in taken_out]})


ENTER_OWNERS: Final = """
INSERT INTO owner (tenant_id, owner_ref, account_ref, time_zone, language)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
ON CONFLICT (tenant_id, owner_ref) DO UPDATE
SET account_ref = COALESCE(EXCLUDED.account_ref, owner.account_ref),
    time_zone = COALESCE(EXCLUDED.time_zone, owner.time_zone),
    language = COALESCE(EXCLUDED.language, owner.language)
"""


async def _enter_owners(conn: Connection, tenant_id: str, records: Sequence[DeviceRecord]) -> None:
    """One owner may stand in several records, each telling a part."""
    owners: dict[str, OwnerRecord] = {}
    for owner in (record.owner for record in records if record.owner is not None):
        before = owners.get(owner.owner_ref)
        owners[owner.owner_ref] = before.model_copy(update=owner.model_dump(exclude_none=True)) if before else owner
    columns = (
        list(owners),
        [owner.account_ref for owner in owners.values()],
        [owner.time_zone for owner in owners.values()],
        [owner.language for owner in owners.values()],
    )
    _ = await conn.execute(ENTER_OWNERS, (tenant_id, *columns))


END_OWNERSHIP: Final = """
UPDATE ownership SET until = GREATEST(%(at)s, since)
FROM entering e JOIN asset a USING (device_id)
WHERE ownership.asset_id = a.asset_id AND until IS NULL AND ownership.owner_ref <> e.owner_ref
"""
BEGIN_OWNERSHIP: Final = """
INSERT INTO ownership (tenant_id, asset_id, owner_ref, since)
SELECT %(tenant_id)s, a.asset_id, e.owner_ref, %(at)s
FROM entering e JOIN asset a USING (device_id)
WHERE e.owner_ref IS NOT NULL
ON CONFLICT (asset_id) WHERE until IS NULL DO NOTHING
"""


async def _hand_over(conn: Connection, tenant_id: str, at: datetime) -> int:
    """How many assets passed from one owner to another. Grants are the person's: the next owner starts with none."""
    ended = (await conn.execute(END_OWNERSHIP, {"at": at})).rowcount
    _ = await conn.execute(BEGIN_OWNERSHIP, {"tenant_id": tenant_id, "at": at})
    return ended


# Not again what was once recorded, and no `given` from before the owner's last `refused` or `revoked`: who has taken
# a grant back must give it anew, with a later date, before a file can say so.
ENTER_GRANTS: Final = """
INSERT INTO grant_record (tenant_id, owner_ref, purpose, recipient, state, basis, source, recorded_at, valid_from,
                          valid_until)
SELECT DISTINCT %(tenant_id)s, g.owner_ref, g.purpose, g.recipient, g.state, g.basis, g.source, %(at)s::timestamptz,
       g.valid_from, g.valid_until
FROM jsonb_to_recordset(%(grants)s::jsonb) AS g (
    owner_ref text, purpose text, recipient text, state text, basis text, source text, valid_from timestamptz,
    valid_until timestamptz)
WHERE NOT EXISTS (
    SELECT FROM grant_record known
    WHERE known.tenant_id = %(tenant_id)s AND known.owner_ref = g.owner_ref AND known.purpose = g.purpose
      AND known.recipient = g.recipient
      AND ((known.state, known.basis, known.source, known.valid_from, known.valid_until)
           IS NOT DISTINCT FROM (g.state, g.basis, g.source, g.valid_from, g.valid_until)
           OR g.state = 'given' AND known.state <> 'given' AND known.valid_from >= g.valid_from))
"""


async def _enter_grants(conn: Connection, tenant_id: str, records: Sequence[DeviceRecord], at: datetime) -> int:
    grants = [
        {"owner_ref": record.owner.owner_ref} | grant.model_dump(mode="json")
        for record in records
        if record.owner is not None
        for grant in record.grants
    ]
    if not grants:
        return 0
    parameters = {"tenant_id": tenant_id, "grants": json.dumps(grants), "at": at}
    return (await conn.execute(ENTER_GRANTS, parameters)).rowcount


# The firmware that a device left the factory with; once it has spoken for itself, it knows better.
ENTER_FIRMWARE: Final = """
INSERT INTO firmware_history (tenant_id, device_id, firmware, since, received_at)
SELECT %(tenant_id)s, device_id, firmware, %(at)s::timestamptz, %(at)s::timestamptz FROM entering e
WHERE firmware IS NOT NULL AND NOT EXISTS (SELECT FROM firmware_history h WHERE h.device_id = e.device_id)
"""


async def _enter_firmware(conn: Connection, tenant_id: str, at: datetime) -> None:
    _ = await conn.execute(ENTER_FIRMWARE, {"tenant_id": tenant_id, "at": at})
