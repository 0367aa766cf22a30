"""Steps that the owner sees: only with a grant, never at night, asked again right before sending."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from crm_sync.policy.model import Reason, SendDecision, Verdict
from tests.services.case_world import DAY, HOUR, NOON, CaseWorld, endpoint, open_world, scale
from tests.services.contacts import steps

NIGHT = NOON + 10 * HOUR  # 22:00 in Berlin
SEND = SendDecision(Verdict.SEND)


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        yield opened


def berlin_morning(day: int) -> float:
    return datetime(2026, 3, day, 7, 0, tzinfo=UTC).timestamp()


async def test_without_a_grant_for_the_channel_only_the_agents_hear(world: CaseWorld) -> None:
    await world.happens(scale())
    assert await world.types() == ["case.opened"]
    assert await steps(world) == []
    (refusal,) = await world.rows("SELECT gate, recipient, reason, inputs FROM decision WHERE outcome = 'refuse'")
    assert (refusal["gate"], refusal["recipient"], refusal["reason"]) == ("grant", "email", "no_grant")
    assert refusal["inputs"]["state"] == "never asked"


async def test_by_day_and_with_a_grant_the_step_goes_at_once(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(scale())
    opened, outreach = await world.messages()
    assert (opened["type"], outreach["type"]) == ("case.opened", "case.updated")
    assert outreach["data"]["outreach"]["channel"] == "email"
    assert outreach["data"]["outreach"]["template"] == "coffee-descale"
    assert "descaling" in outreach["data"]["outreach"]["text"]
    assert await world.deliver() == [("case.opened", SEND), ("case.updated", SEND)]
    assert await steps(world) == [("sent", None)]


async def test_at_night_the_agents_hear_at_once_and_the_owner_in_the_morning(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(scale(NIGHT))
    assert await world.types() == ["case.opened"]
    assert await steps(world) == [("held", None)]
    world.clock.at_s = berlin_morning(4) - 60
    await world.release_steps()
    assert await steps(world) == [("held", None)]
    world.clock.at_s = berlin_morning(4)
    await world.release_steps()
    await world.release_steps()
    assert await world.types() == ["case.opened", "case.updated"]
    assert await steps(world) == [("queued", None)]


async def test_what_recovers_in_the_night_is_not_spoken_of_in_the_morning(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(scale(NIGHT), scale(NIGHT + HOUR, event="cleared", started_at_s=NIGHT - HOUR))
    assert await steps(world) == [("withdrawn", "case_closed")]
    world.clock.at_s = berlin_morning(4)
    await world.release_steps()
    assert await world.types() == ["case.opened", "case.resolved"]


async def test_a_grant_revoked_in_the_night_counts_in_the_morning(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(scale(NIGHT))
    await world.grant("email", "revoked")
    world.clock.at_s = berlin_morning(4)
    await world.release_steps()
    assert await steps(world) == [("withdrawn", "no_grant")]
    assert await world.types() == ["case.opened"]


async def test_a_grant_revoked_between_the_decision_and_the_sending_counts(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(scale())
    await world.grant("email", "revoked")
    assert await world.deliver() == [
        ("case.opened", SEND),
        ("case.updated", SendDecision(Verdict.WITHDRAW, Reason.NO_GRANT)),
    ]
    assert await steps(world) == [("withdrawn", "no_grant")]
    (refusal,) = await world.rows("SELECT subject, recipient, owner_ref FROM decision WHERE outcome = 'refuse'")
    assert refusal == {"subject": "message", "recipient": "email", "owner_ref": "own-1"}


async def test_a_step_that_the_night_overtakes_leaves_the_queue_and_comes_back_in_the_morning(
    world: CaseWorld,
) -> None:
    await world.grant("email")
    await world.happens(scale())
    world.clock.at_s = NIGHT
    _, (_, decision) = await world.deliver()
    assert decision == SendDecision(Verdict.WITHDRAW, Reason.QUIET_HOURS, berlin_morning(4))
    assert await steps(world) == [("held", None)]
    await world.happens(scale(NIGHT + HOUR, event="updated", severity="major", started_at_s=NOON - HOUR))
    assert (await world.deliver())[-1] == ("case.updated", SEND)  # the agents do not wait for the owner's morning
    world.clock.at_s = berlin_morning(4)
    await world.release_steps()
    assert await world.deliver() == [("case.updated", SEND)]
    first, second = [each for each in await world.messages() if "outreach" in each["data"]]
    assert first["message_id"] != second["message_id"]
    assert second["data"]["version"] > first["data"]["version"]
    assert await steps(world) == [("sent", None)]


async def test_a_step_that_may_have_been_taken_comes_back_under_its_old_id(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(scale())
    await world.deliver()
    outreach = (await world.messages())[-1]
    await world.loses_answer(outreach)
    world.clock.at_s = NIGHT
    assert (await world.ask(outreach)).verdict is Verdict.WITHDRAW
    await world.withdraw(outreach)
    world.clock.at_s = berlin_morning(4)
    await world.release_steps()
    (again,) = [each for each in await world.messages() if "outreach" in each["data"]]
    assert (again["message_id"], again["state"], again["replayed"]) == (outreach["message_id"], "pending", 1)
    assert again["seq"] > outreach["seq"]
    assert await world.ask(again) == SEND


async def test_a_message_that_its_step_has_left_is_never_sent(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(scale())
    outreach = (await world.messages())[-1]
    world.clock.at_s = NIGHT
    await world.deliver()
    world.clock.at_s = berlin_morning(4)
    assert await world.ask(outreach) == SendDecision(Verdict.WITHDRAW, Reason.EXPIRED)  # somebody replays it


async def test_a_step_in_the_queue_of_a_case_that_is_over_is_withdrawn(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(scale())
    await world.deliver(limit=1)
    await world.happens(scale(NOON + HOUR, event="cleared", started_at_s=NOON - HOUR))
    assert await world.deliver() == [
        ("case.updated", SendDecision(Verdict.WITHDRAW, Reason.CASE_CLOSED)),
        ("case.resolved", SEND),
    ]


async def test_a_product_sold_in_the_night_brings_its_old_owner_no_message(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(scale(NIGHT))
    await world.own(owner_ref="own-2")
    await world.grant("email", owner_ref="own-2")
    world.clock.at_s = berlin_morning(4)
    await world.release_steps()
    assert await steps(world) == [("withdrawn", "owner_changed")]


async def test_the_kill_switch_stops_a_held_step(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(scale(NIGHT))
    world.settings = world.settings.model_copy(update={"kill_switch": True})
    world.clock.at_s = berlin_morning(4)
    await world.release_steps()
    assert await steps(world) == [("withdrawn", "kill_switch")]


async def test_only_one_crm_carries_a_step(plain_database_url: str) -> None:
    async with open_world(plain_database_url, endpoints=(endpoint("crm-a"), endpoint("crm-b"))) as world:
        await world.grant("email")
        await world.happens(scale())
        assert await world.types("crm-a") == ["case.opened", "case.updated"]
        assert await world.types("crm-b") == ["case.opened"]


async def test_without_a_zone_the_strictest_of_the_likely_zones_binds(plain_database_url: str) -> None:
    zones = ("Europe/Berlin", "America/New_York")
    async with open_world(plain_database_url, time_zones=zones) as world:
        await world.own("cm-2", "own-9", time_zone=None, account_ref="acc-9")
        await world.grant("email", owner_ref="own-9")
        await world.happens(scale(NOON, device_id="cm-2"))  # 06:00 in New York
        (held,) = await world.rows("SELECT due_at FROM held_step")
        assert held["due_at"] == datetime(2026, 3, 3, 13, 0, tzinfo=UTC)


async def test_the_zones_of_the_account_are_likely_too(world: CaseWorld) -> None:
    await world.own("cm-3", "own-3", time_zone="Asia/Tokyo", account_ref="acc-9")
    await world.own("cm-2", "own-9", time_zone=None, account_ref="acc-9")
    await world.grant("email", owner_ref="own-9")
    await world.happens(scale(NOON, device_id="cm-2"))  # 20:00 in Tokyo
    (held,) = await world.rows("SELECT due_at FROM held_step")
    assert held["due_at"] == datetime(2026, 3, 3, 23, 0, tzinfo=UTC)


async def test_with_no_zone_at_all_nobody_is_disturbed(world: CaseWorld) -> None:
    await world.own("cm-2", "own-9", time_zone=None, account_ref=None)
    await world.grant("email", owner_ref="own-9")
    await world.happens(scale(NOON, device_id="cm-2"))
    assert await steps(world) == []
    (refusal,) = await world.rows("SELECT gate, reason FROM decision WHERE outcome = 'refuse'")
    assert refusal == {"gate": "quiet_hours", "reason": "no_time_zone"}


async def test_a_relapse_may_bring_the_step_again_but_an_update_does_not(plain_database_url: str) -> None:
    async with open_world(plain_database_url, outreach={"debounce": 0, "caps": []}) as world:
        await world.grant("email")
        await world.happens(scale(), scale(NOON + 60, event="updated", started_at_s=NOON - HOUR))
        assert len(await steps(world)) == 1
        await world.happens(
            scale(NOON + HOUR, event="cleared", started_at_s=NOON - HOUR),
            scale(NOON + 2 * HOUR),
            scale(NOON + 3 * DAY, event="updated", started_at_s=NOON + HOUR),
        )
        assert len(await steps(world)) == 2


async def test_an_owner_is_written_to_in_their_own_language(world: CaseWorld) -> None:
    async with world.pool.connection() as conn:
        await conn.execute("UPDATE owner SET language = 'it-CH' WHERE owner_ref = 'own-1'")
    await world.grant("email")
    await world.happens(scale())
    opened, outreach = await world.messages()
    assert outreach["data"]["outreach"]["text"].startswith("La sua macchina va decalcificata.")
    assert opened["data"]["title"] == "The machine is full of limescale"  # the agents' language is the company's
    assert opened["data"]["chart"]["media_type"] == "image/svg+xml"
