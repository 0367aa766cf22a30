"""Silences and maintenance windows: times in which certain alarms open no case."""

from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import HTTPException, Query, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, model_validator

from crm_sync.cases.quiet_queries import Quiet, QuietKind, QuietView, end_quiet, list_quiet, put_quiet
from devices.clock import Clock, to_datetime
from devices.errors import CareloopError
from gateway.api.fields import Behalf, BigNumber, Instant, Name, Reason
from gateway.api.paging import Cursor, Limit, Page, cut, decode_cursor, encode_cursor
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.api.writes import TAGGED, Act, Done, Writing, tag_of
from gateway.people.door import Operator, Viewer


class SilenceAsked(BaseModel):
    """What is to open no case until then; what is left out means any, but something must be named."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["silence", "maintenance"] = "silence"
    device_id: Name | None = None
    model: Name | None = None
    region: Name | None = None
    watch: Name | None = None
    problem: Name | None = None
    starts_at: Instant | None = None
    ends_at: Instant
    why: Reason
    by: Behalf = None

    @model_validator(mode="after")
    def _names_something(self) -> "SilenceAsked":
        if not any((self.device_id, self.model, self.region, self.watch, self.problem)):
            message = "name a device, model, region, watch or problem; the kill switch is for everything"
            raise ValueError(message)
        return self


class Silence(BaseModel):
    """A time in which certain alarms open no case; in a maintenance window owners are left alone too."""

    quiet_id: int
    kind: QuietKind
    alarm_id: str | None
    device_id: str | None
    model: str | None
    region: str | None
    watch: str | None
    problem: str | None
    starts_at: datetime
    ends_at: datetime
    actor: str
    why: str
    created_at: datetime | None
    ended_at: datetime | None
    ended_by: str | None


def silences_router(pool: AsyncConnectionPool[Connection], clock: Clock) -> Router:
    """``/silences``."""
    router = Router(tags=["silences"])

    @router.get("/silences")
    async def silences(
        who: Viewer,
        live: Annotated[bool, Query(description="Only those that go on, or are to come.")] = True,  # noqa: FBT002
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[Silence]:
        """Silences, maintenance windows and snoozes, the newest first."""
        before = decode_cursor(cursor, int)
        async with pool.connection() as conn:
            found = await list_quiet(
                conn,
                who.tenant_id,
                live_at_s=clock.now_s() if live else None,
                before=int(before[0]) if before else None,
                limit=limit + 1,
            )
        items, last = cut(found, limit)
        end = None if last is None else encode_cursor(last.quiet_id)
        return Page(items=[_shown(each) for each in items], next=end)

    @router.get("/silences/{quiet_id}", responses=TAGGED)
    async def one(quiet_id: BigNumber, who: Viewer, response: Response) -> Silence:
        """One of them; its ETag goes into the If-Match of its end."""
        async with pool.connection() as conn:
            view = await _find(conn, who.tenant_id, quiet_id)
        response.headers["ETag"] = _tag(view)
        return _shown(view)

    @router.post("/silences", response_model=Silence, status_code=HTTPStatus.CREATED)
    async def silence(asked: SilenceAsked, who: Operator, write: Writing) -> Response:
        """Let such alarms open no case for a while; those that are active at its end are looked at again."""
        now_s = clock.now_s()
        starts_at = asked.starts_at or to_datetime(now_s)
        if asked.ends_at <= starts_at or asked.ends_at.timestamp() <= now_s:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "ends_at: that is before it begins, or past")
        what = {name: getattr(asked, name) for name in ("device_id", "model", "region", "watch", "problem")}

        async def work(conn: Connection) -> Done:
            by = f"person:{who.signs_as(asked.by)}"
            quiet = Quiet(asked.kind, starts_at, asked.ends_at, by, asked.why, **what)
            quiet_id = await put_quiet(conn, who.tenant_id, quiet, now_s)
            (view,) = await list_quiet(conn, who.tenant_id, quiet_id=quiet_id)
            return Done(_shown(view), _tag(view), HTTPStatus.CREATED)

        inputs = {**what, "until": asked.ends_at.isoformat(), "why": asked.why}
        return await write.run(Act(f"{asked.kind}.begin", asked.device_id or asked.model or "", inputs), work)

    @router.delete("/silences/{quiet_id}", response_model=Silence)
    async def end(quiet_id: BigNumber, who: Operator, write: Writing) -> Response:
        """End a silence, a maintenance window or a snooze now; what waited for its end is looked at again."""

        async def work(conn: Connection) -> Done:
            seen = await _find(conn, who.tenant_id, quiet_id)
            write.check_tag(_tag(seen))
            if not await end_quiet(conn, who.tenant_id, quiet_id, f"person:{who.signs_as()}", clock.now_s()):
                raise CareloopError("over_already", f"silence {quiet_id} is over")
            view = await _find(conn, who.tenant_id, quiet_id)
            return Done(_shown(view), _tag(view))

        return await write.run(Act("silence.end", str(quiet_id)), work)

    return router


async def _find(conn: Connection, tenant_id: str, quiet_id: int) -> QuietView:
    found = await list_quiet(conn, tenant_id, quiet_id=quiet_id)
    if not found:
        raise CareloopError("unknown_silence", f"no silence {quiet_id}")
    return found[0]


def _tag(view: QuietView) -> str:
    return tag_of(view.quiet_id, view.starts_at, view.ends_at, view.ended_at)


def _shown(view: QuietView) -> Silence:
    return Silence.model_validate(asdict(view))
