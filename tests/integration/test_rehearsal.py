"""Readings from a pipe come to the cases that the gateway would open, and leave nothing behind."""

from collections.abc import AsyncIterator

import pytest

from crm_sync.trust.rules import TrustRules
from gateway.backtest.apart import set_apart
from gateway.detect.settings import DetectSettings
from gateway.rehearsal.lines import Line, Word
from gateway.rehearsal.play import House, Rehearsal
from tests.services.case_world import HOUR, NOON, CaseWorld, open_world


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        opened.trust = TrustRules()
        yield opened


def heat(at_s: float, celsius: float) -> Line:
    return Line(device="cm-1", received=at_s + 60, ts=[at_s * 1e3], metrics={"boiler_temperature": [celsius]})


async def test_a_fault_is_a_case_a_word_closes_it_and_the_live_tables_stay_empty(
    world: CaseWorld, plain_database_url: str
) -> None:
    house = House(world.desk, DetectSettings(), "default", {"cm-1": "coffee-machine"})
    async with set_apart(plain_database_url, as_of_history=False) as conn:
        rehearsal = Rehearsal(house, conn)
        rehearsal.take(heat(NOON, 96.0))
        assert await rehearsal.go_on(NOON + HOUR) == []
        rehearsal.take(heat(NOON + HOUR, 131.0))
        (case,) = await rehearsal.go_on(NOON + 2 * HOUR)
        assert (case["device_id"], case["problem"], case["state"]) == ("cm-1", "boiler", "open")
        assert await rehearsal.go_on(NOON + 3 * HOUR) == []  # told once
        assert await rehearsal.hear(Word(str(case["case_id"]), "true", NOON + 3 * HOUR)) == "applied"
        *alarms, told, rest = await rehearsal.report(NOON + 4 * HOUR)
    assert [alarm["alarm"]["watch"] for alarm in alarms] == ["boiler-too-hot"]  # pyright: ignore[reportIndexIssue, reportUnknownVariableType]
    assert told["case"]["outcome"] == "true"  # pyright: ignore[reportIndexIssue]
    assert rest == {"held_back": {}, "parked": 0}
    assert await world.cases() == []
    assert await world.rows("SELECT * FROM inbox") == []
