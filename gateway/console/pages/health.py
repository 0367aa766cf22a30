"""The gateway's own health: what is not well, rates, queues, versions, and the doctor's findings."""

import asyncio
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

from fastapi import Request, Response

from gateway.api.queries import pipeline_totals
from gateway.api.router import Router
from gateway.console.attention_queries import count_opened
from gateway.console.parts import Desk
from gateway.console.said import say_check, say_finding
from gateway.console.show import Shown
from gateway.people.audit import record
from gateway.people.door import at_home
from gateway.people.model import Role
from gateway.pipeline.pace import Rates
from gateway.store.tallies import read_backlog, read_tallies

TOTALS: Final = ("packets", "stored", "duplicates", "filled", "conflicts", "quarantined", "events")
DAYS: Final = 7  # of a week


def health_router(desk: Desk) -> Router:
    """``GET /health``, and the doctor on demand."""
    router = Router()

    @router.get("/health")
    async def health(request: Request) -> Response:
        person = await desk.enter(request)
        at_home(request, person)
        checks = await desk.parts.probe()
        words = desk.renderer.words_of(request)
        async with desk.pool.connection() as conn:
            totals = await pipeline_totals(conn, person.tenant_id)
            tallies = await read_tallies(conn, person.tenant_id)
            backlog = await read_backlog(conn, person.tenant_id)
            opened = await count_opened(conn, person.tenant_id, desk.now_s())
        return await desk.page(
            request,
            person,
            "health.html",
            checks=checks,
            says={name: say_check(check.says, words) for name, check in checks.items()},
            totals=[(name, totals.get(name, 0)) for name in TOTALS],
            tallies=tallies,
            backlog=backlog,
            rates=rate_rows(
                desk.parts.pipeline.pace.rates(asyncio.get_running_loop().time()),
                opened,
                desk.renderer.shown(request),
            ),
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
        words = desk.renderer.words_of(request)
        findings = [say_finding(each, words) for each in await desk.parts.examine()]
        return await desk.page(request, person, "doctor.html", findings=findings)

    return router


def rate_rows(rates: Rates, opened: tuple[int, int], shown: Shown) -> list[tuple[str, str]]:
    """How much happens in which time, and what that is called; `opened` are cases of the last day and week."""
    words = shown.words

    def per_s(minute: float, hour: float) -> str:
        return words.say(
            "{minute} a second over the last minute, {hour} over the last hour",
            minute=shown.number(round(minute, 2)),
            hour=shown.number(round(hour, 2)),
        )

    cases = words.say(
        "{day} in the last day, {week} a day over the last week",
        day=shown.number(opened[0]),
        week=shown.number(round(opened[1] / DAYS, 1)),
    )
    return [
        (words.say("readings stored"), per_s(rates.readings_minute, rates.readings_hour)),
        (words.say("batches"), per_s(rates.batches_minute, rates.batches_hour)),
        (words.say("cases"), cases),
    ]


def _versions(database: str) -> Mapping[str, str]:
    return {
        "careloop": version("careloop"),
        "Python": platform.python_version(),
        "database": database,
        "system": f"{platform.system()} {platform.machine()}",
    }
