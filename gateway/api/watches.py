"""Trust over HTTP: watches with their modes and precision, the budget, and a person's word on proposals and alarms."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, HTTPException, Query
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from crm_sync.cases import proposals
from crm_sync.model import Case
from crm_sync.trust.queries import ModeSet, WatchKey, find_episode, set_mode
from crm_sync.trust.rules import TrustRules
from crm_sync.trust.shown import AuditView, BudgetView, WatchView, audit_of, list_watches, show_budget
from crm_sync.trust.verdicts import Said, say
from devices.clock import Clock
from devices.errors import CareloopError
from devices.profiles.model import WatchMode
from gateway.api.queries import Connection

Pool = AsyncConnectionPool[Connection]
_MISSING: Final = frozenset({"unknown_case"})


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


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, Field(min_length=1, max_length=100, description="Who says so.")]


class DecisionAsked(_Asked):
    """A person's yes or no."""

    why: Annotated[str, Field(max_length=1000)] = ""


class ModeAsked(_Asked):
    """A mode that a person sets."""

    mode: WatchMode
    why: Annotated[str, Field(min_length=1, max_length=1000, description="Kept in the audit trail.")]
    hold: bool = False  # no rule changes it


class VerdictAsked(_Asked):
    """A person's word on an alarm."""

    verdict: Literal["true", "false", "unclear"]


class Decided(BaseModel):
    """What became of a proposed case."""

    case_id: str
    state: str


def watches_router(pool: Pool, tenant_id: str, rules: TrustRules, clock: Clock) -> APIRouter:
    """``/watches``, ``/budget``, and what a person says to proposals and alarms."""
    router = APIRouter(tags=["trust"])

    @router.get("/watches")
    async def watches(
        model: Annotated[str | None, Query(description="Only watches on this product model.")] = None,
    ) -> list[WatchShown]:
        """Every watch that is followed."""
        async with pool.connection() as conn:
            found = await list_watches(conn, tenant_id, rules, clock.now_s(), model=model)
        return [WatchShown.model_validate(asdict(each)) for each in found]

    @router.get("/watches/{model}/{watch}")
    async def watch(model: str, watch: str) -> WatchDetail:
        """One watch, and who set its modes, when and why."""
        async with pool.connection() as conn:
            return await _detail(conn, WatchKey(tenant_id, model, watch), rules, clock.now_s())

    @router.post("/watches/{model}/{watch}/mode")
    async def mode(model: str, watch: str, asked: ModeAsked) -> WatchDetail:
        """Put a watch into a mode."""
        key = WatchKey(tenant_id, model, watch)
        change = ModeSet(asked.mode, f"person:{asked.by}", asked.why, held=asked.hold)
        async with pool.connection() as conn, conn.transaction():
            await set_mode(conn, key, change, clock.now_s())
            return await _detail(conn, key, rules, clock.now_s())

    @router.get("/budget")
    async def budget(
        *,
        exact: Annotated[bool, Query(description="Count what was held back, which takes its time.")] = False,
    ) -> BudgetView:
        """The budget of false cases as it stands."""
        async with pool.connection() as conn:
            return await show_budget(conn, tenant_id, rules, clock.now_s(), exact=exact)

    _add_decisions(router, pool, tenant_id, clock)
    return router


def _add_decisions(router: APIRouter, pool: Pool, tenant_id: str, clock: Clock) -> None:
    @router.post("/cases/{case_id}/approve")
    async def approve(case_id: str, asked: DecisionAsked) -> Decided:
        """Say yes to a proposed case; it opens soon."""
        return await _decide(pool, lambda conn: proposals.approve(conn, tenant_id, case_id, asked.by, clock.now_s()))

    @router.post("/cases/{case_id}/decline")
    async def decline(case_id: str, asked: DecisionAsked) -> Decided:
        """Say no to a proposed case, which also says that its alarm was false."""
        return await _decide(
            pool, lambda conn: proposals.decline(conn, tenant_id, case_id, asked.by, clock.now_s(), why=asked.why)
        )

    @router.post("/alarms/{alarm_id}/verdict", status_code=HTTPStatus.ACCEPTED)
    async def verdict(alarm_id: str, asked: VerdictAsked) -> None:
        """Say whether an alarm was true, whatever its watch's mode: its track record learns from it."""
        said = Said(tenant_id, asked.verdict, "person", f"person:{asked.by}", alarm_id=alarm_id)
        async with pool.connection() as conn, conn.transaction():
            known = await find_episode(conn, alarm_id)
            if known is None or known.key.tenant_id != tenant_id:
                raise HTTPException(HTTPStatus.NOT_FOUND, f"no alarm {alarm_id}")
            await say(conn, said, clock.now_s())


async def _decide(pool: Pool, work: Callable[[Connection], Awaitable[Case]]) -> Decided:
    async with _explained(), pool.connection() as conn, conn.transaction():
        case = await work(conn)
    return Decided(case_id=case.case_id, state=case.state)


@asynccontextmanager
async def _explained() -> AsyncGenerator[None]:
    try:
        yield
    except CareloopError as error:
        status = HTTPStatus.NOT_FOUND if error.reason in _MISSING else HTTPStatus.CONFLICT
        raise HTTPException(status, error.detail) from error


async def _detail(conn: Connection, key: WatchKey, rules: TrustRules, now_s: float) -> WatchDetail:
    found: list[WatchView] = await list_watches(conn, key.tenant_id, rules, now_s, model=key.model, watch=key.watch)
    if not found:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no watch {key.watch} on {key.model}")
    return WatchDetail.model_validate({**asdict(found[0]), "audit": await audit_of(conn, key)})
