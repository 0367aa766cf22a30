"""What the CRM side tells itself again of an alarm is older than what the gateway has said of it since."""

from dataclasses import replace

from tests.services.case_world import HOUR, NOON, notice, open_world


async def test_a_renewed_notice_does_not_raise_an_alarm_that_ended_meanwhile(plain_database_url: str) -> None:
    """The gateway's `cleared` has the lower number, and was not committed yet when the alarm was looked at again."""
    async with open_world(plain_database_url) as world:
        cleared = notice(event="cleared", at_s=NOON + HOUR, started_at_s=NOON - HOUR)
        renewed = replace(notice(event="updated", at_s=NOON, started_at_s=NOON - HOUR), is_renewed=True)
        await world.happens(notice(), cleared, renewed)
        (alarm,) = await world.rows("SELECT state FROM case_alarm")
        (case,) = await world.rows("SELECT state FROM service_case")
        assert (alarm["state"], case["state"]) == ("cleared", "resolved")
        again = notice(event="updated", at_s=NOON + 2 * HOUR, started_at_s=NOON - HOUR)
        await world.happens(again)
        (alarm,) = await world.rows("SELECT state FROM case_alarm")
        assert alarm["state"] == "active", "the gateway's own word counts"
