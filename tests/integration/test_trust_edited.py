"""Who edits a watch begins something new, and who corrects a word takes back what it did; through the real database."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import structlog

from crm_sync.inbox import AlarmNotice
from crm_sync.keeping import Keeper, Kept
from crm_sync.trust import queries
from crm_sync.trust.gate import Known, weigh
from crm_sync.trust.queries import ModeSet, WatchKey
from crm_sync.trust.rules import TrustRules
from crm_sync.trust.settings import BudgetSettings, TrustSettings
from crm_sync.trust.shown import audit_of, list_watches
from crm_sync.trust.verdicts import Said, Source, Truth, say
from devices.profiles.model import WatchMode
from tests.services.case_world import HOUR, NOON, CaseWorld, notice, open_world

WATCH = WatchKey("default", "coffee-machine", "pump-weak")


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        opened.trust = TrustRules()
        await keep(opened)
        yield opened


async def keep(world: CaseWorld) -> Kept:
    """What a gateway that has just started looks at."""
    return await Keeper(world.desk, world.pool, world.clock, "default", structlog.get_logger()).keep()


def weak_pump(number: int, at_s: float = NOON) -> AlarmNotice:
    """The pump of one of many coffee machines has become weak."""
    return notice(
        device_id=f"cm-{number}",
        watch="pump-weak",
        kind="record",
        problem="pump",
        metric="pump_pressure",
        score=0.6,
        at_s=at_s,
    )


async def judge_many(world: CaseWorld, first: int, count: int, outcome: str) -> None:
    """Alarms become cases, one after the other, and an agent judges each."""
    for number in range(first, first + count):
        await world.own(f"cm-{number}", f"own-{number}")
        await world.happens(weak_pump(number, world.clock.at_s))
        await world.deliver()
        await world.call_back(status="resolved", outcome=outcome)
        world.clock.at_s += 60
        await keep(world)


def edited(world: CaseWorld, **changes: Any) -> None:
    """Put another version of the pump's watch into the profile."""
    profile = world.profiles["coffee-machine"]
    watches = [each.model_copy(update=changes) if each.name == "pump-weak" else each for each in profile.watches]
    world.profiles = {**world.profiles, "coffee-machine": profile.model_copy(update={"watches": watches})}


async def test_an_edited_watch_begins_anew_and_says_so(world: CaseWorld) -> None:
    world.trust = TrustRules(BudgetSettings(enabled=False), TrustSettings(outcomes=4))
    await judge_many(world, 1, 3, "false")
    edited(world, title="Another name", severity="critical")
    await keep(world)
    async with world.pool.connection() as conn:
        assert await queries.outcomes_since(conn, WATCH, 0.0) == (0.0, 3.0)
    edited(world, for_=7200.0)
    await keep(world)
    await keep(world)
    async with world.pool.connection() as conn:
        assert await queries.outcomes_since(conn, WATCH, 0.0) == (0.0, 0.0)
        (view,) = await list_watches(conn, "default", world.trust or TrustRules(), world.clock.at_s, watch=WATCH.watch)
        audit = await audit_of(conn, WATCH)
    assert (view.precision.outcomes, view.bar, view.episodes, view.mode) == (0.0, 0.0, 0.0, WatchMode.AUTO)
    assert [(each.actor, each.why) for each in audit] == [
        ("profile", "what it looks for has changed: its outcomes count anew"),
        ("profile", "first seen"),
    ]
    world.clock.at_s += HOUR
    await judge_many(world, 4, 3, "false")  # of seven outcomes three are the new watch's, which are too few
    async with world.pool.connection() as conn:
        assert await queries.outcomes_since(conn, WATCH, 0.0) == (0.0, 3.0)
        standing = await queries.find_standing(conn, WATCH)
    assert standing is not None
    assert standing.mode is WatchMode.AUTO


async def test_what_is_said_of_alarms_from_before_an_edit_says_nothing_of_the_watch_after_it(world: CaseWorld) -> None:
    world.trust = TrustRules(BudgetSettings(enabled=False), TrustSettings(bar_step=0.1))
    await world.own("cm-1", "own-1")
    await world.happens(weak_pump(1))
    (row,) = await world.rows("SELECT alarm_id, case_id FROM case_alarm")
    assert row["case_id"]
    world.clock.at_s += HOUR
    edited(world, for_=7200.0)
    await keep(world)
    async with world.pool.connection() as conn:
        assert await queries.unanswered_of(conn, [WATCH], 0.0) == {WATCH: []}
        await say(conn, Said("default", "false", "agent", "agent", None, row["alarm_id"]), world.clock.at_s)
    await keep(world)
    async with world.pool.connection() as conn:
        standing = await queries.find_standing(conn, WATCH)
    assert standing is not None
    assert standing.bar == 0.0
    assert await world.rows("SELECT verdict FROM watch_episode") == [{"verdict": "false"}]
    assert await world.rows("SELECT * FROM watch_cell") == []


