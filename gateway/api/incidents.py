"""Incidents, as the API shows them: what befell many devices at once, and which."""

from http import HTTPStatus

from fastapi import HTTPException, Request
from psycopg_pool import AsyncConnectionPool

from gateway.api.fields import Name
from gateway.api.paging import Cursor, Limit, Page, cut, decode_cursor, encode_cursor
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.cohorts.shown import IncidentState, IncidentView, MemberView, list_incidents, list_members
from gateway.people.door import Viewer, people_of


def incidents_router(pool: AsyncConnectionPool[Connection]) -> Router:
    """``GET /incidents``, ``/incidents/{incident_id}`` and ``/incidents/{incident_id}/members``."""
    router = Router(tags=["incidents"])

    async def find(tenant_id: str, incident_id: str) -> IncidentView:
        async with pool.connection() as conn:
            found = await list_incidents(conn, tenant_id, incident_id=incident_id)
        if not found:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no incident {incident_id}")
        return found[0]

    @router.get("/incidents")
    async def incidents(
        who: Viewer, state: IncidentState | None = None, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[IncidentView]:
        """Incidents, newest first."""
        before = decode_cursor(cursor, int)
        async with pool.connection() as conn:
            found = await list_incidents(
                conn, who.tenant_id, state=state, before=int(before[0]) if before else None, limit=limit + 1
            )
        items, last = cut(found, limit)
        return Page(items=list(items), next=None if last is None else encode_cursor(last.number))

    @router.get("/incidents/{incident_id}")
    async def incident(incident_id: Name, who: Viewer) -> IncidentView:
        """One incident."""
        return await find(who.tenant_id, incident_id)

    @router.get("/incidents/{incident_id}/members")
    async def members(
        incident_id: Name, who: Viewer, request: Request, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[MemberView]:
        """The alarms that are part of an incident, by id."""
        await find(who.tenant_id, incident_id)
        after = decode_cursor(cursor, str)
        await people_of(request).note(who, "incident.members", incident_id)
        async with pool.connection() as conn:
            found = await list_members(
                conn, who.tenant_id, incident_id, after=str(after[0]) if after else None, limit=limit + 1
            )
        items, last = cut(found, limit)
        return Page(items=list(items), next=None if last is None else encode_cursor(last.alarm_id))

    return router
