"""Contacts that wait for a person's yes: which do, what a yes and a no come to, and that silence is a no."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from crm_sync.cases import step_approvals, step_queries
from crm_sync.cases.queries import Connection, read_case
from crm_sync.policy.approval import Asking, approval
from devices.errors import CareloopError
from tests.services.case_world import DAY, HOUR, NOON, CaseWorld, open_world, scale
from tests.services.contacts import brewing, last_decision, steps

AT = datetime.fromtimestamp(NOON, UTC)


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        await opened.grant("email")
        yield opened


async def proposed(world: CaseWorld) -> str:
    ((state, _),) = await steps(world)
    assert state == "proposed"
    return (await world.rows("SELECT step_id FROM held_step"))[0]["step_id"]


async def test_what_is_critical_waits_for_a_yes_and_then_goes(world: CaseWorld) -> None:
    await world.happens(scale(severity="critical"))
    step_id = await proposed(world)
    assert (await last_decision(world))["inputs"] == {"why": ["severity critical"]}
    assert await world.types() == ["case.opened"]
    async with world.pool.connection() as conn, conn.transaction():
        await step_approvals.approve(conn, "default", step_id, "ann", NOON + 60)
    world.clock.at_s = NOON + 60
    await world.release_steps()
    await world.contact()
    assert await steps(world) == [("sent", None)]
    with pytest.raises(CareloopError, match="does not wait"):
        async with world.pool.connection() as conn, conn.transaction():
            await step_approvals.approve(conn, "default", step_id, "ann", NOON + 60)


async def test_a_yes_does_not_outweigh_the_night(world: CaseWorld) -> None:
    await world.happens(scale(NOON + 8.9 * HOUR, severity="critical"))  # after 20:00 in Berlin
    assert await steps(world) == [("held", None)]
    world.clock.at_s = NOON + 20 * HOUR
    await world.release_steps()
    step_id = await proposed(world)
    async with world.pool.connection() as conn, conn.transaction():
        await step_approvals.approve(conn, "default", step_id, "ann", NOON + 34 * HOUR)
    world.clock.at_s = NOON + 34 * HOUR
    await world.release_steps()
    assert await steps(world) == [("held", None)]


async def test_a_no_and_silence_both_mean_no(world: CaseWorld) -> None:
    await world.happens(scale(severity="critical"))
    say_no = partial(step_approvals.decline, why="call instead", now_s=NOON + 60)
    async with world.pool.connection() as conn, conn.transaction():
        await say_no(conn, world.settings, "default", await proposed(world), "ann")
    assert await steps(world) == [("withdrawn", "declined")]
    assert (await last_decision(world))["inputs"] == {"declined_by": "ann", "why": "call instead"}
    await world.happens(brewing(severity="critical"))
    async with world.pool.connection() as conn, conn.transaction():
        assert await step_queries.forgotten_steps(conn, NOON + DAY - 1, 10) == []
        (forgotten,) = await step_queries.forgotten_steps(conn, NOON + DAY, 10)
        await step_approvals.expire(conn, world.desk, forgotten, NOON + DAY)
    assert sorted(await steps(world)) == [("withdrawn", "declined"), ("withdrawn", "not_approved")]


async def test_a_no_takes_the_case_before_its_step_as_whoever_closes_the_case_does(world: CaseWorld) -> None:
    await world.happens(scale(severity="critical"))
    step_id = await proposed(world)
    async with world.pool.connection() as closing, world.pool.connection() as saying:
        async with closing.transaction():
            await closing.execute("SELECT FROM service_case FOR UPDATE")
            no = asyncio.create_task(_decline(saying, world, step_id))
            await _until_somebody_waits(world)
            await closing.execute("SELECT FROM held_step FOR UPDATE NOWAIT")  # the other has not taken it
        await asyncio.wait_for(no, 120)
    assert await steps(world) == [("withdrawn", "declined")]


async def _decline(conn: Connection, world: CaseWorld, step_id: str) -> None:
    async with conn.transaction():
        await step_approvals.decline(conn, world.settings, "default", step_id, "ann", now_s=NOON)


async def _until_somebody_waits(world: CaseWorld) -> None:
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(120):
        while not await world.rows(waiting):  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)


async def test_a_proposed_step_ends_with_its_case(world: CaseWorld) -> None:
    await world.happens(scale(severity="critical"))
    await world.happens(scale(NOON + HOUR, event="cleared", started_at_s=NOON - HOUR))
    assert await steps(world) == [("withdrawn", "case_closed")]


async def test_a_batch_and_a_new_playbook_want_a_yes(plain_database_url: str) -> None:
    async with open_world(plain_database_url, outreach={"approval": {"batch": 2}}) as world:
        for number in range(1, 4):
            await world.own(f"cm-{number}", f"own-{number}")
            await world.grant("email", owner_ref=f"own-{number}")
            await world.happens(scale(device_id=f"cm-{number}"))
        assert sorted(await steps(world)) == [("proposed", None), ("queued", None), ("queued", None)]
        assert (await last_decision(world))["inputs"] == {"why": ["3 contacts about limescale in a batch"], "people": 2}
        (proposed,) = await world.rows("SELECT step_id FROM held_step WHERE state = 'proposed'")
        async with world.pool.connection() as conn:
            say_yes = partial(step_approvals.approve, conn, "default", proposed["step_id"], now_s=NOON)
            for nobody in ("ann", "token:crm", "anybody at the shell"):
                with pytest.raises(CareloopError, match="not_a_person"):
                    await say_yes(nobody)
            first = await say_yes("ann", account="prs_1")
            assert (first.state, first.first_yes_by) == ("proposed", "ann")
            with pytest.raises(CareloopError, match="two people"):
                await say_yes("ann under another name", account="prs_1")
            with pytest.raises(CareloopError, match="not_a_person"):
                await say_yes("bob")  # as `--by bob` is said by whoever wants to
            second = await say_yes("ann", account="prs_2")  # a namesake is somebody else
        assert (second.state, second.approved_by) == ("held", "ann, ann")


@pytest.mark.parametrize(
    ("inputs", "outcome"),
    [
        ({"verdict": "room", "belief": 0.41}, "hold"),
        ({"verdict": "room", "belief": 0.5}, "allow"),
        ({"verdict": "stated", "belief": 0.1}, "allow"),  # what somebody stated is no estimate
        ({"verdict": "small_fleet", "belief": 0.1}, "allow"),
        ({}, "allow"),
    ],
)
async def test_what_is_less_than_likely_wants_a_yes(world: CaseWorld, inputs: dict[str, Any], outcome: str) -> None:
    await world.happens(scale())
    async with world.pool.connection() as conn:
        await conn.execute(
            "INSERT INTO decision (tenant_id, case_id, asset_id, device_id, subject, recipient, gate, outcome, inputs,"
            " decided_at) SELECT tenant_id, case_id, asset_id, device_id, 'case', 'crm', 'budget', 'allow', %s, %s"
            " FROM service_case",
            [Jsonb(inputs), AT],
        )
        (row,) = await world.rows("SELECT case_id FROM service_case")
        case = await read_case(conn, row["case_id"])
        assert case is not None
        asking = Asking(case, "coffee-machine", "coffee-descale", None, NOON)
        answer = await approval(conn, world.settings.outreach.approval, asking, NOON)
    assert answer.outcome == outcome
    if outcome == "hold":
        assert answer.inputs == {"why": ["confidence 0.41"]}
        assert answer.until_s == NOON + DAY


async def test_the_first_contacts_of_a_playbook_want_a_yes(plain_database_url: str) -> None:
    async with open_world(plain_database_url, outreach={"approval": {"first_contacts": 1}}) as world:
        await world.grant("email")
        await world.happens(scale())
        assert (await last_decision(world))["inputs"] == {"why": ["a new playbook"]}
        step_id = await proposed(world)
        async with world.pool.connection() as conn, conn.transaction():
            await step_approvals.approve(conn, "default", step_id, "ann", NOON)
        await world.release_steps()
        await world.contact()
        await world.own("cm-2", "own-2")
        await world.grant("email", owner_ref="own-2")
        await world.happens(scale(device_id="cm-2"))
        assert sorted(await steps(world)) == [("queued", None), ("sent", None)]