async def test_an_alarm_from_before_an_edit_does_not_lessen_the_new_watchs_history(world: CaseWorld) -> None:
    """Its place was subtracted from a history that it is no part of: another watch's false alarms weighed less."""
    world.trust = TrustRules(BudgetSettings(small_fleet=0, learning_cases=0.0))
    for number in (1, 2):
        await world.own(f"cm-{number}", f"own-{number}")
    old = weak_pump(1)
    await world.happens(old)  # it finds no room, and waits
    edited(world, for_=7200.0)
    world.clock.at_s += HOUR
    await keep(world)
    stronger = replace(weak_pump(2, world.clock.at_s), score=0.9, started_at_s=NOON - 48 * HOUR)
    await world.happens(stronger)
    world.clock.at_s += HOUR
    at_s = world.clock.at_s
    await world.happens(replace(old, event="updated", score=0.61, ts_s=at_s, head_ts_s=at_s, recorded_at_s=at_s))
    async with world.pool.connection() as conn:
        episode, standing = await queries.find_episode(conn, old.alarm_id), await queries.find_standing(conn, WATCH)
        cells = (await queries.cells_of(conn, [WATCH], world.clock.at_s, world.trust.budget.memory))[WATCH]
    belief = weigh(world.trust.budget, Known(standing, episode, cells), old.started_at_s, world.clock.at_s)
    assert sum(cell.standing for cell in cells) == pytest.approx(1.0, abs=0.01)  # that of the second machine
    assert belief.tail.standing == pytest.approx(1.0, abs=0.01)


async def test_another_mode_in_the_profile_is_the_word_of_who_edits_it(world: CaseWorld) -> None:
    edited(world, mode=WatchMode.SHADOW)
    await keep(world)
    async with world.pool.connection() as conn:
        audit = await audit_of(conn, WATCH)
        assert [(each.to_mode, each.why) for each in audit][:1] == [
            ("shadow", "its profile says shadow now, where it said auto")
        ]
        await queries.set_mode(conn, WATCH, ModeSet(WatchMode.AUTO, "person:ada", "it is good", held=True), NOON)
    edited(world, mode=WatchMode.APPROVE)
    await keep(world)
    async with world.pool.connection() as conn:
        standing = await queries.find_standing(conn, WATCH)
    assert standing is not None
    assert (standing.mode, standing.held) == (WatchMode.AUTO, True)


async def test_who_corrects_a_word_takes_back_what_it_did(world: CaseWorld) -> None:
    world.trust = TrustRules(BudgetSettings(enabled=False), TrustSettings(bar_step=0.1))
    await world.own("cm-1", "own-1")
    await world.happens(weak_pump(1))
    (row,) = await world.rows("SELECT alarm_id FROM watch_episode")

    async def said(
        verdict: Truth, source: Source, customer_said: str = ""
    ) -> tuple[tuple[str | None, str | None], float]:
        word = Said("default", verdict, source, source, None, row["alarm_id"], 1.0, customer_said)
        async with world.pool.connection() as conn:
            await say(conn, word, world.clock.at_s)
        await keep(world)
        async with world.pool.connection() as conn:
            standing = await queries.find_standing(conn, WATCH)
        assert standing is not None
        (episode,) = await world.rows("SELECT verdict, source FROM watch_episode")
        return (episode["verdict"], episode["source"]), round(standing.bar, 6)

    assert await said("false", "agent") == (("false", "agent"), 0.1)
    assert await said("unclear", "person") == (("false", "agent"), 0.1)
    assert await said("unclear", "agent", "it hissed") == (("false", "agent"), 0.1)
    assert await said("unclear", "agent") == ((None, None), 0.0)
    assert await said("false", "owner") == (("false", "owner"), 0.1)
    assert await said("true", "agent") == (("true", "agent"), 0.0)
    (cells,) = await world.rows("SELECT sum(standing) AS s, sum(were_true) AS t, sum(were_false) AS f FROM watch_cell")
    assert cells == {"s": pytest.approx(0.0), "t": pytest.approx(1.0), "f": pytest.approx(0.0)}


async def test_a_word_that_is_taken_back_or_outweighed_gives_the_budget_back_what_it_took(world: CaseWorld) -> None:
    """An `unclear` after `false` took the word from the watch's record, and left the false case on the accounts."""
    world.trust = TrustRules(BudgetSettings(small_fleet=0, learning_cases=100.0))
    await world.own("cm-1", "own-1")
    await world.happens(weak_pump(1))
    (episode,) = await world.rows("SELECT alarm_id, cost FROM watch_episode")
    (accounts,) = await world.rows("SELECT wealth FROM trust_budget")
    begin, cost = accounts["wealth"], episode["cost"]

    async def wealth_after(verdict: Truth, source: Source, weight: float) -> float:
        async with world.pool.connection() as conn:
            await say(
                conn, Said("default", verdict, source, source, None, episode["alarm_id"], weight), world.clock.at_s
            )
        await keep(world)
        (accounts,) = await world.rows("SELECT wealth FROM trust_budget")
        return accounts["wealth"]

    assert 0.0 < cost < 1.0
    assert await wealth_after("false", "telemetry", 0.25) == pytest.approx(begin - 0.25 * (1 - cost))
    assert await wealth_after("false", "owner", 0.5) == pytest.approx(begin - 0.5 * (1 - cost))
    assert await wealth_after("false", "agent", 1.0) == pytest.approx(begin - (1 - cost))
    assert await wealth_after("unclear", "agent", 1.0) == pytest.approx(begin)
    assert await wealth_after("true", "agent", 1.0) == pytest.approx(begin + cost)
