"""Journeys of many cases are kept for a minute, those of few are read each time."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from crm_sync.journey.kept import KEPT_FOR, MANY, KeptJourneys
from crm_sync.journey.model import Journey, Leg, Stage
from crm_sync.journey.queries import Period
from crm_sync.journey.report import compare

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MONTH = timedelta(days=30)


class Reader:
    """Reads journeys of so many cases, and counts how often."""

    def __init__(self, cases: int) -> None:
        self.cases = cases
        self.reads = 0

    async def read(self, period: Period) -> Journey:
        """A journey, after a moment in which others may come."""
        self.reads += 1
        await asyncio.sleep(0)
        whole = Leg("all", dict.fromkeys(Stage, self.cases), {})
        return Journey(period.since, period.until, self.cases, {}, {}, 0, whole, (), compare([]))

    async def get(self, kept: KeptJourneys, now: datetime, tenant_id: str = "default") -> Journey:
        """What somebody is given who asks at a moment."""
        period = Period(tenant_id, now - MONTH, now)
        return await kept.get(period, "model", lambda: self.read(period))


@pytest.mark.parametrize(
    ("cases", "later", "reads"),
    [
        (MANY, KEPT_FOR, 1),
        (MANY, KEPT_FOR + timedelta(seconds=1), 2),
        (MANY, timedelta(seconds=-1), 2),  # the clock was set back
        (MANY - 1, timedelta(0), 2),
    ],
)
async def test_a_journey_is_read_again_when_it_is_old_or_small(cases: int, later: timedelta, reads: int) -> None:
    kept, reader = KeptJourneys(), Reader(cases)
    await reader.get(kept, NOW)
    await reader.get(kept, NOW + later)
    assert reader.reads == reads


async def test_those_who_ask_at_once_wait_for_one_answer() -> None:
    kept, reader = KeptJourneys(), Reader(MANY)
    found = await asyncio.gather(*(reader.get(kept, NOW) for _ in range(5)))
    assert reader.reads == 1
    assert all(each is found[0] for each in found)


async def test_tenants_do_not_see_each_others() -> None:
    kept, ours, theirs = KeptJourneys(), Reader(MANY), Reader(MANY + 7)
    assert (await ours.get(kept, NOW)).alarms == MANY
    assert (await theirs.get(kept, NOW, "other")).alarms == MANY + 7
