"""How often each action of the playbooks has helped, as the API shows it."""

from collections.abc import Mapping

from psycopg_pool import AsyncConnectionPool

from crm_sync.playbooks.shown import RateView, list_rates
from devices.profiles.model import Profile
from gateway.api.fields import Name
from gateway.api.paging import Cursor, Limit, Page, page_of
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.people.door import Viewer


def playbooks_router(pool: AsyncConnectionPool[Connection], profiles: Mapping[str, Profile]) -> Router:
    """``GET /playbooks``."""
    router = Router(tags=["playbooks"])

    @router.get("/playbooks")
    async def playbooks(
        who: Viewer, model: Name | None = None, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[RateView]:
        """Every action, and how often it helped."""
        async with pool.connection() as conn:
            rates = await list_rates(conn, who.tenant_id, profiles, model)
        return page_of(rates, lambda rate: (rate.model, rate.problem, rate.action), cursor, limit)

    return router
