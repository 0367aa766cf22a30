"""What the fleet layer tells the CRM side of an incident: a row of the inbox, in its place among the alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, LiteralString

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

Connection = AsyncConnection[TupleRow]
IncidentEvent = Literal["opened", "ended"]

PREFIX: Final = "inc_"
"""How an incident's id begins, which no alarm's and no asset's of the registry's own making does."""

AT_ONCE: Final = 500
"""Alarms that one row names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What an incident was concluded from, in numbers: a problem of a firmware, or a scope of a dip."""

    affected: int
    devices: int
    expected: float  # how many would be affected if nothing were wrong
    problem: str | None = None  # of a firmware
    region: str | None = None
    others: int = 0  # that run another firmware
    others_affected: int = 0
    scope: str | None = None  # of a dip: `*`, `region:…` or `model:…`
    by_model: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class IncidentNotice:
    """An incident has begun or grown (`opened`), or is over."""

    tenant_id: str
    incident_id: str
    event: IncidentEvent
    kind: str
    model: str | None
    firmware: str | None
    region: str | None
    problems: tuple[str, ...]
    severity: str
    title: str  # in English, as is `says`: who tells agents finds words for the findings
    says: str  # the evidence, in words and numbers
    team: str
    devices: int  # that are affected so far
    recorded_at_s: float  # the gateway's clock
    alarm_ids: tuple[str, ...] = ()  # members that were told of before it was known
    ending: str | None = None
    findings: tuple[Finding, ...] = ()  # oldest first
    alarms: int = 0  # of one that is over: how many it had
    going_on: int = 0  # and how many of them go on by themselves


_PUT_INCIDENT: Final[LiteralString] = """
INSERT INTO inbox (tenant_id, device_id, alarm_id, event, notice, recorded_at)
VALUES (%s, %s, %s, %s, %s::jsonb, to_timestamp(%s))
ON CONFLICT DO NOTHING
"""


async def put_incidents(conn: Connection, notices: Sequence[IncidentNotice]) -> None:
    """Hand incidents over, in the caller's transaction; alarms put after this find them there."""
    for notice in notices:
        for start in range(0, max(len(notice.alarm_ids), 1), AT_ONCE):
            part = replace(notice, alarm_ids=notice.alarm_ids[start : start + AT_ONCE])
            body = msgspec.json.encode(part).decode()
            values = (
                part.tenant_id,
                part.incident_id,
                part.incident_id,
                f"incident_{part.event}",
                body,
                part.recorded_at_s,
            )
            await conn.execute(_PUT_INCIDENT, values)


def decode_incident(raw: bytes) -> IncidentNotice:
    """The notice of a row. Raises msgspec.DecodeError."""
    return msgspec.json.decode(raw, type=IncidentNotice)
