"""Alarms, as the API shows them."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import HTTPException, Query, Request, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from crm_sync.cases.quiet_queries import Quiet, put_quiet
from devices.clock import Clock, to_datetime
from devices.errors import CareloopError
from devices.profiles.model import Severity
from gateway.api.fields import Behalf, Instant, Name, Why
from gateway.api.paging import Cursor, Limit, Page, cut, decode_cursor, encode_cursor
from gateway.api.queries import Connection, Row, acknowledge_alarm, list_alarms
from gateway.api.router import Router
from gateway.api.writes import TAGGED, Act, Done, Write, Writing, tag_of
from gateway.people.door import Agent, Viewer, people_of
from gateway.people.model import Actor

AlarmState = Literal["active", "unknown", "cleared", "retracted"]


class Explanation(BaseModel):
    """Why a watch thinks so; a detector may say more than this."""

    model_config = ConfigDict(extra="allow")

    text: Annotated[str, Field(description="The whole of it in a sentence; its times of day are UTC.")] = ""
    expected: str = ""
    observed: str = ""
    window_s: Annotated[float | None, Field(description="How much of the device's time was looked at, in seconds.")] = (
        None
    )
    evidence: Annotated[
        list[tuple[float, float | None]], Field(description="Pairs of epoch seconds, in device time, and value.")
    ] = []
    score: float | None = None
    detector: Annotated[str | None, Field(description="What has judged.")] = None
    version: Annotated[int | None, Field(description="Of the detector.")] = None


class AlarmEvent(BaseModel):
    """One step of an episode: `ts` is the device time it was decided for, `recorded_at` the gateway's."""

    n: int
    event: str
    ts: datetime
    recorded_at: datetime
    severity: str
    score: float | None
    explanation: Explanation


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
    acknowledged_by: str | None = None
    started_at: datetime
    decided_ts: datetime
    ended_at: datetime | None
    raised_at: datetime
    updated_at: datetime
    score: float | None
    explanation: Explanation
    events: list[AlarmEvent]


_NOTHING_ASKED: Final[Mapping[str, object]] = {
    **dict.fromkeys(("alarm_id", "state", "device_id", "since", "before_us", "before_id")),
    "limit": 1,
}


def alarms_router(pool: AsyncConnectionPool[Connection], clock: Clock) -> Router:
    """``/alarms``, and what a person does to one of them."""
    router = Router(tags=["alarms"])

    async def fetch(who: Actor, asked: Mapping[str, object]) -> list[Row]:
        async with pool.connection() as conn:
            return await list_alarms(conn, {**_NOTHING_ASKED, **asked, "tenant_id": who.tenant_id})

    @router.get("/alarms")
    async def alarms(  # noqa: PLR0917 - each is a query parameter
        who: Viewer,
        request: Request,
        state: AlarmState | None = None,
        device_id: Name | None = None,
        watch: Name | None = None,
        severity: Severity | None = None,
        since: Annotated[Instant | None, Query(description="Raised at or after this moment.")] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[Alarm]:
        """Alarms, newest first."""
        before = decode_cursor(cursor, int, str) or [None, None]
        await people_of(request).note(who, "alarm.list", device_id or "", {"state": state})
        asked: dict[str, object] = {"state": state, "device_id": device_id, "watch": watch, "severity": severity}
        asked |= {"since": since, "limit": limit + 1}
        rows, last = cut(await fetch(who, {**asked, "before_us": before[0], "before_id": before[1]}), limit)
        end = None if last is None else encode_cursor(last["raised_us"], last["alarm_id"])
        return Page(items=[Alarm.model_validate(row) for row in rows], next=end)

    @router.get("/alarms/{alarm_id}", responses=TAGGED)
    async def alarm(alarm_id: Name, who: Viewer, request: Request, response: Response) -> Alarm:
        """One alarm; its ETag goes into the If-Match of what is done to it."""
        rows = await fetch(who, {"alarm_id": alarm_id})
        if not rows:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no alarm {alarm_id}")
        await people_of(request).note(who, "alarm.read", alarm_id, {"device": rows[0]["device_id"]})
        response.headers["ETag"] = _tag(rows[0])
        return Alarm.model_validate(rows[0])

    _add_acts(router, clock)
    return router


class Acknowledging(BaseModel):
    """Somebody has seen an alarm; or, with `undo`, nobody has."""

    model_config = ConfigDict(extra="forbid")

    undo: bool = False
    by: Behalf = None


class Snoozing(BaseModel):
    """An alarm is to open no case until then."""

    model_config = ConfigDict(extra="forbid")

    until: Instant
    why: Why = ""
    by: Behalf = None


class Snoozed(BaseModel):
    """A snooze, which ``DELETE /silences/{quiet_id}`` ends before its time."""

    quiet_id: int
    until: datetime


def _add_acts(router: Router, clock: Clock) -> None:
    @router.post("/alarms/{alarm_id}/acknowledge", response_model=Alarm)
    async def acknowledge(alarm_id: Name, asked: Acknowledging, who: Agent, write: Writing) -> Response:
        """Say that somebody has seen it; its case, if there is one, goes its way."""

        async def work(conn: Connection) -> Done:
            at_s = None if asked.undo else clock.now_s()
            await _check(conn, who, alarm_id, write)
            await acknowledge_alarm(conn, who.tenant_id, alarm_id, who.signs_as(asked.by), at_s)
            row = await _find(conn, who, alarm_id)
            return Done(Alarm.model_validate(row), _tag(row))

        return await write.run(Act("alarm.acknowledge", alarm_id, {"undo": asked.undo}), work)

    @router.post("/alarms/{alarm_id}/snooze", response_model=Snoozed, status_code=HTTPStatus.CREATED)
    async def snooze(alarm_id: Name, asked: Snoozing, who: Agent, write: Writing) -> Response:
        """Let it open no case until then; if it is active still, it is looked at again."""

        async def work(conn: Connection) -> Done:
            now_s = clock.now_s()
            if asked.until.timestamp() <= now_s:
                raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "until: that moment is past")
            await _check(conn, who, alarm_id, write)
            by = f"person:{who.signs_as(asked.by)}"
            quiet = Quiet("snooze", to_datetime(now_s), asked.until, by, asked.why, alarm_id=alarm_id)
            quiet_id = await put_quiet(conn, who.tenant_id, quiet, now_s)
            return Done(Snoozed(quiet_id=quiet_id, until=asked.until), status=HTTPStatus.CREATED)

        inputs = {"until": asked.until.isoformat(), "why": asked.why}
        return await write.run(Act("alarm.snooze", alarm_id, inputs), work)


async def _find(conn: Connection, who: Actor, alarm_id: str) -> Row:
    rows = await list_alarms(conn, {**_NOTHING_ASKED, "alarm_id": alarm_id, "tenant_id": who.tenant_id})
    if not rows:
        raise CareloopError("unknown_alarm", f"no alarm {alarm_id}")
    return rows[0]


async def _check(conn: Connection, who: Actor, alarm_id: str, write: Write) -> None:
    """Raises CareloopError where there is no such alarm, or another state of it than the caller saw."""

    async def present() -> str:
        return _tag(await _find(conn, who, alarm_id))

    await _find(conn, who, alarm_id)
    await write.check(conn, f"alarm {alarm_id}", present)


def _tag(row: Row) -> str:
    """What people decide by; that an alarm goes on and on is no other state."""
    return tag_of(row["alarm_id"], row["state"], row["severity"], row["acknowledged_at"], row["acknowledged_by"])
