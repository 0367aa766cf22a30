"""Alarms that waited are looked at again as they are by then, and only where nothing more is to be told of them."""

from crm_sync.holds import release_due
from crm_sync.inbox import AlarmExplanation, take_turn
from tests.services.case_world import HOUR, NOON, CaseWorld, notice, open_world

WAITS_UNTIL = NOON + 6 * HOUR
STARTED = NOON - HOUR


async def release(world: CaseWorld) -> int:
    """What the service does now and then."""
    async with world.pool.connection() as conn, conn.transaction():
        return await release_due(conn, world.clock.at_s)


async def held(world: CaseWorld) -> int:
    return len(await world.rows("SELECT alarm_id FROM held_alarm"))


async def test_an_alarm_whose_end_waits_in_the_inbox_is_not_brought_back(database_url: str) -> None:
    async with open_world(database_url) as world:
        await world.happens(notice(hold_until_s=WAITS_UNTIL))
        await world.put(notice(event="cleared", at_s=WAITS_UNTIL, started_at_s=STARTED))
        world.clock.at_s = WAITS_UNTIL + 1
        assert (await release(world), await held(world)) == (0, 1)
        await world.work()
        assert (await release(world), await held(world)) == (0, 0)
        assert await world.work() == 0
        assert [row["state"] for row in await world.rows("SELECT state FROM case_alarm")] == ["cleared"]
        assert await world.cases() == []


async def test_what_an_incident_left_and_is_over_is_not_brought_back(database_url: str) -> None:
    async with open_world(database_url) as world:
        await world.happens(notice(hold_until_s=WAITS_UNTIL))
        await world.rows("UPDATE case_alarm SET suppressed = 'left_over' RETURNING alarm_id")
        await world.rows("DELETE FROM held_alarm RETURNING alarm_id")  # as its incident has it
        await world.put(notice(event="cleared", at_s=NOON + HOUR, started_at_s=STARTED))
        world.clock.at_s = NOON + HOUR
        assert await release(world) == 0
        await world.work()
        assert await release(world) == 0
        assert [row["state"] for row in await world.rows("SELECT state FROM case_alarm")] == ["cleared"]
        assert await world.cases() == []


async def test_an_alarm_that_changed_while_it_waited_is_told_as_it_is_by_then(database_url: str) -> None:
    async with open_world(database_url, stale_after=HOUR) as world:
        await world.happens(notice(severity="minor", hold_until_s=WAITS_UNTIL))
        earlier = STARTED - HOUR
        worse = AlarmExplanation("It boils over", "at most 125 °C", "140 °C", HOUR)
        first = notice()
        await world.happens(
            notice(
                alarm_id=first.alarm_id,
                event="updated",
                severity="major",
                at_s=NOON + 2 * HOUR,
                started_at_s=earlier,
                explanation=worse,
            )
        )
        assert await world.cases() == []
        world.clock.at_s = WAITS_UNTIL + 1
        assert (await release(world), await held(world)) == (1, 0)
        await world.work()
        (case,) = await world.cases()  # the wait has made it no staler
        assert (case["severity"], "140 °C" in case["brief"]) == ("major", True)
        (alarm,) = await world.rows("SELECT * FROM case_alarm")
        assert (alarm["severity"], alarm["explanation"]["text"]) == ("major", "It boils over")
        assert alarm["started_at"].timestamp() == earlier
        assert alarm["decided_ts"].timestamp() == NOON + 2 * HOUR


async def test_nothing_is_released_while_another_works_the_inbox(database_url: str) -> None:
    async with open_world(database_url) as world:
        await world.happens(
            notice(hold_until_s=WAITS_UNTIL),
            notice(device_id="cm-2", hold_until_s=2 * WAITS_UNTIL),
        )
        await world.rows("UPDATE case_alarm SET suppressed = 'left_over' WHERE device_id = 'cm-2' RETURNING alarm_id")
        world.clock.at_s = WAITS_UNTIL + 1
        async with world.pool.connection() as other, other.transaction():
            assert await take_turn(other)
            assert (await release(world), await held(world)) == (0, 2)
        assert await release(world) == 2
