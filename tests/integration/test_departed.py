"""Alarms of devices that are removed end with them, and the CRM side is told."""

import pytest

from crm_sync.trust.rules import TrustRules
from devices.clock import to_datetime
from devices.registry.passwords import remove_device
from tests.ingest.rig import NOW_S, Rig, reading
from tests.services.case_world import HOUR, NOON, notice, open_world

ALARMS = "SELECT state, ended_at IS NOT NULL, events FROM alarm ORDER BY device_id"
TOLD = "SELECT device_id, event FROM inbox ORDER BY inbox_id"
BECAUSE = "SELECT notice ->> 'because' FROM inbox WHERE event = 'retracted'"
VERDICTS = "SELECT verdict, source FROM case_verdict"


async def remove(rig: Rig, device_id: str) -> None:
    """What `careloop devices remove` does."""
    async with await rig.connect() as conn:
        assert await remove_device(conn, "default", device_id, to_datetime(NOW_S))


async def test_a_removed_device_takes_its_alarms_with_it_and_no_other_devices(database_url: str) -> None:
    rig = Rig(database_url)
    async with rig.running():
        await rig.tell("k1", reading(0, celsius=95))
        await rig.tell("k2", reading(0, celsius=95))
        await remove(rig, "k1")
        rig.directory.remove("k1")
        await rig.until_rows(ALARMS, [("retracted", True, 2), ("active", False, 1)])
        explained = await rig.rows("SELECT explanation ->> 'text' FROM alarm_event ")
        assert await rig.rows(TOLD) == [("k1", "raised"), ("k2", "raised"), ("k1", "retracted")]
        assert rig.told_crm >= 3
    assert any("the device was removed, and nobody watches it any more" in text for (text,) in explained)


async def test_what_was_removed_while_no_gateway_ran_is_ended_at_the_next_start(plain_database_url: str) -> None:
    rig = Rig(plain_database_url)
    async with rig.running():
        await rig.tell("k1", reading(0, celsius=95))
    await remove(rig, "k1")
    later = Rig(plain_database_url, devices={"k2": "kettle"})
    async with later.running():
        await later.until_rows(ALARMS, [("retracted", True, 2)])
        await later.tell("k2", reading(0, celsius=20))
    assert await later.rows(TOLD) == [("k1", "raised"), ("k1", "retracted")]
    assert await later.rows(BECAUSE) == [("device_removed",)]


@pytest.mark.parametrize(("because", "verdicts"), [("", [("false", "retraction")]), ("device_removed", [])])
async def test_that_a_device_is_gone_says_nothing_about_its_watch(
    plain_database_url: str, because: str, verdicts: list[tuple[str, str]]
) -> None:
    async with open_world(plain_database_url) as world:
        world.trust = TrustRules()
        await world.happens(
            notice(), notice(event="retracted", at_s=NOON + HOUR, started_at_s=NOON - HOUR, because=because)
        )
        assert [(row["verdict"], row["source"]) for row in await world.rows(VERDICTS)] == verdicts
        (case,) = await world.rows("SELECT state, resolution FROM service_case")
        assert (case["state"], case["resolution"]) == ("retracted", "alarm_retracted")
