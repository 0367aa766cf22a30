"""The fleet: models, firmware against firmware, what befell many devices at once, and where it was silent."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from fastapi import HTTPException, Request, Response

from devices.clock import to_datetime
from gateway.api.router import Router
from gateway.cohorts.shown import list_incidents, list_members
from gateway.console.chart import Drawn, draw_map
from gateway.console.fleet_queries import CohortRow, list_cohorts, silent_days
from gateway.console.parts import Connection, Desk
from gateway.console.show import Shown
from gateway.people.model import Actor

DAYS: Final = 28
MEMBERS: Final = 100


LEAST_ALARMS: Final = 3
Z: Final = 1.96


@dataclass(frozen=True, slots=True)
class Beside:
    """How many times as many alarms a firmware raises as the others of its model, device for device."""

    times: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether chance alone would hardly make such a difference."""
        return self.low > 1 or self.high < 1


def fleet_router(desk: Desk) -> Router:
    """``GET /fleet`` and ``/fleet/incidents/{incident_id}``."""
    router = Router()

    @router.get("/fleet")
    async def fleet(request: Request) -> Response:
        person = await desk.enter(request)
        shown = desk.renderer.shown(request)
        async with desk.pool.connection() as conn:
            cohorts = await list_cohorts(conn, person.tenant_id, to_datetime(shown.now_s) - timedelta(days=DAYS))
            incidents = await list_incidents(conn, person.tenant_id, limit=50)
            silence = await _silence(conn, person, cohorts, shown)
        models: dict[str, list[CohortRow]] = {}
        for cohort in cohorts:
            models.setdefault(cohort.model, []).append(cohort)
        return await desk.page(
            request,
            person,
            "fleet.html",
            models=models,
            compared=compare_firmware(models),
            incidents=incidents,
            silence=silence,
            days=DAYS,
        )

    @router.get("/fleet/incidents/{incident_id}")
    async def incident(request: Request, incident_id: str, cursor: str = "") -> Response:
        person = await desk.enter(request)
        async with desk.pool.connection() as conn:
            found = await list_incidents(conn, person.tenant_id, incident_id=incident_id)
            if not found:
                raise HTTPException(HTTPStatus.NOT_FOUND, "incident")
            members = await list_members(conn, person.tenant_id, incident_id, after=cursor or None, limit=MEMBERS + 1)
        await desk.parts.people.note(person, "incident.members", incident_id)
        return await desk.page(
            request,
            person,
            "incident.html",
            incident=found[0],
            members=members[:MEMBERS],
            next=members[MEMBERS - 1].alarm_id if len(members) > MEMBERS else None,
        )

    return router


def compare_firmware(models: Mapping[str, Sequence[CohortRow]]) -> Mapping[tuple[str, str | None], Beside]:
    """How often each firmware raises alarms, beside all others of its model; nothing where there are too few.

    The interval is that of the logarithm of a ratio of two rates, for 95 % (alarms as independent events, which those
    of one device are not quite).
    """
    told: dict[tuple[str, str | None], Beside] = {}
    for model, cohorts in models.items():
        devices, raised = sum(each.devices for each in cohorts), sum(each.raised for each in cohorts)
        for each in cohorts:
            others, theirs = devices - each.devices, raised - each.raised
            if min(each.devices, others) > 0 and min(each.raised, theirs) >= LEAST_ALARMS:
                times = each.raised / each.devices / (theirs / others)
                reach = math.exp(Z * math.sqrt(1 / each.raised + 1 / theirs))
                told[model, each.firmware] = Beside(times, times / reach, times * reach)
    return told


async def _silence(conn: Connection, person: Actor, cohorts: list[CohortRow], shown: Shown) -> Drawn | None:
    """Which share of each model was silent on each of the last days."""
    devices: dict[str, int] = {}
    for cohort in cohorts:
        devices[cohort.model] = devices.get(cohort.model, 0) + cohort.devices
    if not devices:
        return None
    today = to_datetime(shown.now_s).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=DAYS - 1 - number) for number in range(DAYS)]
    silent = await silent_days(conn, person.tenant_id, days[0], to_datetime(shown.now_s))
    cells = {
        model: [silent.get((model, day.date().isoformat()), 0) / count for day in days]
        for model, count in devices.items()
    }
    title = shown.words.say("Share of devices that were silent, by model and day")
    return draw_map("silence", title, days, cells, shown)
