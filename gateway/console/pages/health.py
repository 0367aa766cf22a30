"""The gateway's own health: what is not well, rates, queues, versions, and the doctor's findings."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

from fastapi import APIRouter, Request, Response

from gateway.api.queries import pipeline_totals
from gateway.console.parts import Desk
from gateway.people.audit import record
from gateway.people.door import at_home
from gateway.people.model import Role
from gateway.store.tallies import read_backlog, read_tallies

TOTALS: Final = ("packets", "stored", "duplicates", "filled", "conflicts", "quarantined", "events")


def health_router(desk: Desk) -> APIRouter:
    """``GET /health``, and the doctor on demand."""
    router = APIRouter()

    @router.get("/health")
    async def health(request: Request) -> Response:
        person = await desk.enter(request)
        at_home(request, person)
        checks = await desk.parts.probe()
        async with desk.pool.connection() as conn:
            totals = await pipeline_totals(conn, person.tenant_id)
            tallies = await read_tallies(conn, person.tenant_id)
            backlog = await read_backlog(conn, person.tenant_id)
        return await desk.page(
            request,
            person,
            "health.html",
            checks=checks,
            totals=[(name, totals.get(name, 0)) for name in TOTALS],
            tallies=tallies,
            backlog=backlog,
            stats=desk.parts.pipeline.stats,
            versions=_versions(desk.parts.database),
            findings=None,
        )

    @router.get("/health/doctor")
    async def doctor(request: Request) -> Response:
        """What `careloop doctor` finds; it asks brokers and CRMs, so it is asked for."""
        person = await desk.enter(request, Role.OPERATOR)
        at_home(request, person)
        async with desk.pool.connection() as conn:
            await record(conn, person, "doctor.run", "gateway", {})
        findings = await desk.parts.examine()
        return await desk.page(request, person, "doctor.html", findings=findings)

    return router


def _versions(database: str) -> Mapping[str, str]:
    return {
        "careloop": version("careloop"),
        "Python": platform.python_version(),
        "database": database,
        "system": f"{platform.system()} {platform.machine()}",
    }
