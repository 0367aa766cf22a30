"""The whole CRM side at work: from a committed alarm to a signed request, and back to a closed case."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog

from crm_sync.inbox import put_alarms
from crm_sync.service import CrmSync
from crm_sync.settings import CrmSettings
from tests.services.case_world import HOUR, NOON, CaseWorld, notice, open_world
from tests.services.delivery_rig import endpoint
from tests.services.receiver import Heard, Receiver


@asynccontextmanager
async def at_work(world: CaseWorld) -> AsyncGenerator[CrmSync]:
    """The service over a world, cancelled after the block."""
    service = CrmSync(world.desk, world.pool, world.clock, structlog.get_logger())
    task = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def hear(receiver: Receiver, count: int) -> list[Heard]:
    """Wait until the receiver has heard so many requests."""
    await receiver.hears(count)
    return receiver.heard


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as listening:
        yield listening


def settings_for(receiver: Receiver) -> CrmSettings:
    return CrmSettings(
        endpoints=(endpoint(receiver.url, "crm-a", types=("case.opened", "case.updated", "case.resolved")),)
    )


async def test_an_alarm_reaches_the_crm_and_its_end_too(plain_database_url: str, receiver: Receiver) -> None:
    async with open_world(plain_database_url) as world:
        world.settings = settings_for(receiver)
        async with at_work(world) as service:
            await world.put(notice())
            service.wake()
            (opened,) = await hear(receiver, 1)
            assert opened.data["title"] == "The boiler runs too hot"
            world.clock.at_s = NOON + HOUR
            await world.put(notice(event="cleared", at_s=NOON + HOUR, started_at_s=NOON - HOUR))
            service.wake()
            _, resolved = await hear(receiver, 2)
            assert resolved.data["resolution"] == "recovered_in_telemetry"
        assert [case["state"] for case in await world.cases()] == ["resolved"]


async def test_an_alarm_that_waited_for_its_cohort_reaches_the_crm(plain_database_url: str, receiver: Receiver) -> None:
    async with open_world(plain_database_url) as world:
        world.settings = settings_for(receiver).model_copy(update={"poll_interval": 0.05})
        await world.happens(notice(hold_until_s=NOON + HOUR))
        assert await world.cases() == []
        async with at_work(world):
            world.clock.at_s = NOON + HOUR
            (opened,) = await hear(receiver, 1)
            assert opened.data["change"] == "opened"


async def test_a_held_step_leaves_when_its_hour_comes(plain_database_url: str, receiver: Receiver) -> None:
    async with open_world(plain_database_url) as world:
        world.settings = settings_for(receiver).model_copy(update={"poll_interval": 0.05})
        await world.grant("email")
        world.clock.at_s = NOON + 10 * HOUR
        async with at_work(world) as service:
            await world.put(
                notice(at_s=NOON + 10 * HOUR, problem="limescale", watch="heats-slowly", metric="heat_up_time")
            )
            service.wake()
            await hear(receiver, 1)
            world.clock.at_s = NOON + 20 * HOUR
            _, outreach = await hear(receiver, 2)
            assert outreach.data["change"] == "outreach"
            async with asyncio.timeout(120):
                while not (contacts := await world.rows("SELECT * FROM owner_contact")):  # noqa: ASYNC110 - nobody calls
                    await asyncio.sleep(0.02)
        (contact,) = contacts
        assert (contact["owner_ref"], contact["channel"], contact["problem"]) == ("own-1", "email", "limescale")
        assert (contact["source"], contact["by_human"], contact["action"]) == ("careloop", False, "coffee-descale")
        assert contact["contacted_at"].timestamp() == NOON + 20 * HOUR


async def test_it_survives_a_database_that_cuts_every_connection(plain_database_url: str, receiver: Receiver) -> None:
    async with open_world(plain_database_url) as world:
        world.settings = settings_for(receiver).model_copy(update={"poll_interval": 0.05})
        async with at_work(world) as service:
            async with world.pool.connection() as conn:
                await conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                await put_alarms(conn, [notice()])
            service.wake()
            await hear(receiver, 1)
        await world.pool.check()  # one that nobody has used since may still be a dead one
        assert len(await world.cases()) == 1
