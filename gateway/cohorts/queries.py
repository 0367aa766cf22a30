"""What the fleet layer reads and keeps, in the ingest transaction; no function commits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

from devices.clock import to_datetime
from devices.registry.queries import as_like
from gateway.cohorts.comparison import BIRTH_S, Place
from gateway.cohorts.state import VERSION

Connection = AsyncConnection[TupleRow]

LOOK_BACK_S: Final = 14 * 86_400.0
"""How far before its update a device's own past is asked about."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What the registry knows of a device; times are the device's."""

    device_id: str
    tenant_id: str
    model: str
    region: str | None
    firmware: str | None
    since_s: float | None  # that it has run this firmware
    previous: str | None
    first_s: float | None  # when it first told of a firmware

    @property
    def place(self) -> Place:
        """Which devices it is compared with."""
        return Place.of(self.region, self.first_s or 0.0)


# Which row is a device's newest: the one since the latest moment, and of those the one that came last.
FACTS: LiteralString = """
SELECT d.device_id, d.tenant_id, coalesce(d.model, a.model, 'automatic') AS model,
       coalesce(d.region, a.region) AS region, newest.firmware,
       extract(epoch FROM newest.since)::float8 AS since_s, before.firmware AS previous,
       extract(epoch FROM first.since)::float8 AS first_s
FROM unnest(%s::text[]) AS wanted (device_id)
JOIN device d USING (device_id)
LEFT JOIN asset a USING (device_id)
LEFT JOIN LATERAL (
    SELECT firmware, since, received_at FROM firmware_history h WHERE h.device_id = d.device_id
    ORDER BY since DESC, received_at DESC LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT firmware FROM firmware_history h
    WHERE h.device_id = d.device_id AND (h.since, h.received_at) < (newest.since, newest.received_at)
    ORDER BY since DESC, received_at DESC LIMIT 1
) AS before ON true
LEFT JOIN LATERAL (
    SELECT since FROM firmware_history h WHERE h.device_id = d.device_id ORDER BY since LIMIT 1
) AS first ON true
"""


async def read_facts(conn: Connection, device_ids: Iterable[str]) -> dict[str, DeviceFacts]:
    """What is known of devices; those that are not registered are left out."""
    async with conn.cursor(row_factory=class_row(DeviceFacts)) as cursor:
        await cursor.execute(FACTS, [sorted(device_ids)])
        return {row.device_id: row async for row in cursor}


# Who is silent can raise nothing, and is not at risk.
CENSUS: LiteralString = """
SELECT coalesce(d.region, a.region, '') AS region, floor(extract(epoch FROM told.first) / %(birth_s)s)::bigint AS birth,
       told.firmware = %(firmware)s AS is_new, count(*)
FROM (
    SELECT device_id, (array_agg(firmware ORDER BY since DESC, received_at DESC))[1] AS firmware, min(since) AS first
    FROM firmware_history WHERE tenant_id = %(tenant_id)s GROUP BY device_id
) AS told
JOIN device d USING (device_id)
LEFT JOIN asset a USING (device_id)
WHERE d.revoked_at IS NULL AND coalesce(d.model, a.model, 'automatic') = %(model)s
  AND (told.firmware = %(firmware)s OR NOT told.firmware = ANY(%(newer)s))
  AND NOT EXISTS (SELECT FROM alarm s WHERE s.device_id = d.device_id AND s.kind = 'silence'
                  AND s.state IN ('active', 'unknown'))
