"""What keeps a step from its owner besides grants and the night: who says no, for how long, and who may say yes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from crm_sync.catching_up import look_after_release
from crm_sync.contact_settings import HoldOutSettings, OutreachSettings
from crm_sync.policy.contacts import Told, note_told
from crm_sync.policy.hold_out import is_held_out
from crm_sync.policy.model import Reason, SendDecision, Verdict
from crm_sync.policy.switches import EVERY, Switch, release, throw
from tests.services.case_world import DAY, HOUR, NOON, CaseWorld, notice, open_world, scale
from tests.services.contacts import brewing, last_decision, steps

SEND = SendDecision(Verdict.SEND)
AT = datetime.fromtimestamp(NOON, UTC)


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        await opened.grant("email")
        yield opened


async def test_one_contact_a_day_over_all_products_of_an_owner(world: CaseWorld) -> None:
    await world.own("cm-2", "own-1")
    await world.happens(scale())
    await world.contact()
    await world.happens(scale(NOON + HOUR, device_id="cm-2"))
    assert await steps(world) == [("sent", None), ("held", None)]
    held = await last_decision(world)
    assert (held["gate"], held["reason"], held["until_at"].timestamp()) == (
        "frequency_cap",
        "frequency_cap",
        NOON + DAY,
    )
    assert held["inputs"] == {"contacts": 1, "allowed": 1, "within_h": 24.0}
    world.clock.at_s = NOON + DAY
    await world.release_steps()
    await world.contact()
    assert await steps(world) == [("sent", None), ("sent", None)]


async def test_two_steps_of_the_same_moment_do_not_both_find_room(world: CaseWorld) -> None:
    await world.own("cm-2", "own-1")
    await world.happens(scale(), scale(device_id="cm-2"))
    assert sorted(await steps(world)) == [("held", None), ("queued", None)]


async def test_two_workers_that_send_in_the_same_moment_do_not_both_contact_the_owner(plain_database_url: str) -> None:
    async with open_world(plain_database_url, outreach={"caps": []}) as world:
        await world.grant("email")
        await world.own("cm-2", "own-1")
        await world.happens(scale(), scale(device_id="cm-2"))
        assert sorted(await steps(world)) == [("queued", None), ("queued", None)]
        world.settings = world.settings.model_copy(update={"outreach": OutreachSettings()})
        messages = await world.messages()
        for row in messages:
            if row["type"] == "case.opened":
                await world.ask(row)
        contacts = [row for row in messages if "outreach" in row["data"]]
        decided = await asyncio.gather(*(world.ask(row) for row in contacts))
        assert sorted(each.verdict for each in decided) == [Verdict.SEND, Verdict.WITHDRAW]
        assert sorted(await steps(world)) == [("held", None), ("sent", None)]


async def test_a_contact_of_another_team_counts_once_however_often_it_is_told(world: CaseWorld) -> None:
    told = Told("own-1", "email", NOON - HOUR, "crm-a", "mail-1", by_human=False)
    async with world.pool.connection() as conn:
        assert await note_told(conn, "default", told)
        assert not await note_told(conn, "default", told)
    await world.happens(scale())
    held = await last_decision(world)
    assert (held["reason"], held["inputs"]["contacts"]) == ("frequency_cap", 1)
    assert held["until_at"].timestamp() == NOON + 23 * HOUR


async def test_a_wait_that_is_too_long_is_a_no_that_names_its_end(world: CaseWorld) -> None:
    async with world.pool.connection() as conn:
        for day in (1.5, 3.0, 5.0, 7.5, 20.0):
            await note_told(conn, "default", Told("own-1", None, NOON - day * DAY, "crm-a", f"{day}", by_human=False))
    await world.happens(scale())
    assert await steps(world) == []
    refusal = await last_decision(world)
    assert (refusal["outcome"], refusal["reason"]) == ("refuse", "frequency_cap")
    assert refusal["until_at"].timestamp() == NOON + 10 * DAY


async def test_what_is_critical_is_exempt_from_the_cap_and_from_nothing_else(plain_database_url: str) -> None:
    outreach: dict[str, Any] = {"approval": {"severities": []}}
    async with open_world(plain_database_url, outreach=outreach) as world:
        await world.grant("email")
        async with world.pool.connection() as conn:
            await note_told(conn, "default", Told("own-1", None, NOON - HOUR, "crm-a", "1", by_human=False))
        await world.happens(scale(severity="critical"))
        await world.contact()
        assert await steps(world) == [("sent", None)]
        await world.grant("email", "revoked")
        await world.happens(brewing(severity="critical"))
        assert (await last_decision(world))["reason"] == "no_grant"


async def test_a_message_that_nobody_took_counts_for_nothing(world: CaseWorld) -> None:
    await world.own("cm-2", "own-1")
    await world.happens(scale())
    for row in await world.messages():
        await world.ask(row)
    async with world.pool.connection() as conn:
        await conn.execute("UPDATE outbox_message SET state = 'dead'")
    await world.happens(scale(NOON + HOUR, device_id="cm-2"))
    assert (await steps(world))[-1] == ("queued", None)


async def test_a_relapse_within_a_day_is_told_to_the_agents_alone(plain_database_url: str) -> None:
    async with open_world(plain_database_url, outreach={"caps": []}) as world:
        await world.grant("email")
        await world.happens(scale())
        await world.contact()
        await world.happens(scale(NOON + HOUR, event="cleared", started_at_s=NOON - HOUR), scale(NOON + 2 * HOUR))
        assert await steps(world) == [("sent", None)]
        refusal = await last_decision(world)
        assert (refusal["gate"], refusal["reason"]) == ("debounce", "told_already")
        assert refusal["until_at"].timestamp() == NOON + DAY
        assert (await world.types())[-1] == "case.updated"


async def test_a_case_that_an_agent_took_up_is_the_agents(world: CaseWorld) -> None:
    night = NOON + 10 * HOUR
    await world.happens(scale(night))
    await world.deliver()
    await world.call_back(status="accepted")
    world.clock.at_s = night + 10 * HOUR
    await world.release_steps()
    assert await steps(world) == [("withdrawn", "human_case")]


async def test_another_case_in_an_agents_hands_keeps_all_else_from_the_owner(world: CaseWorld) -> None:
    await world.own("cm-2", "own-1")
    await world.happens(notice())
    await world.deliver()
    await world.call_back(status="in_progress")
    await world.happens(scale(device_id="cm-2"))
    assert (await last_decision(world))["reason"] == "human_case"
    assert await steps(world) == []


async def test_a_human_case_that_opens_between_decision_and_sending_counts(world: CaseWorld) -> None:
    await world.happens(scale())
    async with world.pool.connection() as conn:
        await conn.execute(
            "INSERT INTO human_case (tenant_id, endpoint, external_id, owner_ref, opened_at, told_at)"
            " VALUES ('default', 'crm-a', '4711', 'own-1', %s, %s)",
            [AT, AT],
        )
    assert (await world.deliver())[-1] == ("case.updated", SendDecision(Verdict.WITHDRAW, Reason.HUMAN_CASE))
    assert await steps(world) == [("withdrawn", "human_case")]
    assert (await last_decision(world))["inputs"] == {"case": "4711", "endpoint": "crm-a"}


async def test_after_a_person_spoke_with_the_owner_nothing_automatic_for_three_days(world: CaseWorld) -> None:
    async with world.pool.connection() as conn:
        told = Told("own-1", "phone", NOON - 60 * HOUR, "crm-a", "call-1", by_human=True)
        await note_told(conn, "default", told)
    await world.happens(scale())
    held = await last_decision(world)
    assert (held["outcome"], held["reason"]) == ("hold", "human_reply")
    assert held["until_at"].timestamp() == NOON + 12 * HOUR


@pytest.mark.parametrize("kind", ["do_not_contact", "legal_hold", "complaint"])
async def test_an_owner_who_is_to_be_left_alone_is(world: CaseWorld, kind: str) -> None:
    async with world.pool.connection() as conn:
        await conn.execute(
            "INSERT INTO owner_hold (tenant_id, owner_ref, kind, actor, why, since, told_at)"
            " VALUES ('default', 'own-1', %s, 'person:ann', 'asked for it', %s, %s)",
            [kind, AT, AT],
        )
    await world.happens(scale())
    assert ((await last_decision(world))["reason"], await steps(world)) == (kind, [])
    assert await world.types() == ["case.opened"]


async def test_planned_work_on_a_model_and_region_waits_for_its_end(world: CaseWorld) -> None:
    async with world.pool.connection() as conn:
        await conn.execute(
            "INSERT INTO planned_work (tenant_id, model, starts_at, ends_at, actor, why)"
            " VALUES ('default', 'coffee-machine', %s, %s, 'person:ann', 'new firmware')",
            [AT, datetime.fromtimestamp(NOON + 2 * HOUR, UTC)],
        )
    await world.happens(scale())
    held = await last_decision(world)
    assert (held["reason"], held["until_at"].timestamp()) == ("planned_work", NOON + 2 * HOUR)
    world.clock.at_s = NOON + 2 * HOUR
    await world.release_steps()
    assert await steps(world) == [("queued", None)]


@pytest.mark.parametrize(
    ("scope", "model", "name", "stops"),
    [
        ("tenant", EVERY, EVERY, True),
        ("watch", "coffee-machine", "heats-slowly", True),
        ("watch", EVERY, "heats-slowly", True),
        ("watch", "e-bike", "heats-slowly", False),
        ("watch", EVERY, "brews-less", False),
        ("problem", EVERY, "limescale", True),
        ("problem", EVERY, "brewing", False),
    ],
)
async def test_a_switch_stops_what_it_names(
    world: CaseWorld, scope: Any, model: str, name: str, *, stops: bool
) -> None:
    async with world.pool.connection() as conn:
        assert await throw(conn, "default", Switch(scope, model, name, "ann", "a bad week", AT))
        assert not await throw(conn, "default", Switch(scope, model, name, "bob", "again", AT))
    await world.happens(scale())
    assert await world.types() == ([] if stops else ["case.opened", "case.updated"])
    if stops:
        assert (await last_decision(world))["inputs"]["why"] == "a bad week"
        async with world.pool.connection() as conn:
            assert await release(conn, "default", (scope, model, name), "ann", NOON)
        await world.happens(scale(NOON + 60, event="updated", started_at_s=NOON - HOUR))
        assert await world.types() == ["case.opened", "case.updated"]


@pytest.mark.parametrize(
    ("scope", "model", "name"),
    [
        ("watch", "automatic", "usage-drop"),  # as `careloop trust` lists it
        ("watch", EVERY, "cups-usage-drop"),
        ("watch", "coffee-machine", "usage-drop"),
        ("problem", "automatic", "cups"),
    ],
)
async def test_a_switch_stops_detectors_of_products_without_a_profile(
    world: CaseWorld, scope: Any, model: str, name: str
) -> None:
    world.profiles = {}
    async with world.pool.connection() as conn:
        assert await throw(conn, "default", Switch(scope, model, name, "ann", "a bad week", AT))
    await world.happens(notice(watch="cups-usage-drop", kind="usage_drop", metric="cups", problem="cups"))
    assert await world.types() == []


async def test_a_switch_thrown_after_the_decision_stops_the_step(world: CaseWorld) -> None:
    await world.happens(scale())
    await world.deliver(limit=1)
    async with world.pool.connection() as conn:
        await throw(conn, "default", Switch("problem", EVERY, "limescale", "ann", "wrong words", AT))
    assert await world.deliver() == [("case.updated", SendDecision(Verdict.WITHDRAW, Reason.KILL_SWITCH))]


async def test_a_fault_that_outlives_the_switch_is_looked_at_after_its_release(world: CaseWorld) -> None:
    async def look() -> int:
        async with world.pool.connection() as conn:
            return await look_after_release(conn, world.clock.at_s)

    async with world.pool.connection() as conn:
        await throw(conn, "default", Switch("problem", EVERY, "limescale", "ann", "wrong words", AT))
        await throw(conn, "default", Switch("watch", EVERY, "another", "ann", "wrong words", AT))
    await world.own("cm-2", "own-2")
    await world.happens(scale(), scale(device_id="cm-2"))
    await world.happens(scale(NOON + HOUR, device_id="cm-2", event="cleared", started_at_s=NOON - HOUR))
    world.clock.at_s = NOON + 3 * DAY
    assert (await look(), await world.cases()) == (0, [])
    async with world.pool.connection() as conn:
        await release(conn, "default", ("problem", EVERY, "limescale"), "ann", world.clock.at_s)
    assert await look() == 1  # the other fault is over
    await world.work()
    assert [(case["device_id"], case["state"]) for case in await world.cases()] == [("cm-1", "open")]
    assert await look() == 0


async def test_what_waited_in_the_queue_for_a_day_is_decided_anew(world: CaseWorld) -> None:
    await world.happens(scale())
    await world.deliver(limit=1)
    outreach = (await world.messages())[-1]
    world.clock.at_s = NOON + DAY + HOUR
    assert await world.ask(outreach) == SendDecision(Verdict.WITHDRAW, Reason.EXPIRED, world.clock.at_s)
    await world.withdraw(outreach)
    await world.release_steps()
    anew = (await world.messages())[-1]
    assert anew["message_id"] != outreach["message_id"]
    assert await world.ask(anew) == SEND


async def test_what_recovered_while_it_expired_is_not_sent(world: CaseWorld) -> None:
    await world.happens(scale())
    await world.deliver(limit=1)
    outreach = (await world.messages())[-1]
    world.clock.at_s = NOON + DAY + HOUR
    await world.ask(outreach)
    await world.happens(scale(NOON + DAY + HOUR, event="cleared", started_at_s=NOON - HOUR))
    await world.release_steps()
    assert await steps(world) == [("withdrawn", "case_closed")]


async def test_a_step_that_waited_for_days_is_given_up(world: CaseWorld) -> None:
    await world.happens(scale(NOON + 10 * HOUR))
    world.clock.at_s = NOON + 10 * HOUR + 3 * DAY + 60  # the gateway was away
    await world.release_steps()
    assert await steps(world) == [("withdrawn", "expired")]


async def test_those_who_are_left_alone_for_comparison_are_contacted_only_if_it_is_critical(
    plain_database_url: str,
) -> None:
    settings = HoldOutSettings(share=0.5, salt=next(s for s in "abcdefgh" if is_held_out(_half(s), "default", "own-1")))
    outreach: dict[str, Any] = {"hold_out": settings.model_dump(), "approval": {"severities": []}}
    async with open_world(plain_database_url, outreach=outreach) as world:
        await world.grant("email")
        await world.happens(scale())
        refusal = await last_decision(world)
        assert (refusal["gate"], refusal["reason"]) == ("hold_out", "hold_out")
        assert refusal["inputs"] == {"group": "hold_out", "share": 0.5, "salt": settings.salt}
        assert await world.types() == ["case.opened"]
        await world.happens(brewing(severity="critical"))
        assert await steps(world) == [("queued", None)]


async def test_with_cases_held_out_agents_do_not_hear_either(plain_database_url: str) -> None:
    salt = next(s for s in "abcdefgh" if is_held_out(_half(s), "default", "own-1"))
    outreach = {"hold_out": {"share": 0.5, "salt": salt, "cases": True}}
    async with open_world(plain_database_url, outreach=outreach) as world:
        await world.happens(scale())
        assert await world.cases() == []
        (alarm,) = await world.rows("SELECT suppressed FROM case_alarm")
        assert alarm["suppressed"] == "hold_out"
        await world.happens(scale(NOON + 60, event="updated", severity="critical", started_at_s=NOON - HOUR))
        assert len(await world.cases()) == 1


def _half(salt: str) -> HoldOutSettings:
    return HoldOutSettings(share=0.5, salt=salt)


async def test_a_case_that_opens_at_night_says_whose_it_is_and_by_when(plain_database_url: str) -> None:
    weekdays = {day: ["08:00-16:00"] for day in ("tuesday", "wednesday", "thursday")}
    teams = [
        {"name": "Kitchen care", "time_zone": "Europe/Berlin", "hours": weekdays, "fallback": "Night desk"},
        {"name": "Night desk"},
    ]
    async with open_world(plain_database_url, teams=teams) as world:
        night = NOON + 10 * HOUR
        await world.happens(scale(night, severity="major"))
        (case,) = await world.cases()
        assert case["team"] == "Kitchen care"
        assert case["sla_due_at"] == datetime(2026, 3, 24, 15, 0, tzinfo=UTC)  # 72 hours in days of eight, three a week
        (message,) = await world.messages()
        assert (message["data"]["team"], message["data"]["sla_due_at"]) == ("Kitchen care", "2026-03-24T15:00:00Z")
        (way,) = await world.rows("SELECT recipient, inputs FROM decision WHERE gate = 'routing'")
        assert (way["recipient"], way["inputs"]["there_from"]) == ("Kitchen care", "2026-03-04T07:00+00:00")
        await world.happens(scale(night + 60, event="updated", severity="critical", started_at_s=night - HOUR))
        (case,) = await world.cases()
        assert (case["team"], case["sla_due_at"].timestamp()) == ("Night desk", night + 60 + 72 * HOUR)
        await world.happens(scale(night + 12 * HOUR, event="updated", severity="critical", started_at_s=night - HOUR))
        assert (await world.cases())[0]["team"] == "Night desk"  # who has it keeps it
