"""What the pages over devices and the fleet ask the database: read only, on the caller's connection."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device in a list."""

    device_id: str
    model: str | None
    region: str | None
    firmware: str | None
    owner_ref: str | None
    alarms: int  # that go on
    cases: int  # live ones
    revoked_at: datetime | None


_LIST_DEVICES: Final[LiteralString] = """
SELECT d.device_id, d.model, d.region, f.firmware, o.owner_ref, d.revoked_at,
       (SELECT count(*) FROM alarm a WHERE a.device_id = d.device_id AND a.state IN ('active', 'unknown')) AS alarms,
       (SELECT count(*) FROM service_case c WHERE c.device_id = d.device_id
           AND c.state IN ('proposed', 'approved', 'open', 'waiting')) AS cases
FROM (
    SELECT * FROM device
    WHERE tenant_id = %(tenant_id)s AND device_id > %(after)s
      AND (%(model)s::text IS NULL OR model = %(model)s)
      AND (%(words)s::text IS NULL OR device_id ILIKE '%%' || %(words)s || '%%'
           OR device_id IN (SELECT a.device_id FROM asset a
                             WHERE a.tenant_id = %(tenant_id)s AND a.serial ILIKE '%%' || %(words)s || '%%'))
    ORDER BY device_id LIMIT %(limit)s
) AS d
LEFT JOIN asset s ON s.device_id = d.device_id
LEFT JOIN ownership o ON o.asset_id = s.asset_id AND o.until IS NULL
LEFT JOIN LATERAL (
    SELECT firmware FROM firmware_history h WHERE h.device_id = d.device_id ORDER BY since DESC LIMIT 1
) AS f ON true
ORDER BY d.device_id
"""


async def find_devices(
    conn: Connection, tenant_id: str, *, words: str | None, model: str | None, after: str, limit: int
) -> list[DeviceRow]:
    """Devices by id, whose id or serial number has these words in it."""
    escaped = None if words is None else words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    values = {"tenant_id": tenant_id, "words": escaped, "model": model, "after": after, "limit": limit}
    async with conn.cursor(row_factory=class_row(DeviceRow)) as cursor:
        return await (await cursor.execute(_LIST_DEVICES, values)).fetchall()


_HAS_DEVICE: Final[LiteralString] = "SELECT EXISTS (SELECT FROM device WHERE tenant_id = %s AND device_id = %s)"


async def has_device(conn: Connection, tenant_id: str, device_id: str) -> bool:
    """Whether a tenant has such a device."""
    row = await (await conn.execute(_HAS_DEVICE, [tenant_id, device_id])).fetchone()
    return row is not None and row[0] is True


@dataclass(frozen=True, slots=True)
class FirmwareRow:
    """A firmware that a device has told."""

    firmware: str
    since: datetime


_FIRMWARE_OF: Final[LiteralString] = """
SELECT firmware, since FROM firmware_history WHERE tenant_id = %s AND device_id = %s ORDER BY since DESC LIMIT 20
"""


async def firmware_of(conn: Connection, tenant_id: str, device_id: str) -> list[FirmwareRow]:
    """The firmwares of a device, the newest first."""
    async with conn.cursor(row_factory=class_row(FirmwareRow)) as cursor:
        return await (await cursor.execute(_FIRMWARE_OF, [tenant_id, device_id])).fetchall()


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that a device told besides readings: an event, or that it came or went."""

    ts: datetime
    code: str
    data: Mapping[str, object] | None


_EVENTS_OF: Final[LiteralString] = """
(SELECT ts, code, data FROM device_event WHERE tenant_id = %(tenant_id)s AND device_id = %(device_id)s
 ORDER BY ts DESC LIMIT 20)
UNION ALL
(SELECT ts, code, NULL FROM device_status WHERE tenant_id = %(tenant_id)s AND device_id = %(device_id)s
 ORDER BY ts DESC LIMIT 20)
ORDER BY ts DESC LIMIT 20
"""


async def events_of(conn: Connection, tenant_id: str, device_id: str) -> list[EventRow]:
    """The newest events of a device."""
    async with conn.cursor(row_factory=class_row(EventRow)) as cursor:
        return await (await cursor.execute(_EVENTS_OF, {"tenant_id": tenant_id, "device_id": device_id})).fetchall()


@dataclass(frozen=True, slots=True)
class ProductRow:
    """A product of an owner."""

    asset_id: str
    device_id: str | None
    model: str | None
    serial: str | None
    warranty_until: datetime | None
    since: datetime
    until: datetime | None
    alarms: int


_PRODUCTS_OF: Final[LiteralString] = """
SELECT o.asset_id, a.device_id, coalesce(d.model, a.model) AS model, a.serial, a.warranty_until, o.since, o.until,
       (SELECT count(*) FROM alarm al
         WHERE al.device_id = a.device_id AND o.until IS NULL AND al.state IN ('active', 'unknown')) AS alarms
