"""Journeys read from a real database: how far cases came, how long it took, and whether contact helped."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from crm_sync.contact_settings import HoldOutSettings, OutreachSettings
from crm_sync.explain import explain_owner
from crm_sync.journey.episode import read_episode
from crm_sync.journey.model import Journey, Span, Stage
from crm_sync.journey.queries import Period
from crm_sync.journey.report import read_journey
from crm_sync.owners.standing import standing_of
from crm_sync.policy.hold_out import is_held_out
from crm_sync.policy.shown import steps_of_owner
from devices.clock import to_datetime
from tests.integration.test_policy_steps import scale
from tests.services.case_world import DAY, HOUR, NOON, CaseWorld, open_world
from tests.services.gateway import run_careloop


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        yield opened


async def journey(world: CaseWorld, tenant_id: str = "default", *, now_s: float = NOON + 60 * DAY) -> Journey:
    period = Period(tenant_id, to_datetime(NOON - DAY), to_datetime(NOON + 60 * DAY))
    async with world.pool.connection() as conn:
        return await read_journey(conn, period, to_datetime(now_s), "channel")


async def whole_road(world: CaseWorld) -> None:
    """Limescale since an hour ago; the owner is written to at once, an agent takes it up, and then it is gone."""
    await world.grant("email")
    await world.happens(scale())
    await world.contact()
    world.clock.at_s = NOON + 2 * HOUR
    await world.call_back(status="in_progress", version=1)
    world.clock.at_s = NOON + 5 * HOUR
    await world.call_back(status="resolved", version=2)
    await world.happens(scale(NOON + 9 * HOUR, event="cleared", started_at_s=NOON - HOUR))


async def test_each_stage_has_its_time(world: CaseWorld) -> None:
    await whole_road(world)
    found = await journey(world)
    assert found.whole.stages == {
        Stage.OPENED: 1,
        Stage.TOLD: 1,
        Stage.CONTACTED: 1,
        Stage.ACKNOWLEDGED: 1,
        Stage.FIXED: 1,
        Stage.CONFIRMED: 1,
        Stage.FIXED_BEFORE_NOTICED: 0,
        Stage.RELAPSED: 0,
    }
    hours = {span: took.median_s and took.median_s / HOUR for span, took in found.whole.spans.items()}
    assert hours == {
        Span.SIGN_TO_ALARM: 1.0,
        Span.ALARM_TO_CASE: 0.0,
        Span.CASE_TO_CONTACTED: 0.0,
        Span.CASE_TO_ACKNOWLEDGED: 2.0,
        Span.CASE_TO_FIXED: 5.0,
        Span.FIXED_TO_CONFIRMED: 4.0,
        Span.SIGN_TO_CONFIRMED: 10.0,
    }
    assert [leg.name for leg in found.groups] == ["email"]
    assert (found.alarms, found.without_case, found.not_contacted) == (1, {}, {})


async def test_what_had_no_case_and_who_was_not_told_have_their_reasons(world: CaseWorld) -> None:
    await world.own("cm-2", "own-2")
    await world.happens(
        scale(),  # nobody granted a channel
        scale(NOON, device_id="cm-2", head_ts_s=NOON - 30 * HOUR),
    )
    found = await journey(world)
    assert (found.alarms, found.without_case) == (2, {"stale": 1})
    assert found.not_contacted == {"no_grant": 1}
    assert (found.whole.stages[Stage.OPENED], found.whole.stages[Stage.CONTACTED]) == (1, 0)
    assert found.whole.spans[Span.CASE_TO_CONTACTED].median_s is None
    assert [leg.name for leg in found.groups] == ["not contacted"]


async def test_a_message_that_ended_as_a_dead_letter_contacted_nobody(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(scale())
    await world.deliver()
    async with world.pool.connection() as conn:
        await conn.execute(
            "UPDATE outbox_message SET state = 'dead' WHERE message_id IN (SELECT message_id FROM held_step)"
        )
        steps = await steps_of_owner(conn, "default", "own-1")
        story = explain_owner("own-1", [], steps, await standing_of(conn, "default", "own-1", NOON))
    assert [step.state for step in steps] == ["sent"]
    found = await journey(world)
    assert (found.whole.stages[Stage.CONTACTED], found.not_contacted) == (0, {"not_delivered": 1})
    said = "own-1 was never contacted. 1 message to them has left, and no CRM is known to have taken it."
    assert story.answer == said


async def test_a_contact_is_avoided_where_the_fault_is_gone_before_it_is_made(world: CaseWorld) -> None:
    await world.own("cm-2", "own-2")
    await world.grant("email")
    gone = {"event": "cleared", "started_at_s": NOON - HOUR}
    await world.happens(scale(), scale(device_id="cm-2"))  # nobody granted a channel to the second
    assert (await journey(world)).contacts_avoided == 0
    await world.happens(scale(NOON + HOUR, **gone), scale(NOON + HOUR, device_id="cm-2", **gone))
    await world.deliver()
    assert (await journey(world)).contacts_avoided == 1


async def test_a_fault_that_comes_back_has_relapsed_only_within_thirty_days(world: CaseWorld) -> None:
    await world.happens(scale(), scale(NOON + HOUR, event="cleared", started_at_s=NOON - HOUR))
    await world.happens(scale(NOON + 20 * DAY))
    assert (await journey(world)).whole.stages[Stage.RELAPSED] == 1
    end = scale(NOON + 21 * DAY, event="cleared", started_at_s=NOON + 20 * DAY - HOUR)
    await world.happens(end, scale(NOON + 55 * DAY))
    assert (await journey(world)).whole.stages[Stage.OPENED] == 3
    assert (await journey(world)).whole.stages[Stage.RELAPSED] == 1


async def test_the_thirty_days_begin_when_the_case_ends_however_long_it_took(world: CaseWorld) -> None:
    await world.happens(scale())
    await world.happens(scale(NOON + 40 * DAY, event="cleared", started_at_s=NOON - HOUR))
    await world.happens(scale(NOON + 40.5 * DAY))
    assert [each["state"] for each in await world.cases()] == ["open"]  # the same case again
    assert (await journey(world)).whole.stages[Stage.RELAPSED] == 1


async def test_one_case_says_when_it_reached_each_stage(
    world: CaseWorld, plain_database_url: str, tmp_path: Path
) -> None:
    await world.happens(scale(device_id="cm-2", problem="other"))
    await whole_road(world)
    case_id = next(each["case_id"] for each in await world.cases() if each["device_id"] == "cm-1")
    async with world.pool.connection() as conn:
        stages = {each.milestone: each for each in await read_episode(conn, "default", case_id)}
        assert await read_episode(conn, "another", case_id) == ()
    hours = {name: each.after_s and each.after_s / HOUR for name, each in stages.items()}
    reached = {"acknowledged": 3.0, "alarm": 1.0, "case": 1.0, "confirmed": 10.0, "contacted": 1.0, "fixed": 6.0}
    assert hours == {"first_sign": 0.0, **reached}
    assert stages["first_sign"].at == to_datetime(NOON - HOUR)
    config = tmp_path / "careloop.toml"
    config.write_text(f'[database]\nurl = "{plain_database_url}"\n')
    done = await asyncio.to_thread(run_careloop, "explain", "case", case_id, "--config", str(config))
    assert "10 hours after the first sign" in done.stdout, done.stderr
    told = await asyncio.to_thread(run_careloop, "explain", "case", case_id, "--json", "--config", str(config))
    assert json.loads(told.stdout)["stages"][-1]["after_s"] == 10 * HOUR


async def test_silence_confirms_nothing(world: CaseWorld) -> None:
    await world.happens(scale(), scale(NOON + HOUR, event="unknown", started_at_s=NOON - HOUR))
    assert (await journey(world)).whole.stages[Stage.CONFIRMED] == 0


async def test_another_tenants_cases_are_not_counted(world: CaseWorld) -> None:
    await whole_road(world)
    found = await journey(world, "another")
    assert (found.alarms, found.whole.stages[Stage.OPENED], found.groups) == (0, 0, ())


async def test_contact_is_compared_with_owners_held_out_by_chance(plain_database_url: str) -> None:
    """Owners drawn for contact: both well in time. Held out: one is, one is not. One case is too young to tell."""
    settings = OutreachSettings(hold_out=HoldOutSettings(share=0.5))
    owners = [f"own-{number}" for number in range(1, 40)]
    held = [owner for owner in owners if is_held_out(settings.hold_out, "default", owner)][:2]
    told = [owner for owner in owners if not is_held_out(settings.hold_out, "default", owner)][:3]
    async with open_world(plain_database_url, outreach=settings) as world:
        for owner in (*held, *told):
            await world.own(f"cm-of-{owner}", owner)
            await world.grant("email", owner_ref=owner)
        for owner in (*held, *told[:2]):
            await world.happens(scale(device_id=f"cm-of-{owner}"))
        for owner, days in ((told[0], 1), (told[1], 3), (held[0], 2), (held[1], 20)):
            end = scale(NOON + days * DAY, device_id=f"cm-of-{owner}", event="cleared", started_at_s=NOON - HOUR)
            await world.happens(end)
        await world.happens(scale(NOON + 22 * DAY, device_id=f"cm-of-{told[2]}"))
        found = await journey(world, now_s=NOON + 25 * DAY)
    assert (found.hold_out.contacted.right, found.hold_out.contacted.wrong) == (2, 0)
    assert (found.hold_out.held_out.right, found.hold_out.held_out.wrong) == (1, 1)
    assert found.hold_out.effect == 0.5
    assert not found.hold_out.is_shown
    assert found.not_contacted == {"hold_out": 2}


async def test_owners_held_out_of_having_a_case_are_compared_with_those_who_have_one(plain_database_url: str) -> None:
    """With a case: both well in time, though one had two faults. Without: one is, one comes back, one is critical."""
    settings = OutreachSettings(hold_out=HoldOutSettings(share=0.5, cases=True))
    owners = [f"own-{number}" for number in range(1, 40)]
    held = [owner for owner in owners if is_held_out(settings.hold_out, "default", owner)][:3]
    told = [owner for owner in owners if not is_held_out(settings.hold_out, "default", owner)][:2]
    async with open_world(plain_database_url, outreach=settings) as world:
        for owner in (*held, *told):
            await world.own(f"cm-of-{owner}", owner)
            await world.happens(scale(device_id=f"cm-of-{owner}"))
        grave = {"event": "updated", "severity": "critical", "started_at_s": NOON - HOUR}
        await world.happens(scale(NOON + 60, device_id=f"cm-of-{held[2]}", **grave))
        for owner in (held[0], held[1], *told):
            gone = {"event": "cleared", "started_at_s": NOON - HOUR}
            await world.happens(scale(NOON + DAY, device_id=f"cm-of-{owner}", **gone))
        await world.happens(scale(NOON + 5 * DAY, device_id=f"cm-of-{held[1]}"))
        await world.happens(scale(NOON + 20 * DAY, device_id=f"cm-of-{told[0]}"))  # after the follow-up
        found = (await journey(world, now_s=NOON + 25 * DAY)).hold_out
    assert (found.compared, found.verdict) == ("case", "too_few")
    assert (found.contacted.right, found.contacted.wrong) == (2, 0)
    assert (found.held_out.right, found.held_out.wrong) == (1, 1)


async def test_the_command_tells_it(world: CaseWorld, plain_database_url: str, tmp_path: Path) -> None:
    await whole_road(world)
    config = tmp_path / "careloop.toml"
    config.write_text(f'[database]\nurl = "{plain_database_url}"\n')
    days = [(to_datetime(NOON) + timedelta(days=shift)).date().isoformat() for shift in (-1, 2)]
    arguments = ["journey", "--since", days[0], "--until", days[1], "--config", str(config)]
    done = await asyncio.to_thread(run_careloop, *arguments)
    assert done.returncode == 0, done.stderr
    said = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "first sign to proved 10 hours 10 hours 1" in said
    assert any(line.startswith("gone, telemetry says 1") for line in said)
    assert "Effect of contact: not known" in done.stdout
    told = json.loads((await asyncio.to_thread(run_careloop, *arguments, "--json")).stdout)
    assert told["whole"]["spans"]["sign_to_confirmed"] == {"cases": 1, "median_s": 36000.0, "p90_s": 36000.0}
    assert replace(await journey(world), groups=()).alarms == told["alarms"]
