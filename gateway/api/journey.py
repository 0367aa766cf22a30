"""The journey, as the API shows it: from the first sign to the proof that it is gone."""

from datetime import datetime, timedelta
from typing import Final

from psycopg_pool import AsyncConnectionPool

from crm_sync.journey.kept import KeptJourneys
from crm_sync.journey.model import GroupBy, Journey
from crm_sync.journey.queries import Connection, Period
from crm_sync.journey.report import read_journey
from devices.clock import Clock, to_datetime
from gateway.api.fields import Instant
from gateway.api.router import Router
from gateway.people.door import Viewer

DEFAULT_SPAN: Final = timedelta(days=30)


def journey_router(pool: AsyncConnectionPool[Connection], clock: Clock) -> Router:
    """``GET /journey``."""
    router = Router(tags=["journey"])
    kept = KeptJourneys()

    @router.get("/journey")
    async def journey(
        who: Viewer, since: Instant | None = None, until: Instant | None = None, by: GroupBy = "model"
    ) -> Journey:
        """How far the cases of a period came and how long it took, by default of the last 30 days.

        Of more than a thousand cases it may be a minute old, as its `until` says.
        """
        now = to_datetime(clock.now_s())
        end: datetime = until or now
        period = Period(who.tenant_id, since or end - DEFAULT_SPAN, end)

        async def read() -> Journey:
            async with pool.connection() as conn:
                return await read_journey(conn, period, now, by)

        return await (read() if since or until else kept.get(period, by, read))

    return router
