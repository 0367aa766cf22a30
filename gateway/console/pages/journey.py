"""The journey: how far cases came, how long each step took, who was not told, and whether telling helped."""

from datetime import timedelta
from typing import Final

from fastapi import Request, Response

from crm_sync.journey.kept import KeptJourneys
from crm_sync.journey.model import GROUPINGS, GroupBy, Journey, Span, Stage
from crm_sync.journey.queries import Period
from crm_sync.journey.report import read_journey
from devices.clock import to_datetime
from gateway.api.router import Router
from gateway.console.chart import draw_bars
from gateway.console.parts import Desk

PERIODS: Final = (7, 30, 90, 365)


def journey_router(desk: Desk) -> Router:
    """``GET /journey``."""
    router = Router()
    kept = KeptJourneys()

    @router.get("/journey")
    async def journey(request: Request, days: int = 30, by: str = "model") -> Response:
        person = await desk.enter(request)
        shown = desk.renderer.shown(request)
        group_by: GroupBy = by if by in GROUPINGS else "model"
        span = days if days in PERIODS else 30
        now = to_datetime(shown.now_s)
        period = Period(person.tenant_id, now - timedelta(days=span), now)

        async def read() -> Journey:
            async with desk.pool.connection() as conn:
                return await read_journey(conn, period, now, group_by)

        found = await kept.get(period, group_by, read)
        words = shown.words
        funnel = {words.word(f"stage {stage}"): float(found.whole.stages[stage]) for stage in Stage}
        return await desk.page(
            request,
            person,
            "journey.html",
            journey=found,
            funnel=draw_bars("funnel", words.say("How far cases came"), funnel, shown),
            spans=list(Span),
            stages=list(Stage),
            days=span,
            periods=PERIODS,
            by=group_by,
            groupings=GROUPINGS,
        )

    return router
