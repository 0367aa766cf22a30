"""Trust over HTTP: watches with their modes and precision, the budget, and a person's word on alarms."""

from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Query, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from crm_sync.trust.queries import ModeSet, WatchKey, find_episode, lock_watch, set_mode
from crm_sync.trust.rules import TrustRules
from crm_sync.trust.shown import (
    AuditView,
    BudgetView,
    CustomerView,
    WatchView,
    audit_of,
    customers_of,
    list_watches,
    show_budget,
)
from crm_sync.trust.verdicts import MOST_SAID, Said, say
from devices.clock import Clock
from devices.errors import CareloopError
from devices.profiles.model import WatchMode
from gateway.api.fields import Behalf, Name, Reason, Text
from gateway.api.paging import Cursor, Limit, Page, page_of
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.api.writes import TAGGED, Act, Done, Writing, tag_of
from gateway.people.door import Agent, Operator, Viewer

Pool = AsyncConnectionPool[Connection]


class PrecisionShown(BaseModel):
    """How often a watch was right; `low` and `high` are the interval's ends."""

    right: float
    wrong: float
    mean: float | None
    low: float
    high: float


class WatchShown(BaseModel):
    """A watch on a product model."""

    model: str
    watch: str
    mode: WatchMode
    mode_since: datetime
    held: bool
    precision: PrecisionShown
    bar: float
    needed_belief: float
    episodes: float
    device_days: float
    devices: int


class WatchDetail(WatchShown):
    """A watch with the history of its modes, newest first."""

    audit: list[AuditView]
    customers_said: list[CustomerView]


class ModeAsked(BaseModel):
    """A mode that a person sets."""

    model_config = ConfigDict(extra="forbid")

    mode: WatchMode
    why: Reason
    hold: bool = False  # no rule changes it
    by: Behalf = None


class VerdictAsked(BaseModel):
    """A person's word on an alarm."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["true", "false", "unclear"]
    customer_said: Annotated[Text, Field(max_length=MOST_SAID)] = ""
    by: Behalf = None


def watches_router(pool: Pool, rules: TrustRules, clock: Clock) -> Router:
    """``/watches``, ``/budget``, and a person's word on alarms."""
    router = Router(tags=["trust"])

    @router.get("/watches")
    async def watches(
        who: Viewer,
        model: Annotated[Name | None, Query(description="Only watches on this product model.")] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[WatchShown]:
        """Every watch that is followed."""
        async with pool.connection() as conn:
            found = await list_watches(conn, who.tenant_id, rules, clock.now_s(), model=model)
        shown = [WatchShown.model_validate(asdict(each)) for each in found]
        return page_of(shown, lambda each: (each.model, each.watch), cursor, limit)

    @router.get("/watches/{model}/{watch}", responses=TAGGED)
    async def watch(model: Name, watch: Name, who: Viewer, response: Response) -> WatchDetail:
        """One watch, and who set its modes, when and why; its ETag goes into the If-Match of another mode."""
        async with pool.connection() as conn:
            detail = await _detail(conn, WatchKey(who.tenant_id, model, watch), rules, clock.now_s())
        response.headers["ETag"] = _tag(detail)
        return detail

    @router.post("/watches/{model}/{watch}/mode", response_model=WatchDetail)
    async def mode(model: Name, watch: Name, asked: ModeAsked, who: Operator, write: Writing) -> Response:
        """Put a watch into a mode."""
        key = WatchKey(who.tenant_id, model, watch)
        change = ModeSet(asked.mode, f"person:{who.signs_as(asked.by)}", asked.why, held=asked.hold)

        async def work(conn: Connection) -> Done:
            await lock_watch(conn, key)
            write.check_tag(_tag(await _detail(conn, key, rules, clock.now_s())))
            await set_mode(conn, key, change, clock.now_s())
            detail = await _detail(conn, key, rules, clock.now_s())
            return Done(detail, _tag(detail))

        inputs = {"mode": str(asked.mode), "hold": asked.hold, "why": asked.why}
        return await write.run(Act("watch.mode", f"{model}/{watch}", inputs), work)

    @router.get("/budget")
    async def budget(
        who: Viewer,
        *,
        exact: Annotated[bool, Query(description="Count what was held back, which takes its time.")] = False,
    ) -> BudgetView:
        """The budget of false cases as it stands."""
        async with pool.connection() as conn:
            return await show_budget(conn, who.tenant_id, rules, clock.now_s(), exact=exact)

    @router.post("/alarms/{alarm_id}/verdict", status_code=HTTPStatus.ACCEPTED, response_class=Response)
    async def verdict(alarm_id: Name, asked: VerdictAsked, who: Agent, write: Writing) -> Response:
        """Say whether an alarm was true, whatever its watch's mode: its track record learns from it."""
        person = f"person:{who.signs_as(asked.by)}"
        said = Said(
            who.tenant_id, asked.verdict, "person", person, alarm_id=alarm_id, customer_said=asked.customer_said
        )

        async def work(conn: Connection) -> Done:
            known = await find_episode(conn, alarm_id)
            if known is None or known.key.tenant_id != who.tenant_id:
                raise CareloopError("unknown_alarm", f"no alarm {alarm_id}")
            await say(conn, said, clock.now_s())
            return Done(None, status=HTTPStatus.ACCEPTED)

        return await write.run(Act("alarm.verdict", alarm_id, {"verdict": asked.verdict}), work)

    return router


def _tag(detail: WatchDetail) -> str:
    """What changes with every mode that anybody sets."""
    newest = detail.audit[0].at if detail.audit else None
    return tag_of(detail.model, detail.watch, detail.mode, detail.mode_since, detail.held, newest, len(detail.audit))


async def _detail(conn: Connection, key: WatchKey, rules: TrustRules, now_s: float) -> WatchDetail:
    found: list[WatchView] = await list_watches(conn, key.tenant_id, rules, now_s, model=key.model, watch=key.watch)
    if not found:
        raise CareloopError("unknown_watch", f"no watch {key.watch} on {key.model}")
    return WatchDetail.model_validate(
        {**asdict(found[0]), "audit": await audit_of(conn, key), "customers_said": await customers_of(conn, key)}
    )
