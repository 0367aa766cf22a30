"""The gateway in numbers."""

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import Query, Request
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from crm_sync.queries import CaseCounts, count_cases
from devices.clock import Clock
from gateway.api.clock import ClockView, view_clock
from gateway.api.queries import Connection, count_readings, pipeline_totals
from gateway.api.router import Router
from gateway.cohorts.shown import count_incidents
from gateway.order.totals import OrderTotals
from gateway.people.door import Viewer, at_home
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.stats import PipelineStats
from gateway.store.tallies import read_tallies


class ReadingCounts(BaseModel):
    """Stored readings; all but `stored` only where an exact count was asked for."""

    stored: int
    distinct: int | None = None
    duplicate_rows: int | None = None
    by_model: dict[str, int] | None = None


class QuarantineCounts(BaseModel):
    """What lies in quarantine."""

    total: int
    by_reason: dict[str, int]


class AlarmCounts(BaseModel):
    """Alarms by state."""

    total: int
    active: int = 0
    unknown: int = 0
    cleared: int = 0
    retracted: int = 0


class IncidentCounts(BaseModel):
    """What befell many devices at once, and the alarms that it spared a case."""

    open: int
    ended: int
    absorbed_alarms: int
    held_alarms: int


class InboxCounts(BaseModel):
    """Alarm notices on their way to cases."""

    pending: int = 0
    done: int = 0
    parked: int = 0


class Counts(BaseModel):
    """The gateway in numbers; `totals` are kept in the database, `pipeline` counts since the start."""

    database: str
    clock: ClockView
    readings: ReadingCounts
    events: int
    quarantined: QuarantineCounts
    alarms: AlarmCounts
    cases: CaseCounts
    incidents: IncidentCounts
    inbox: InboxCounts
    order: OrderTotals
    outbox: dict[str, int]
    totals: dict[str, int]
    pipeline: PipelineStats


def counts_router(pool: AsyncConnectionPool[Connection], pipeline: Pipeline, clock: Clock, database: str) -> Router:
    """``GET /counts``."""
    router = Router(tags=["counts"])

    @router.get("/counts")
    async def counts(
        who: Viewer,
        request: Request,
        *,
        exact: Annotated[bool, Query(description="Count the reading tables row by row, which takes its time.")] = False,
    ) -> Counts:
        """The gateway in numbers."""
        at_home(request, who)
        tenant_id = who.tenant_id
        async with pool.connection() as conn:
            totals = await pipeline_totals(conn, tenant_id)
            tallies = await read_tallies(conn, tenant_id)
            by_model = await count_readings(conn) if exact else None
            cases = await count_cases(conn, tenant_id, tallies.cases)
            incidents = await count_incidents(conn, tenant_id)
        return Counts(
            database=database,
            clock=view_clock(clock),
            readings=_readings(totals, by_model),
            events=totals.get("events", 0),
            quarantined=QuarantineCounts(total=sum(tallies.quarantined.values()), by_reason=tallies.quarantined),
            alarms=AlarmCounts.model_validate({"total": sum(tallies.alarms.values()), **tallies.alarms}),
            cases=cases,
            incidents=IncidentCounts(
                open=incidents.in_state("open"),
                ended=incidents.in_state("ended"),
                absorbed_alarms=incidents.absorbed,
                held_alarms=incidents.held,
            ),
            inbox=InboxCounts.model_validate(tallies.inbox),
            order=pipeline.order.totals(),
            outbox=tallies.outbox,
            totals=dict.fromkeys(_TOTALS, 0) | totals,
            pipeline=pipeline.stats,
        )

    return router


_TOTALS: Final = ("packets", "stored", "duplicates", "filled", "conflicts", "quarantined", "unprofiled", "events")
"""What is counted from the first start on, and said even while it is zero."""


def _readings(totals: Mapping[str, int], by_model: Mapping[str, tuple[int, int]] | None) -> ReadingCounts:
    if by_model is None:
        return ReadingCounts(stored=totals.get("stored", 0))
    stored = sum(rows for rows, _ in by_model.values())
    distinct = sum(identities for _, identities in by_model.values())
    return ReadingCounts(
        stored=stored,
        distinct=distinct,
        duplicate_rows=stored - distinct,
        by_model={model: rows for model, (rows, _) in by_model.items()},
    )
