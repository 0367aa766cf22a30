"""Whatever arrives, however often, in whatever order, with workers that die: one live case per asset and problem."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_sync.cases import notices as case_notices
from crm_sync.model import MOVES, CaseState
from tests.services.case_world import HOUR, NOON, CaseWorld, notice, open_world
from tests.services.patience import PATIENCE_S

EVENTS = ("raised", "updated", "unknown", "cleared", "retracted")
DEVICES = ("cm-1", "cm-2")
WATCHES = ("boiler-too-hot", "energy-high")


class Killed(BaseException):
    """The process dies here."""


@st.composite
def histories(draw: st.DrawFn) -> list[list[Any]]:
    """Batches of notices about two watches of two devices, each device's in the order of time."""
    happened: list[Any] = []
    for step in range(draw(st.integers(1, 14))):
        device, watch = draw(st.sampled_from(DEVICES)), draw(st.sampled_from(WATCHES))
        episode = draw(st.integers(0, 1))
        happened.append(
            notice(
                device_id=device,
                watch=watch,
                event=draw(st.sampled_from(EVENTS)),
                severity=draw(st.sampled_from(["minor", "critical"])),
                at_s=NOON + step * 2 * HOUR,
                started_at_s=NOON - (2 - episode) * HOUR,
            )
        )
        if draw(st.booleans()):
            happened.append(happened[-1])  # redelivered
    cuts = sorted(draw(st.lists(st.integers(0, len(happened)), max_size=4)))
    bounds = [0, *cuts, len(happened)]
    return [happened[start:end] for start, end in itertools.pairwise(bounds)]


async def work_and_die(world: CaseWorld, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies in the middle of its transaction, after so many notices."""
    worked = 0
    whole = case_notices.take_notice

    async def take(*args: Any, **kwargs: Any) -> None:
        nonlocal worked
        if worked >= after:
            raise Killed
        worked += 1
        await whole(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr("crm_sync.inbox_worker.take_notice", take)
        with contextlib.suppress(Killed):
            await world.worker().work_batch()


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        await opened.own("cm-2", "own-2")
        yield opened


async def clear(world: CaseWorld) -> None:
    async with world.pool.connection() as conn:
        await conn.execute("TRUNCATE inbox, service_case, outbox_stream CASCADE")
        await conn.execute("TRUNCATE case_alarm, decision")
    world.clock.at_s = NOON


async def check(world: CaseWorld) -> None:
    """What holds after any history."""
    twins = await world.rows(
        "SELECT asset_id, problem FROM service_case WHERE state IN ('proposed', 'approved', 'open', 'waiting')"
        " GROUP BY asset_id, problem HAVING count(*) > 1"
    )
    assert twins == []
    for case in await world.cases():
        alarms = await world.rows("SELECT state FROM case_alarm WHERE case_id = %s", case["case_id"])
        burning = [alarm for alarm in alarms if alarm["state"] in {"active", "unknown"}]
        assert bool(burning) == CaseState(case["state"]).is_live
        moves = await world.rows(
            "SELECT from_state, to_state FROM case_transition"
            " WHERE case_id = %s AND from_state IS DISTINCT FROM to_state ORDER BY transition_id",
            case["case_id"],
        )
        assert moves[0]["from_state"] is None
        for before, after in itertools.pairwise(moves):
            assert before["to_state"] == after["from_state"]
            assert CaseState(after["to_state"]) in MOVES[CaseState(after["from_state"])]
        versions = await told_versions(world, case["case_id"])
        assert versions == list(range(1, case["version"] + 1))
    waiting = await world.rows("SELECT 1 FROM inbox WHERE state <> 'done'")
    assert waiting == []


async def told_versions(world: CaseWorld, case_id: str) -> list[int]:
    return [message["data"]["version"] for message in await world.messages() if message["stream_key"] == case_id]


async def test_one_live_case_per_fault(world: CaseWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: set[int] = set()

    async def run(batches: list[list[Any]], deaths: list[int]) -> None:
        await clear(world)
        for number, batch in enumerate(batches):
            await world.put(*batch)
            world.clock.at_s = max([world.clock.at_s, *(each.recorded_at_s for each in batch)])
            if number < len(deaths):
                await work_and_die(world, deaths[number], monkeypatch)
            await asyncio.gather(*(world.work() for _ in range(3)))
            await world.work()
        await check(world)
        outcomes.add(len(await world.cases()))

    loop = asyncio.get_running_loop()

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(batches=histories(), deaths=st.lists(st.integers(0, 5), max_size=4))
    def explore(batches: list[list[Any]], deaths: list[int]) -> None:
        asyncio.run_coroutine_threadsafe(run(batches, deaths), loop).result(timeout=PATIENCE_S)

    await asyncio.to_thread(explore)
    assert len(outcomes) > 1  # the histories were not all the same
