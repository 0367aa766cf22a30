"""Cases, as the API shows them: each with its evidence, its moves, the decisions about it and what CRMs call it."""

from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus

from fastapi import APIRouter, HTTPException
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from crm_sync.model import AlarmState, CaseAlarm, CaseState, Resolution
from crm_sync.queries import (
    CaseFilter,
    CaseView,
    DecisionView,
    EndpointView,
    StepView,
    TransitionView,
    get_case,
    list_cases,
)
from devices.clock import to_datetime
from devices.profiles.model import Severity
from gateway.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from gateway.api.queries import Connection


class Evidence(BaseModel):
    """An alarm that a case rests on; `evidence` is pairs of epoch seconds and value."""

    alarm_id: str
    watch: str
    kind: str
    metric: str | None
    severity: Severity
    state: AlarmState
    started_at: datetime
    decided_ts: datetime
    text: str
    expected: str
    observed: str
    evidence: tuple[tuple[float, float], ...]


class Case(BaseModel):
    """A case with all that explains it; its instants are the gateway's clock, those of its evidence the device's."""

    case_id: str
    asset_id: str
    device_id: str
    problem: str
    state: CaseState
    severity: Severity
    title: str
    brief: str
    ending: str | None
    team: str
    owner_ref: str | None
    account_ref: str | None
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    sla_due_at: datetime | None
    resolution: Resolution | None
    outcome: str | None
    version: int
    relapses: int
    relapse_of: str | None
    parent_id: str | None
    alarms: list[Evidence]
    endpoints: tuple[EndpointView, ...]
    transitions: tuple[TransitionView, ...]
    decisions: tuple[DecisionView, ...]
    steps: tuple[StepView, ...]


def cases_router(pool: AsyncConnectionPool[Connection], tenant_id: str) -> APIRouter:
    """``GET /cases`` and ``GET /cases/{case_id}``."""
    router = APIRouter(tags=["cases"])

    @router.get("/cases")
    async def cases(
        state: CaseState | None = None,
        device_id: str | None = None,
        owner_ref: str | None = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[Case]:
        """Cases, newest first."""
        after = decode_cursor(cursor, str)
        which = CaseFilter(state=state, device_id=device_id, owner_ref=owner_ref)
        async with pool.connection() as conn:
            page = await list_cases(conn, tenant_id, which, str(after[0]) if after else None, limit)
        return Page(
            items=[_shown(view) for view in page.items], next=None if page.next is None else encode_cursor(page.next)
        )

    @router.get("/cases/{case_id}")
    async def case(case_id: str) -> Case:
        """One case."""
        async with pool.connection() as conn:
            view = await get_case(conn, tenant_id, case_id)
        if view is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no case {case_id}")
        return _shown(view)

    return router


def _shown(view: CaseView) -> Case:
    return Case.model_validate(
        _with_instants(asdict(view.case))
        | {
            "alarms": [_evidence(alarm) for alarm in view.alarms],
            "endpoints": view.endpoints,
            "transitions": view.transitions,
            "decisions": view.decisions,
            "steps": view.steps,
        }
    )


def _evidence(alarm: CaseAlarm) -> Evidence:
    return Evidence.model_validate(_with_instants(asdict(alarm)))


def _with_instants(columns: dict[str, object]) -> dict[str, object]:
    """The same columns, epoch seconds (`…_at_s`, `…_ts_s`) turned into instants."""
    shown: dict[str, object] = {}
    for name, value in columns.items():
        if name.endswith(("_at_s", "_ts_s")):
            shown[name.removesuffix("_s")] = to_datetime(value) if isinstance(value, float) else None
        else:
            shown[name] = value
    return shown
