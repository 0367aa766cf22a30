"""Incidents and their members: the rows, read and written in the ingest transaction."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, LiteralString

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row, dict_row
from psycopg.types.json import Jsonb

from crm_sync.incidents import Finding
from devices.clock import to_datetime
from gateway.cohorts.dips import KINDS
from gateway.cohorts.queries import DeviceFacts

Connection = AsyncConnection[TupleRow]

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class IncidentKind(StrEnum):
    """What sort of thing befell many devices at once."""

    BAD_FIRMWARE = "bad_firmware"
    FLEET_DIP = "fleet_dip"


@dataclass(frozen=True, slots=True)
class Incident:
    """What befell many devices at once; None in a part of its cohort means any. Times are the gateway's clock."""

    incident_id: str
    tenant_id: str
    kind: IncidentKind
    model: str | None
    firmware: str | None
    region: str | None
    problems: tuple[str, ...]  # a dip's are those of its members, whatever they are
    severity: str
    title: str
    says: str
    started_at_s: float
    known_at_s: float

    def covers(self, facts: DeviceFacts, problem: str, kind: str, decided_s: float) -> bool:
        """Whether a device's alarm is part of this."""
        if facts.tenant_id != self.tenant_id or self.model not in {None, facts.model}:
            return False
        if self.region not in {None, facts.region}:
            return False
        if self.kind is IncidentKind.FLEET_DIP:
            return kind in KINDS
        is_on_it = facts.firmware == self.firmware and facts.since_s is not None and decided_s >= facts.since_s
        return is_on_it and problem in self.problems