GROUP BY 1, 2, 3
"""


async def take_census(
    conn: Connection, tenant_id: str, model: str, firmware: str, newer: Sequence[str]
) -> tuple[dict[Place, int], dict[Place, int]]:
    """How many devices of a model run a firmware, and how many another one that is not newer, by place."""
    values = {"tenant_id": tenant_id, "model": model, "firmware": firmware, "newer": list(newer), "birth_s": BIRTH_S}
    new: dict[Place, int] = {}
    others: dict[Place, int] = {}
    for region, birth, is_new, count in await (await conn.execute(CENSUS, values)).fetchall():
        (new if is_new else others)[Place(region, birth)] = count
    return new, others


FIRMWARES: LiteralString = """
SELECT h.firmware, extract(epoch FROM min(h.received_at))::float8
FROM firmware_history h JOIN device d USING (device_id) LEFT JOIN asset a USING (device_id)
WHERE h.tenant_id = %s AND coalesce(d.model, a.model, 'automatic') = %s
GROUP BY 1
"""


async def list_firmwares(conn: Connection, tenant_id: str, model: str) -> dict[str, float]:
    """Every firmware that devices of a model have told of, and when the first of them did."""
    return dict(await (await conn.execute(FIRMWARES, (tenant_id, model))).fetchall())


PAST_PROBLEMS: LiteralString = """
SELECT DISTINCT a.device_id, a.problem
FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS wanted (device_id, start, stop)
JOIN alarm a ON a.device_id = wanted.device_id AND a.raised_at >= wanted.start AND a.raised_at < wanted.stop
WHERE a.state <> 'retracted'
"""


async def past_problems(conn: Connection, devices: Sequence[DeviceFacts]) -> dict[str, frozenset[str]]:
    """The problems that updated devices had in the time that is looked back on."""
    known = [(each.device_id, each.since_s) for each in devices if each.since_s is not None]
    values = (
        [device_id for device_id, _ in known],
        [to_datetime(since_s - LOOK_BACK_S) for _, since_s in known],
        [to_datetime(since_s) for _, since_s in known],
    )
    return _grouped(await (await conn.execute(PAST_PROBLEMS, values)).fetchall())


AFFECTED_OTHERS: LiteralString = """
SELECT device_id, problem FROM cohort_affected
WHERE tenant_id = %s AND model = %s AND firmware = %s AND NOT is_new AND device_id = ANY(%s)
"""


async def affected_others(
    conn: Connection, tenant_id: str, model: str, firmware: str, device_ids: Sequence[str]
) -> dict[str, frozenset[str]]:
    """The problems that devices had while they were compared with a firmware that they did not run."""
    rows = await conn.execute(AFFECTED_OTHERS, (tenant_id, model, firmware, list(device_ids)))
    return _grouped(await rows.fetchall())


def _grouped(rows: Iterable[TupleRow]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for device_id, problem in rows:
        found.setdefault(device_id, set()).add(problem)
    return {device_id: frozenset(problems) for device_id, problems in found.items()}


PUT_AFFECTED: LiteralString = """
INSERT INTO cohort_affected (tenant_id, model, firmware, device_id, problem, is_new)
SELECT %(tenant_id)s, %(model)s, %(firmware)s, device_id, problem, is_new
FROM unnest(%(device_ids)s::text[], %(problems)s::text[], %(is_new)s::boolean[]) AS told (device_id, problem, is_new)
ON CONFLICT DO NOTHING
RETURNING device_id, problem, is_new
"""


async def put_affected(
    conn: Connection, tenant_id: str, model: str, firmware: str, affected: Sequence[tuple[str, str, bool]]
) -> set[tuple[str, str, bool]]:
    """Note device, problem, and whether it runs the compared firmware; those that were not noted before."""
    values = {
        "tenant_id": tenant_id,
        "model": model,
        "firmware": firmware,
        "device_ids": [device_id for device_id, _, _ in affected],
        "problems": [problem for _, problem, _ in affected],
        "is_new": [is_new for _, _, is_new in affected],
    }
    rows = await (await conn.execute(PUT_AFFECTED, values)).fetchall()
    return {(device_id, problem, is_new) for device_id, problem, is_new in rows}


DROP_AFFECTED: LiteralString = "DELETE FROM cohort_affected WHERE tenant_id = %s AND model = %s AND firmware = %s"


async def drop_affected(conn: Connection, tenant_id: str, model: str, firmware: str) -> None:
    """Forget who was affected: the comparison is over, or begins anew."""
    await conn.execute(DROP_AFFECTED, (tenant_id, model, firmware))


# A device whose sign of today is known already gives no other.
PUT_SIGNS: LiteralString = """
INSERT INTO dip_sign AS known (tenant_id, device_id, at)
SELECT %(tenant_id)s, device_id, %(now)s FROM unnest(%(device_ids)s::text[]) AS told (device_id)
ON CONFLICT (tenant_id, device_id) DO UPDATE SET at = excluded.at WHERE known.at < %(now)s - interval '1 day'
RETURNING device_id
"""


async def put_signs(conn: Connection, tenant_id: str, device_ids: Sequence[str], now_s: float) -> set[str]:
    """Note that devices fell silent or out of use; those that had not within a day."""
    values = {"tenant_id": tenant_id, "device_ids": sorted(device_ids), "now": to_datetime(now_s)}
    return {row[0] for row in await (await conn.execute(PUT_SIGNS, values)).fetchall()}


DROP_SIGNS: LiteralString = "DELETE FROM dip_sign WHERE at < %s"


async def drop_signs(conn: Connection, before_s: float) -> None:
    """Forget signs that are older."""
    await conn.execute(DROP_SIGNS, (to_datetime(before_s),))


COUNT_DEVICES: LiteralString = """
SELECT coalesce(d.model, a.model, 'automatic'), coalesce(d.region, a.region, ''), count(*)
FROM device d LEFT JOIN asset a USING (device_id)
WHERE d.tenant_id = %s AND d.revoked_at IS NULL
  AND NOT (coalesce(d.model, a.model) IS NULL AND d.device_id LIKE ANY(%s::text[]))
GROUP BY 1, 2
"""


async def count_devices(conn: Connection, tenant_id: str, edge_nodes: Iterable[str]) -> dict[tuple[str, str], int]:
    """Registered devices by model and region, without edge nodes of no model, by their ids and patterns."""
    rows = await (await conn.execute(COUNT_DEVICES, (tenant_id, as_like(edge_nodes)))).fetchall()
    return {(model, region): count for model, region, count in rows}


READ_STATES: LiteralString = """
SELECT tenant_id, name, version, state FROM cohort_state
WHERE %(names)s::text[] IS NULL OR (tenant_id = %(tenant_id)s AND name = ANY(%(names)s))
"""


async def read_states(
    conn: Connection, tenant_id: str | None = None, names: Sequence[str] | None = None
) -> Mapping[tuple[str, str], str]:
    """States by tenant and name, or all of them; those of another version are as good as none."""
    values = {"tenant_id": tenant_id, "names": None if names is None else list(names)}
    rows = await (await conn.execute(READ_STATES, values)).fetchall()
    return {(tenant, name): state for tenant, name, version, state in rows if version == VERSION}


PUT_STATE: LiteralString = """
INSERT INTO cohort_state (tenant_id, name, version, state) VALUES (%s, %s, %s, %s)
ON CONFLICT (tenant_id, name) DO UPDATE SET version = excluded.version, state = excluded.state
"""


async def put_state(conn: Connection, tenant_id: str, name: str, state: str) -> None:
    """Keep a state."""
    await conn.execute(PUT_STATE, (tenant_id, name, VERSION, state))
