"""One row that fails holds up nothing else: not the approved cases, nor the proposals, nor what was said."""

from collections.abc import AsyncIterator

import pytest
import structlog

from crm_sync.cases import proposals
from crm_sync.keeping import Keeper, Kept
from crm_sync.trust import queries
from crm_sync.trust.queries import ModeSet, WatchKey
from crm_sync.trust.rules import TrustRules
from crm_sync.trust.settings import BudgetSettings
from crm_sync.trust.verdicts import Said, say
from devices.profiles.model import WatchMode
from tests.services.case_world import DAY, NOON, CaseWorld, notice, open_world

WATCH = WatchKey("default", "coffee-machine", "boiler-too-hot")


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    """Two proposed cases, of two owners."""
    async with open_world(plain_database_url) as opened:
        opened.trust = TrustRules(BudgetSettings(enabled=False))
        await opened.own("cm-2", "own-2")
        await keep(opened)
        async with opened.pool.connection() as conn:
            change = ModeSet(WatchMode.APPROVE, "person:ada", "to try it")
            assert await queries.set_mode(conn, WATCH, change, opened.clock.at_s)
        await opened.happens(notice(), notice(device_id="cm-2"))
        yield opened


async def keep(world: CaseWorld) -> Kept:
    return await Keeper(world.desk, world.pool, world.clock, "default", structlog.get_logger()).keep()


async def approve_all(world: CaseWorld) -> list[str]:
    case_ids = [case["case_id"] for case in await world.cases()]
    async with world.pool.connection() as conn:
        for case_id in case_ids:
            await proposals.approve(conn, "default", case_id, "ada", world.clock.at_s)
    return case_ids


async def forbid(world: CaseWorld, table: str, never: str) -> None:
    """Let the database refuse a row."""
    async with world.pool.connection() as conn:
        await conn.execute(f"ALTER TABLE {table} ADD CONSTRAINT refused CHECK (NOT ({never})) NOT VALID".encode())


async def states(world: CaseWorld) -> list[str]:
    return [row["state"] for row in await world.rows("SELECT state FROM service_case ORDER BY number")]


async def test_an_approved_case_whose_alarm_went_elsewhere_is_withdrawn_in_words(world: CaseWorld) -> None:
    first, _ = await approve_all(world)
    async with world.pool.connection() as conn:
        await conn.execute("UPDATE case_alarm SET case_id = NULL WHERE case_id = %s", [first])
    assert (await keep(world)).opened == 1
    assert await states(world) == ["expired", "open"]
    (case,) = await world.rows("SELECT resolution, ending FROM service_case WHERE case_id = %s", first)
    assert case["resolution"] == "withdrawn"
    assert case["ending"]
    last = (await world.rows("SELECT reason, note FROM case_transition WHERE case_id = %s ORDER BY at", first))[-1]
    assert last == {"reason": "no_alarm", "note": "None of its alarms belongs to it any longer."}
    assert await world.types() == ["case.opened"]


async def test_an_approved_case_that_fails_holds_up_no_other(world: CaseWorld) -> None:
    first, _ = await approve_all(world)
    await forbid(world, "service_case", f"case_id = '{first}' AND state = 'open'")
    assert (await keep(world)).opened == 1
    assert await states(world) == ["approved", "open"]


async def test_a_proposal_that_cannot_expire_holds_up_no_other(world: CaseWorld) -> None:
    first = (await world.cases())[0]["case_id"]
    await forbid(world, "service_case", f"case_id = '{first}' AND state = 'expired'")
    world.clock.at_s = NOON + DAY
    assert (await keep(world)).expired == 1
    assert await states(world) == ["proposed", "expired"]


async def test_a_verdict_that_cannot_take_effect_is_tried_once(world: CaseWorld) -> None:
    first, second = [case["case_id"] for case in await world.cases()]
    refused = (await world.rows("SELECT alarm_id FROM case_alarm WHERE case_id = %s", first))[0]["alarm_id"]
    await forbid(world, "watch_episode", f"alarm_id = '{refused}' AND verdict IS NOT NULL")
    before = await world.rows("SELECT sum(were_true) AS n FROM watch_cell")
    async with world.pool.connection() as conn:
        for case_id in (first, second):
            await say(conn, Said("default", "true", "person", "person:ada", case_id=case_id), world.clock.at_s)
    assert (await keep(world)).settled == 2
    assert (await keep(world)).settled == 0
    rows = await world.rows("SELECT alarm_id, verdict FROM watch_episode ORDER BY alarm_id")
    assert {row["alarm_id"]: row["verdict"] for row in rows if row["verdict"]} == {
        row["alarm_id"]: "true" for row in rows if row["alarm_id"] != refused
    }
    after = await world.rows("SELECT sum(were_true) AS n FROM watch_cell")
    assert after[0]["n"] - before[0]["n"] == pytest.approx(1.0)  # what the refused one had written is taken back
