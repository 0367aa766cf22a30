"""Alarms, as the API shows them."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal, LiteralString

from fastapi import APIRouter, HTTPException, Query
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from gateway.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor

AlarmState = Literal["active", "unknown", "cleared", "retracted"]


class AlarmEvent(BaseModel):
    """One step of an episode: `ts` is the device time it was decided for, `recorded_at` the gateway's."""

    n: int
    event: str
    ts: datetime
    recorded_at: datetime
    severity: str
    score: float | None
    explanation: dict[str, object]


class Alarm(BaseModel):
    """An episode: what a watch saw on a device, from its beginning to its end."""

    alarm_id: str
    device_id: str
    watch: str
    kind: str
    metric: str | None
    problem: str
    severity: str
    state: AlarmState
    acknowledged_at: datetime | None
    started_at: datetime
    decided_ts: datetime
    ended_at: datetime | None
    raised_at: datetime
    updated_at: datetime
    score: float | None
    explanation: dict[str, object]
    events: list[AlarmEvent]


# Newest first; the alarm's id breaks ties, so that a cursor names one place only.
LIST_ALARMS: LiteralString = """
SELECT a.alarm_id, a.device_id, a.watch, a.kind, a.metric, a.problem, a.severity, a.state, a.acknowledged_at,
       a.started_at, a.decided_ts, a.ended_at, a.raised_at, a.updated_at, a.score, a.explanation,
       (extract(epoch FROM a.raised_at) * 1000000)::bigint AS raised_us,
       coalesce((SELECT jsonb_agg(jsonb_build_object('n', e.n, 'event', e.event, 'ts', e.ts, 'recorded_at', e.recorded_at,
                                                     'severity', e.severity, 'score', e.score,
                                                     'explanation', e.explanation) ORDER BY e.n)
                 FROM alarm_event e WHERE e.alarm_id = a.alarm_id), '[]') AS events
FROM alarm a
WHERE a.tenant_id = %(tenant_id)s
  AND (%(alarm_id)s::text IS NULL OR a.alarm_id = %(alarm_id)s)
  AND (%(state)s::text IS NULL OR a.state = %(state)s)
  AND (%(device_id)s::text IS NULL OR a.device_id = %(device_id)s)
  AND (%(since)s::timestamptz IS NULL OR a.raised_at >= %(since)s)
  AND (%(before_us)s::bigint IS NULL
       OR (a.raised_at, a.alarm_id) < (to_timestamp(0) + %(before_us)s * interval '1 microsecond', %(before_id)s))
ORDER BY a.raised_at DESC, a.alarm_id DESC
LIMIT %(limit)s
"""


async def list_alarms(conn: AsyncConnection[DictRow], wanted: dict[str, object]) -> list[DictRow]:
    """Alarms of a tenant, newest first, each with its events."""
    return await (await conn.execute(LIST_ALARMS, wanted)).fetchall()


def alarms_router(pool: AsyncConnectionPool[AsyncConnection[DictRow]], tenant_id: str) -> APIRouter:
    """``GET /alarms`` and ``GET /alarms/{alarm_id}``."""
    router = APIRouter(tags=["alarms"])
    nothing_asked: dict[str, object] = {
        **dict.fromkeys(("alarm_id", "state", "device_id", "since", "before_us", "before_id")),
        "tenant_id": tenant_id,
        "limit": 1,
    }

    async def fetch(asked: dict[str, object]) -> list[DictRow]:
        async with pool.connection() as conn:
            conn.row_factory = dict_row
            return await list_alarms(conn, nothing_asked | asked)

    @router.get("/alarms")
    async def alarms(
        state: AlarmState | None = None,
        device_id: str | None = None,
        since: Annotated[datetime | None, Query(description="Raised at or after this moment.")] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[Alarm]:
        """Alarms, newest first."""
        before = decode_cursor(cursor, int, str) or [None, None]
        asked = {"state": state, "device_id": device_id, "since": since, "limit": limit}
        rows = await fetch(asked | {"before_us": before[0], "before_id": before[1]})
        end = encode_cursor(rows[-1]["raised_us"], rows[-1]["alarm_id"]) if len(rows) == limit else None
        return Page(items=[Alarm.model_validate(row) for row in rows], next=end)

    @router.get("/alarms/{alarm_id}")
    async def alarm(alarm_id: str) -> Alarm:
        """One alarm."""
        rows = await fetch({"alarm_id": alarm_id})
        if not rows:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no alarm {alarm_id}")
        return Alarm.model_validate(rows[0])

    return router