FROM ownership o JOIN asset a USING (asset_id) LEFT JOIN device d ON d.device_id = a.device_id
WHERE o.tenant_id = %s AND o.owner_ref = %s
ORDER BY o.until IS NOT NULL, o.since DESC LIMIT 100
"""


async def products_of(conn: Connection, tenant_id: str, owner_ref: str) -> list[ProductRow]:
    """What a person owns and has owned."""
    async with conn.cursor(row_factory=class_row(ProductRow)) as cursor:
        return await (await cursor.execute(_PRODUCTS_OF, [tenant_id, owner_ref])).fetchall()


@dataclass(frozen=True, slots=True)
class OwnerRow:
    """What is known of a person: no name, no address."""

    owner_ref: str
    account_ref: str | None
    time_zone: str | None
    language: str | None


_GET_OWNER: Final[LiteralString] = """
SELECT owner_ref, account_ref, time_zone, language FROM owner WHERE tenant_id = %s AND owner_ref = %s
"""


async def get_owner(conn: Connection, tenant_id: str, owner_ref: str) -> OwnerRow | None:
    """A person, or None."""
    async with conn.cursor(row_factory=class_row(OwnerRow)) as cursor:
        return await (await cursor.execute(_GET_OWNER, [tenant_id, owner_ref])).fetchone()


@dataclass(frozen=True, slots=True)
class CohortRow:
    """The devices of a model that run one firmware, and how they do; None where they have told none."""

    model: str
    firmware: str | None
    devices: int
    affected: int  # with an alarm that goes on
    raised: int  # alarms since the moment asked for


_COHORTS: Final[LiteralString] = """
WITH alarmed AS (
    SELECT device_id, bool_or(state IN ('active', 'unknown')) AS goes_on, count(*) AS raised
    FROM alarm
    WHERE tenant_id = %(tenant_id)s AND raised_at >= %(since)s
    GROUP BY device_id
)
SELECT coalesce(d.model, 'automatic') AS model, f.firmware, count(*) AS devices,
       count(*) FILTER (WHERE a.goes_on) AS affected, coalesce(sum(a.raised), 0)::bigint AS raised
FROM device d
LEFT JOIN LATERAL (
    SELECT firmware FROM firmware_history h WHERE h.device_id = d.device_id ORDER BY since DESC LIMIT 1
) AS f ON true
LEFT JOIN alarmed a ON a.device_id = d.device_id
WHERE d.tenant_id = %(tenant_id)s AND d.revoked_at IS NULL
GROUP BY 1, 2
ORDER BY 1, count(*) DESC, 2
LIMIT 300
"""


async def list_cohorts(conn: Connection, tenant_id: str, since: datetime) -> list[CohortRow]:
    """Models by firmware, the largest group first."""
    async with conn.cursor(row_factory=class_row(CohortRow)) as cursor:
        return await (await cursor.execute(_COHORTS, {"tenant_id": tenant_id, "since": since})).fetchall()


_SILENT_DAYS: Final[LiteralString] = """
SELECT model, day, count(*)::int
FROM (
    SELECT DISTINCT coalesce(d.model, 'automatic') AS model, day::date AS day, a.device_id
    FROM alarm a
    JOIN device d USING (device_id)
    CROSS JOIN LATERAL generate_series(date_trunc('day', greatest(a.raised_at, %(since)s), 'UTC'),
                                       date_trunc('day', coalesce(a.ended_at, %(until)s), 'UTC'), '1 day') AS day
    WHERE a.tenant_id = %(tenant_id)s AND a.kind = 'silence' AND a.state <> 'retracted'
      AND a.raised_at < %(until)s AND coalesce(a.ended_at, %(until)s) >= %(since)s
) AS silent -- each device once a day
GROUP BY model, day
"""


async def silent_days(conn: Connection, tenant_id: str, since: datetime, until: datetime) -> dict[tuple[str, str], int]:
    """How many devices of each model were silent on each day, where any was; days are those of UTC."""
    values = {"tenant_id": tenant_id, "since": since, "until": until}
    return {(model, day.isoformat()): count async for model, day, count in await conn.execute(_SILENT_DAYS, values)}
