"""Alarms that come back during a silence, after their case has ended: they are told when the silence is over."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from crm_sync import holds
from crm_sync.cases.quiet_queries import Quiet, put_quiet
from tests.services.case_world import DAY, HOUR, NOON, CaseWorld, notice, open_world


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        yield opened


async def silence(world: CaseWorld) -> None:
    begin, end = (datetime.fromtimestamp(at_s, UTC) for at_s in (NOON, NOON + DAY))
    async with world.pool.connection() as conn:
        await put_quiet(
            conn, "default", Quiet("silence", begin, end, "person:ann", "new firmware", model="coffee-machine"), NOON
        )


async def goes_on(world: CaseWorld) -> None:
    """The alarm goes on in the silence, which then ends."""
    await silence(world)
    await world.happens(notice(at_s=NOON + 120, event="updated", started_at_s=NOON - HOUR))
    assert [case["closed_at"] is None for case in await world.cases()] == [False]
    world.clock.at_s = NOON + DAY
    async with world.pool.connection() as conn, conn.transaction():
        assert await holds.release_due(conn, world.clock.at_s) == 1
    await world.work()


async def test_a_relapse_in_a_silence_is_told_afterwards(world: CaseWorld) -> None:
    await world.happens(notice(), notice(at_s=NOON + 60, event="cleared", started_at_s=NOON - HOUR))
    await goes_on(world)
    assert [(case["state"], case["relapses"]) for case in await world.cases()] == [("open", 1)]


async def test_what_lost_its_case_before_a_silence_has_one_afterwards(world: CaseWorld) -> None:
    await world.happens(notice())
    await world.rows(
        "UPDATE service_case SET state = 'retracted', resolution = 'withdrawn', closed_at = now() RETURNING 1"
    )
    await goes_on(world)
    assert [case["state"] for case in await world.cases()] == ["retracted", "open"]