def incident_id_of(tenant_id: str, kind: str, cohort: Sequence[str | None], number: int) -> str:
    """The id of the n-th incident of a kind, which began with this cohort: the same for whoever works it out."""
    key = "\n".join([tenant_id, kind, *(part or "" for part in cohort), str(number)]).encode()
    value = int.from_bytes(hashlib.blake2b(key, digest_size=16).digest())
    digits: list[str] = []
    for _ in range(22):
        value, digit = divmod(value, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return f"inc_{''.join(digits)}"


COUNT_OF_KIND: LiteralString = "SELECT count(*) FROM incident WHERE tenant_id = %s AND kind = %s"


async def count_of_kind(conn: Connection, tenant_id: str, kind: str) -> int:
    """How many incidents of a kind there have been."""
    row = await (await conn.execute(COUNT_OF_KIND, (tenant_id, kind))).fetchone()
    return 0 if row is None else int(row[0])


PUT_INCIDENT: LiteralString = """
INSERT INTO incident (incident_id, tenant_id, kind, model, firmware, region, problems, severity, title, says, evidence,
                      state, started_at, known_at, updated_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'open', %s, %s, %s)
ON CONFLICT (incident_id) DO UPDATE
SET model = excluded.model, region = excluded.region, problems = excluded.problems, severity = excluded.severity,
    title = excluded.title, says = excluded.says,
    evidence = incident.evidence || excluded.evidence, updated_at = excluded.updated_at
"""


async def put_incident(conn: Connection, incident: Incident, evidence: Sequence[Mapping[str, object]]) -> None:
    """Write an incident, or what more is known of it."""
    values = (
        incident.incident_id,
        incident.tenant_id,
        incident.kind,
        incident.model,
        incident.firmware,
        incident.region,
        list(incident.problems),
        incident.severity,
        incident.title,
        incident.says,
        Jsonb([dict(each) for each in evidence]),
        to_datetime(incident.started_at_s),
        to_datetime(incident.known_at_s),
        to_datetime(incident.known_at_s),
    )
    await conn.execute(PUT_INCIDENT, values)


LIST_OPEN: LiteralString = """
SELECT incident_id, tenant_id, kind, model, firmware, region, problems, severity, title, says,
       extract(epoch FROM started_at)::float8 AS started_at_s, extract(epoch FROM known_at)::float8 AS known_at_s
FROM incident WHERE state = 'open' ORDER BY known_at, incident_id
"""


async def list_open(conn: Connection) -> list[Incident]:
    """Incidents that go on, the oldest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        rows = await (await cursor.execute(LIST_OPEN)).fetchall()
    return [_incident_of(row) for row in rows]


def _incident_of(row: dict[str, Any]) -> Incident:
    return Incident(
        incident_id=row["incident_id"],
        tenant_id=row["tenant_id"],
        kind=IncidentKind(row["kind"]),
        model=row["model"],
        firmware=row["firmware"],
        region=row["region"],
        problems=tuple(row["problems"]),
        severity=row["severity"],
        title=row["title"],
        says=row["says"],
        started_at_s=row["started_at_s"],
        known_at_s=row["known_at_s"],
    )


READ_FINDINGS: LiteralString = "SELECT evidence FROM incident WHERE incident_id = %s"


async def read_findings(conn: Connection, incident_id: str) -> tuple[Finding, ...]:
    """What an incident was concluded from, the oldest first."""
    row = await (await conn.execute(READ_FINDINGS, (incident_id,))).fetchone()
    return () if row is None else msgspec.convert(row[0], tuple[Finding, ...])


# What is already under way: alarms of the cohort that are up, and were raised under this firmware or in this run.
CLAIM: LiteralString = """
INSERT INTO incident_member (tenant_id, incident_id, alarm_id, device_id, joined_at)
SELECT a.tenant_id, %(incident_id)s, a.alarm_id, a.device_id, %(now)s
FROM alarm a JOIN device d USING (device_id) LEFT JOIN asset s USING (device_id)
LEFT JOIN LATERAL (
    SELECT firmware, received_at FROM firmware_history h WHERE h.device_id = a.device_id
    ORDER BY since DESC, received_at DESC LIMIT 1
) AS newest ON true
WHERE a.tenant_id = %(tenant_id)s AND a.state IN ('active', 'unknown')
  AND (%(model)s::text IS NULL OR coalesce(d.model, s.model, 'automatic') = %(model)s)
  AND (%(region)s::text IS NULL OR coalesce(d.region, s.region) = %(region)s)
  AND CASE WHEN %(firmware)s::text IS NULL THEN a.kind = ANY(%(kinds)s) AND a.raised_at >= %(started_at)s
           ELSE newest.firmware = %(firmware)s AND a.raised_at >= newest.received_at
                AND a.problem = ANY(%(problems)s) END
  AND NOT EXISTS (SELECT FROM incident_member m JOIN incident i USING (incident_id)
                  WHERE m.alarm_id = a.alarm_id AND i.state = 'open')
ON CONFLICT DO NOTHING
RETURNING alarm_id
"""


async def claim(conn: Connection, incident: Incident, now_s: float) -> list[str]:
    """Make members of the alarms that are up already; gives those that were none."""
    values = {
        "incident_id": incident.incident_id,
        "tenant_id": incident.tenant_id,
        "model": incident.model,
        "firmware": incident.firmware,
        "region": incident.region,
        "problems": list(incident.problems),
        "kinds": sorted(KINDS),
        "started_at": to_datetime(incident.started_at_s),
        "now": to_datetime(now_s),
    }
    return sorted(row[0] for row in await (await conn.execute(CLAIM, values)).fetchall())


JOIN: LiteralString = """
INSERT INTO incident_member (tenant_id, incident_id, alarm_id, device_id, joined_at)
SELECT %(tenant_id)s, %(incident_id)s, alarm_id, device_id, %(now)s
FROM unnest(%(alarm_ids)s::text[], %(device_ids)s::text[]) AS told (alarm_id, device_id)
ON CONFLICT DO NOTHING
"""


async def join(conn: Connection, incident: Incident, members: Sequence[tuple[str, str]], now_s: float) -> None:
    """Add alarms with their devices."""
    values = {
        "tenant_id": incident.tenant_id,
        "incident_id": incident.incident_id,
        "alarm_ids": [alarm_id for alarm_id, _ in members],
        "device_ids": [device_id for _, device_id in members],
        "now": to_datetime(now_s),
    }
    await conn.execute(JOIN, values)


MEMBERSHIPS: LiteralString = """
SELECT m.alarm_id, m.incident_id FROM incident_member m JOIN incident i USING (incident_id)
WHERE i.state = 'open' AND m.alarm_id = ANY(%s)
"""


async def memberships(conn: Connection, alarm_ids: Sequence[str]) -> dict[str, str]:
    """Of these alarms, those that are part of an incident that goes on, and of which."""
    return dict(await (await conn.execute(MEMBERSHIPS, (list(alarm_ids),))).fetchall())


@dataclass(frozen=True, slots=True)
class Course:
    """How an incident stands."""

    members: int  # alarms
    devices: int
    unsettled: int  # alarms that are not over; of a device that went silent none is
    newest_s: float  # when the last one joined


COURSE: LiteralString = """
SELECT count(*) AS members, count(DISTINCT m.device_id) AS devices,
       count(*) FILTER (WHERE a.state IN ('active', 'unknown')) AS unsettled,
       coalesce(extract(epoch FROM max(m.joined_at)), 0)::float8 AS newest_s
FROM incident_member m JOIN alarm a USING (alarm_id) WHERE m.incident_id = %s
"""


async def read_course(conn: Connection, incident_id: str) -> Course:
    """How an incident stands."""
    async with conn.cursor(row_factory=class_row(Course)) as cursor:
        row = await (await cursor.execute(COURSE, (incident_id,))).fetchone()
    assert row is not None  # an aggregate always returns its row
    return row


END: LiteralString = """
UPDATE incident SET state = 'ended', ended_at = %s, ending = %s, updated_at = %s WHERE incident_id = %s
"""


async def end(conn: Connection, incident_id: str, ending: str, now_s: float) -> None:
    """Write down that an incident is over, and why."""
    at = to_datetime(now_s)
    await conn.execute(END, (at, ending, at, incident_id))
