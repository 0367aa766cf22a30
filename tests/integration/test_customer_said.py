"""What the customer said of a fault is kept with its outcome, and shown where people look."""

from collections.abc import AsyncIterator

import pytest

from crm_sync.adapters.contract import RecordChange
from crm_sync.cases import by_hand
from crm_sync.cases.by_hand import Hand
from crm_sync.explain import explain_case
from crm_sync.queries import get_case
from crm_sync.records.take import take
from crm_sync.trust.queries import WatchKey
from crm_sync.trust.rules import TrustRules
from crm_sync.trust.settings import BudgetSettings, TrustSettings
from crm_sync.trust.shown import customers_of
from tests.services.case_world import CaseWorld, notice, open_world

SOUNDS = "It had been making a grinding noise for a week."


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        opened.trust = TrustRules(BudgetSettings(enabled=False), TrustSettings())
        await opened.happens(notice())
        await opened.deliver()
        yield opened


async def case_id_of(world: CaseWorld) -> str:
    (case,) = await world.cases()
    return str(case["case_id"])


async def told(world: CaseWorld) -> list[str]:
    async with world.pool.connection() as conn:
        view = await get_case(conn, "default", await case_id_of(world))
    assert view is not None
    return [line.says for line in explain_case(view).lines if "said:" in line.says]


async def kept(world: CaseWorld) -> list[tuple[str, str]]:
    async with world.pool.connection() as conn:
        found = await customers_of(conn, WatchKey("default", "coffee-machine", "boiler-too-hot"))
    return [(each.verdict, each.customer_said) for each in found]


async def test_what_a_person_was_told_is_in_the_watchs_track_record(world: CaseWorld) -> None:
    hand = Hand("default", await case_id_of(world), "mara", world.clock.at_s, world.desk.wording)
    async with world.pool.connection() as conn, conn.transaction():
        await by_hand.resolve(conn, hand, "true", "New relay.", f"  {SOUNDS} ")
    assert await told(world) == [f"person person:mara: the fault was real; the customer said: “{SOUNDS}”"]
    assert await kept(world) == [("true", SOUNDS)]


async def test_a_callback_tells_it_with_the_outcome_or_without(world: CaseWorld) -> None:
    await world.call_back(status="in_progress", customer_said="It smells.")
    assert await kept(world) == [("unclear", "It smells.")]
    await world.call_back(status="in_progress", customer_said="It smells.")  # the same once more is no news
    await world.call_back(status="resolved", outcome="true", customer_said=SOUNDS)
    assert await kept(world) == [("true", SOUNDS), ("unclear", "It smells.")]
    await world.call_back(status="resolved", outcome="true", customer_said="Thank you!")
    assert [words for _, words in await kept(world)] == ["Thank you!", SOUNDS, "It smells."]
    await world.call_back(status="resolved", outcome="false", customer_said="Thank you!")  # only the outcome is new
    assert [words for _, words in await kept(world)] == ["Thank you!", SOUNDS, "It smells."]


async def test_what_was_asked_for_tells_it_though_the_status_stays(world: CaseWorld) -> None:
    case_id = await case_id_of(world)
    for words in ("", SOUNDS, SOUNDS):
        change = RecordChange(case_id, "T-1", "waiting", None, None, words)
        async with world.pool.connection() as conn, conn.transaction():
            await take(conn, "default", "crm-a", change, world.clock.at_s, apply=world.apply)
    assert await kept(world) == [("unclear", SOUNDS)]
