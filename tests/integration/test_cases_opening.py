"""From an alarm to a case: opened once, told once, with a brief."""

from collections.abc import AsyncIterator

import pytest

from tests.services.case_world import HOUR, NOON, CaseWorld, notice, open_world


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(database_url) as opened:
        yield opened


async def test_an_alarm_opens_one_case_and_tells_the_crm(world: CaseWorld) -> None:
    await world.happens(notice())
    (case,) = await world.cases()
    assert (case["state"], case["severity"], case["title"]) == ("open", "major", "The boiler runs too hot")
    (message,) = await world.messages()
    assert message["type"] == "case.opened"
    assert message["data"]["version"] == 1
    moves = await world.rows("SELECT from_state, to_state, actor, reason FROM case_transition ORDER BY transition_id")
    assert [tuple(move.values()) for move in moves] == [
        (None, "proposed", "telemetry", "alarm_raised"),
        ("proposed", "approved", "policy", "auto"),
        ("approved", "open", "policy", "auto"),
    ]


async def test_a_second_sign_of_the_same_problem_joins_the_case(world: CaseWorld) -> None:
    await world.happens(notice(), notice(watch="energy-high", severity="critical", at_s=NOON + HOUR))
    (case,) = await world.cases()
    assert case["severity"] == "critical"
    assert case["team"] == "Product safety"
    assert await world.types() == ["case.opened", "case.updated"]


async def test_recovery_resolves_and_tells(world: CaseWorld) -> None:
    await world.happens(notice(), notice(event="cleared", at_s=NOON + HOUR, started_at_s=NOON - HOUR))
    (case,) = await world.cases()
    assert (case["state"], case["resolution"]) == ("resolved", "recovered_in_telemetry")
    assert await world.types() == ["case.opened", "case.resolved"]
