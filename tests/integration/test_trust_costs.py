"""What trust asks in the turn of the inbox stays cheap however long the history is."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from crm_sync import keeping
from crm_sync.inbox import AlarmNotice
from crm_sync.keeping import Keeper
from crm_sync.trust import gate, queries
from crm_sync.trust.belief import Cell
from crm_sync.trust.queries import WatchKey
from crm_sync.trust.rules import TrustRules
from crm_sync.trust.scale import strength_of
from crm_sync.trust.settings import BudgetSettings
from crm_sync.trust.verdicts import TAKEN_UP
from tests.services.case_world import NOON, CaseWorld, notice, open_world

WATCH = WatchKey("default", "coffee-machine", "pump-weak")


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        yield opened


async def test_whether_a_crm_ever_called_is_found_by_an_index(world: CaseWorld) -> None:
    async with world.pool.connection() as conn:
        await conn.execute("SET LOCAL enable_seqscan = off")  # the table is empty, and not worth an index
        plan = await conn.execute(b"EXPLAIN " + TAKEN_UP.encode(), {"case_id": "cas_1", "tenant_id": "default"})
        lines = [row[0] async for row in plan]
    assert any("case_transition_by_crm" in line for line in lines), lines


async def own_many(world: CaseWorld, count: int) -> list[AlarmNotice]:
    """Coffee machines, and the alarm of each: its pump has become weak."""
    for number in range(1, count + 1):
        await world.own(f"cm-{number}", f"own-{number}")
    weak: dict[str, Any] = {"watch": "pump-weak", "kind": "record", "problem": "pump", "metric": "pump_pressure"}
    return [notice(**weak, device_id=f"cm-{number}", score=0.6) for number in range(1, count + 1)]


async def test_cases_without_an_answer_come_summed_up_and_without_ones_own(world: CaseWorld) -> None:
    world.trust = TrustRules(BudgetSettings(small_fleet=100))
    alarms = await own_many(world, 3)
    await world.happens(*alarms)
    async with world.pool.connection() as conn:
        everyones = await queries.unanswered_of(conn, [WATCH], NOON - 1)
        others = await queries.unanswered_of(conn, [WATCH], NOON - 1, besides=alarms[0].alarm_id)
        later = await queries.unanswered_of(conn, [WATCH], NOON + 1)
    lasting = everyones[WATCH][0].lasting
    assert everyones == {WATCH: [Cell(strength_of(0.6), lasting, -3.0, 0.0, 3.0)]}
    assert others == {WATCH: [Cell(strength_of(0.6), lasting, -2.0, 0.0, 2.0)]}
    assert later == {WATCH: []}


@pytest.mark.parametrize(("small_fleet", "asked"), [(100, 0), (0, 1)])
async def test_an_alarm_that_is_not_weighed_does_not_ask_for_them(
    world: CaseWorld, monkeypatch: pytest.MonkeyPatch, small_fleet: int, asked: int
) -> None:
    calls = list[object]()

    async def count(conn: object, keys: list[WatchKey], *_: object, **__: object) -> dict[WatchKey, list[Cell]]:
        calls.append(conn)
        return {key: [] for key in keys}

    monkeypatch.setattr(gate.queries, "unanswered_of", count)
    world.trust = TrustRules(BudgetSettings(small_fleet=small_fleet))
    await world.happens(*await own_many(world, 1))
    assert len(await world.cases()) == 1
    assert len(calls) == asked


async def test_a_waiting_alarm_is_weighed_once_and_others_have_their_turn(
    world: CaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.trust = TrustRules(BudgetSettings(small_fleet=0, learning_cases=0.0))
    await world.happens(*await own_many(world, 3))
    assert await world.cases() == []
    events = list[str]()
    weigh = keeping.weigh

    def watched(*values: Any) -> Any:
        events.append("weighed")
        asyncio.get_running_loop().call_soon(events.append, "others worked")
        return weigh(*values)

    monkeypatch.setattr(keeping, "weigh", watched)
    monkeypatch.setattr(keeping, "WEIGHED_AT_ONCE", 1)
    assert (await Keeper(world.desk, world.pool, world.clock, "default", structlog.get_logger()).keep()).again == 0
    assert events == ["weighed", "others worked"] * 3
