"""Gateway and CRM agree in the end, whatever happens between a decision and its sending; a no is a no."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_sync.model import CaseState
from crm_sync.policy.model import Verdict
from tests.services.case_world import HOUR, NOON, CaseWorld, notice, open_world
from tests.services.patience import PATIENCE_S

WORLD_TABLES = "inbox, service_case, outbox_stream, case_alarm, decision, grant_record, ownership"

actions = st.one_of(
    st.tuples(
        st.just("notice"),
        st.sampled_from(["raised", "raised", "updated", "unknown", "cleared", "cleared", "retracted"]),
        st.sampled_from(["boiler-too-hot", "boiler-too-hot", "energy-high"]),
    ),
    st.tuples(st.just("deliver"), st.integers(1, 4), st.just(None)),
    st.tuples(st.just("attempt"), st.sampled_from(["arrives, unknown to us", "is lost"]), st.just(None)),
    st.tuples(st.just("grant"), st.sampled_from(["given", "revoked"]), st.just(None)),
    st.tuples(st.just("sell"), st.integers(1, 2), st.just(None)),
    st.tuples(st.just("call back"), st.sampled_from(["accepted", "waiting", "resolved", "rejected"]), st.just(None)),
)


@dataclass
class Crm:
    """A receiver that believes what it is told."""

    open: dict[str, bool] = field(default_factory=dict[str, bool])
    openings: dict[str, str] = field(default_factory=dict[str, str])
    versions: dict[str, int] = field(default_factory=dict[str, int])

    def hear(self, message: dict[str, Any]) -> None:
        """Take one message; a repeated or older one changes nothing."""
        case_id, version = message["data"]["case_id"], message["data"]["version"]
        if version <= self.versions.get(case_id, 0):
            return
        self.versions[case_id] = version
        if message["type"] == "case.opened":
            assert self.openings.setdefault(case_id, message["message_id"]) == message["message_id"]
            self.open[case_id] = True
        elif case_id in self.open:  # what it does not know it ignores
            self.open[case_id] = message["type"] == "case.updated"


@dataclass
class Play:
    """One history."""

    world: CaseWorld
    crm: Crm = field(default_factory=Crm)
    granted: bool = True
    sent: int = 0

    async def act(self, number: int, what: str, how: Any, which: Any) -> None:
        """Let one thing happen."""
        world = self.world
        world.clock.at_s = NOON + number * HOUR / 2
        match what:
            case "notice":
                episode_s = NOON - HOUR + (number // 6) * 60
                await world.happens(notice(watch=which, event=how, at_s=world.clock.at_s, started_at_s=episode_s))
            case "deliver":
                await self.deliver(how)
            case "attempt":
                await self.attempt(arrives=how != "is lost")
            case "grant":
                self.granted = how == "given"
                for owner in ("own-1", "own-2"):
                    await world.grant("crm", how, owner)
            case "sell":
                await world.own(owner_ref=f"own-{how}")
            case _:
                if await world.cases():
                    await world.call_back(status=how)

    async def deliver(self, most: int | None) -> None:
        """Send what is next, as delivery does when all goes well."""
        messages = await self.world.messages()
        for _ in messages[self.sent : None if most is None else self.sent + most]:
            if await self.attempt(arrives=True):
                self.sent += 1

    async def attempt(self, *, arrives: bool) -> bool:
        """Try to send the next message; its answer may be lost, or the message itself. False if it was withdrawn."""
        messages = await self.world.messages()
        if self.sent == len(messages):
            return False
        message = messages[self.sent]
        decision = await self.world.ask(message)
        assert decision.verdict is not Verdict.HOLD
        if decision.verdict is Verdict.WITHDRAW:
            self.sent += 1
            return False
        assert self.granted or message["type"] in {"case.resolved", "case.retracted"}
        if arrives:
            self.crm.hear(message)
        return True

    async def check(self) -> None:
        """Deliver the rest, and compare."""
        while self.sent < len(await self.world.messages()):
            await self.deliver(None)
        for case in await self.world.cases():
            held = self.crm.open.get(case["case_id"])
            if CaseState(case["state"]).is_live:
                assert held is True or not self.granted
            elif case["resolution"] not in {"resolved_by_agent", "rejected_by_agent"}:  # those the CRM closed itself
                assert not held


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        await opened.own(owner_ref="own-2")
        yield opened


async def test_gateway_and_crm_agree(world: CaseWorld) -> None:
    loop = asyncio.get_running_loop()
    live = 0

    async def run(script: list[tuple[str, Any, Any]]) -> None:
        nonlocal live
        async with world.pool.connection() as conn:
            await conn.execute(f"TRUNCATE {WORLD_TABLES} CASCADE")  # pyright: ignore[reportArgumentType] - a constant
        await world.own(owner_ref="own-1")
        play = Play(world)
        for number, action in enumerate(script):
            await play.act(number, *action)
        await play.check()
        live += sum(CaseState(case["state"]).is_live for case in await world.cases())

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(script=st.lists(actions, min_size=6, max_size=24))
    def explore(script: list[tuple[str, Any, Any]]) -> None:
        asyncio.run_coroutine_threadsafe(run(script), loop).result(timeout=PATIENCE_S)

    await asyncio.to_thread(explore)
    assert live > 0  # some histories ended with a case to agree on
