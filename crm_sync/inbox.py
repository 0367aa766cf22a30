"""The narrow door through which alarms reach cases: rows written inside the ingest transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
from psycopg import AsyncConnection

AlarmEvent = Literal["raised", "updated", "unknown", "cleared", "retracted"]


@dataclass(frozen=True, slots=True)
class AlarmExplanation:
    """Why an alarm was raised, in words and numbers."""

    text: str
    expected: str
    observed: str
    window_s: float
    evidence: tuple[tuple[float, float], ...] = ()  # (device time in epoch seconds, value)


@dataclass(frozen=True, slots=True)
class AlarmNotice:
    """One thing that happened to one alarm."""

    tenant_id: str
    alarm_id: str
    device_id: str
    watch: str
    kind: str
    metric: str | None
    problem: str
    severity: str
    event: AlarmEvent
    started_at_s: float  # device time; with device and watch it names the episode
    ts_s: float  # device time of the decision
    head_ts_s: float  # newest device time known for that device when this was committed
    recorded_at_s: float  # the gateway's clock
    score: float
    explanation: AlarmExplanation


_PUT_ALARMS = """
INSERT INTO inbox (tenant_id, device_id, alarm_id, event, notice, recorded_at)
VALUES (%s, %s, %s, %s, %s::jsonb, to_timestamp(%s))
ON CONFLICT DO NOTHING
"""


async def put_alarms(conn: AsyncConnection, notices: Sequence[AlarmNotice]) -> None:
    """Hand alarm notices over, in the caller's transaction; the order given is the order they are worked in."""
    rows = [
        (
            notice.tenant_id,
            notice.device_id,
            notice.alarm_id,
            notice.event,
            msgspec.json.encode(notice).decode(),
            notice.recorded_at_s,
        )
        for notice in notices
    ]
    if rows:
        async with conn.cursor() as cursor:
            await cursor.executemany(_PUT_ALARMS, rows)
