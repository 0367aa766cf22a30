"""Alarms, as the API shows them."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from gateway.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from gateway.api.queries import Connection, Row, list_alarms

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


def alarms_router(pool: AsyncConnectionPool[Connection], tenant_id: str) -> APIRouter:
    """``GET /alarms`` and ``GET /alarms/{alarm_id}``."""
    router = APIRouter(tags=["alarms"])
    nothing_asked: Mapping[str, object] = {
        **dict.fromkeys(("alarm_id", "state", "device_id", "since", "before_us", "before_id")),
        "tenant_id": tenant_id,
        "limit": 1,
    }

    async def fetch(asked: Mapping[str, object]) -> list[Row]:
        async with pool.connection() as conn:
            return await list_alarms(conn, {**nothing_asked, **asked})

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
        rows = await fetch({**asked, "before_us": before[0], "before_id": before[1]})
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
