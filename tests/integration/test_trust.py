"""Trust through the real database: modes, the budget and its cap, outcomes, promotion, bars, one decision for ever."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from crm_sync.cases import by_hand, proposals
from crm_sync.cases.notices import take_notice
from crm_sync.explain import explain_owner
from crm_sync.inbox import AlarmNotice
from crm_sync.keeping import Keeper, Kept
from crm_sync.policy.shown import list_decisions
from crm_sync.trust import queries
from crm_sync.trust.queries import ModeSet, WatchKey
from crm_sync.trust.rules import TrustRules
from crm_sync.trust.settings import BudgetSettings, TrustSettings
from devices.errors import CareloopError
from devices.profiles.model import WatchMode
from tests.services.case_world import DAY, HOUR, NOON, CaseWorld, notice, open_world
from tests.services.postgres import DatabaseServer

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


async def budget(world: CaseWorld, **settings: Any) -> None:
    """Put other rules in force, from the first day on, for a fleet of any size."""
    async with world.pool.connection() as conn:
        await conn.execute("DELETE FROM trust_budget")
    trust = {name: settings.pop(name) for name in list(settings) if name in TrustSettings.model_fields}
    settings.setdefault("small_fleet", 0)
    world.trust = TrustRules(BudgetSettings(**settings), TrustSettings(**trust))


async def mode(world: CaseWorld, mode: WatchMode, key: WatchKey = WATCH) -> None:
    async with world.pool.connection() as conn:
        assert await queries.set_mode(conn, key, ModeSet(mode, "person:ada", "to try it"), world.clock.at_s)


def weak_pump(number: int = 1, **changes: Any) -> AlarmNotice:
    """The pump of one of many coffee machines has become weak."""
    values: dict[str, Any] = {
        "device_id": f"cm-{number}",
        "watch": "pump-weak",
        "kind": "record",
        "problem": "pump",
        "metric": "pump_pressure",
        "score": 0.6,
    }
    return notice(**(values | changes))


async def own_many(world: CaseWorld, count: int) -> None:
    for number in range(1, count + 1):
        await world.own(f"cm-{number}", f"own-{number}")


async def suppressed(world: CaseWorld) -> dict[str, str | None]:
    rows = await world.rows("SELECT device_id, suppressed FROM case_alarm ORDER BY device_id")
    return {row["device_id"]: row["suppressed"] for row in rows}


async def test_a_watch_in_shadow_opens_nothing_and_joins_nothing(world: CaseWorld) -> None:
    await mode(world, WatchMode.SHADOW)
    await world.happens(weak_pump())
    assert await world.cases() == []
    assert await suppressed(world) == {"cm-1": "shadow"}
    (decision,) = await world.rows("SELECT gate, outcome, reason, inputs FROM decision")
    assert (decision["gate"], decision["outcome"], decision["reason"]) == ("mode", "refuse", "shadow")
    assert decision["inputs"] == {"model": "coffee-machine", "watch": "pump-weak", "mode": "shadow"}
    await world.happens(notice(watch="pump-noisy", problem="pump"), weak_pump(event="updated", at_s=NOON + HOUR))
    (case,) = await world.cases()
    evidence = await world.rows("SELECT watch FROM case_alarm WHERE case_id = %s", case["case_id"])
    assert [row["watch"] for row in evidence] == ["pump-noisy"]


async def test_a_watch_that_must_ask_proposes_and_a_person_opens(world: CaseWorld) -> None:
    await mode(world, WatchMode.APPROVE)
    await world.happens(weak_pump())
    (case,) = await world.cases()
    assert case["state"] == "proposed"
    assert await world.messages() == []
    async with world.pool.connection() as conn:
        await proposals.approve(conn, "default", case["case_id"], "ada", world.clock.at_s)
    assert await world.messages() == []
    assert (await keep(world)).opened == 1
    (case,) = await world.cases()
    assert case["state"] == "open"
    assert await world.types() == ["case.opened"]
    moves = await world.rows("SELECT to_state, actor, reason FROM case_transition ORDER BY transition_id")
    assert [tuple(move.values()) for move in moves] == [
        ("proposed", "telemetry", "alarm_raised"),
        ("approved", "person:ada", "approved"),
        ("open", "policy", "approved"),
    ]


async def test_what_nobody_approves_does_nothing(world: CaseWorld) -> None:
    await mode(world, WatchMode.APPROVE)
    await world.happens(weak_pump())
    world.clock.at_s = NOON + DAY - 1
    assert (await keep(world)).expired == 0
    world.clock.at_s = NOON + DAY
    assert (await keep(world)).expired == 1
    (case,) = await world.cases()
    assert (case["state"], case["resolution"]) == ("expired", "not_approved")
    await world.happens(weak_pump(event="updated", at_s=NOON + DAY + HOUR, started_at_s=NOON - HOUR))
    assert len(await world.cases()) == 1
    assert await world.messages() == []


async def test_a_person_who_declines_says_that_it_was_false(world: CaseWorld) -> None:
    await mode(world, WatchMode.APPROVE)
    await world.happens(weak_pump())
    (case,) = await world.cases()
    async with world.pool.connection() as conn:
        await proposals.decline(conn, "default", case["case_id"], "ada", world.clock.at_s)
    with pytest.raises(CareloopError, match="only a proposed case"):
        async with world.pool.connection() as conn:
            await proposals.approve(conn, "default", case["case_id"], "ada", world.clock.at_s)
    await keep(world)
    (episode,) = await world.rows("SELECT verdict, weight, source FROM watch_episode")
    assert episode == {"verdict": "false", "weight": 1.0, "source": "person"}


async def test_a_second_watch_that_may_act_need_not_wait_for_a_person(world: CaseWorld) -> None:
    await mode(world, WatchMode.APPROVE)
    await world.happens(weak_pump(), notice(watch="hardly-flows", problem="pump", at_s=NOON + HOUR))
    await keep(world)
    (case,) = await world.cases()
    assert case["state"] == "open"
    assert await world.types() == ["case.opened"]


async def test_a_recovery_ends_a_proposal_without_a_word(world: CaseWorld) -> None:
    await mode(world, WatchMode.APPROVE)
    await world.happens(weak_pump(), weak_pump(event="cleared", at_s=NOON + HOUR, started_at_s=NOON - HOUR))
    (case,) = await world.cases()
    assert case["state"] == "expired"
    assert await world.messages() == []


async def test_what_does_not_fit_the_budget_is_kept_and_opens_when_there_is_room(world: CaseWorld) -> None:
    await own_many(world, 5)
    await budget(world, learning_cases=6.0)
    await world.happens(*[weak_pump(number) for number in range(1, 6)])
    assert len(await world.cases()) == 1  # a watch that nobody knows is tried with one
    assert await suppressed(world) == {"cm-1": None, **{f"cm-{number}": "budget" for number in range(2, 6)}}
    (decision,) = await world.rows("SELECT inputs FROM decision WHERE gate = 'budget' AND device_id = 'cm-2'")
    assert decision["inputs"]["verdict"] == "belief"
    assert decision["inputs"]["alike"] == {"right": 0.0, "wrong": 1.0, "unknown": 0.0}
    async with world.pool.connection() as conn:
        told = explain_owner("own-2", await list_decisions(conn, "default", owner_ref="own-2"), []).answer
    likely = f"{100 * decision['inputs']['belief']:.3g} %"
    assert f"likely to be true to {likely}, where a case needs 20 % however much room there is" in told
    assert (await keep(world)).again == 0
    await world.deliver()
    await world.call_back(status="resolved", outcome="true")
    world.clock.at_s = NOON + HOUR
    kept = await keep(world)
    assert (kept.settled, kept.again) == (1, 2)  # a watch that proved right is tried with more
    await world.work()
    assert len(await world.cases()) == 3
    assert list((await suppressed(world)).values()).count("budget") == 2


async def test_an_alarm_that_waited_too_long_is_left(world: CaseWorld) -> None:
    await budget(world, learning_cases=0.0, waits_for=HOUR)
    await world.happens(weak_pump())
    await budget(world, learning_cases=10.0, waits_for=HOUR)
    world.clock.at_s = NOON + 2 * HOUR
    assert (await keep(world)).again == 0
    assert (await suppressed(world)) == {"cm-1": "budget"}
    await world.happens(weak_pump(event="updated", at_s=NOON + 3 * HOUR, started_at_s=NOON - HOUR))
    assert (await suppressed(world)) == {"cm-1": None}  # its device said more


async def test_a_critical_alarm_passes_an_empty_budget_and_is_counted(world: CaseWorld) -> None:
    await own_many(world, 3)
    await budget(world, learning_cases=0.0, cases_per_day=1)
    await world.happens(*[weak_pump(number, severity="critical") for number in range(1, 4)])
    assert len(await world.cases()) == 3
    (row,) = await world.rows("SELECT opened, allowance FROM trust_budget")
    assert row["opened"] == 3
    assert row["allowance"] < -1


async def test_near_the_cap_only_the_likeliest_pass(world: CaseWorld) -> None:
    await own_many(world, 8)
    await budget(world, learning_cases=100.0, cases_per_day=5, least_belief=0.01)
    await world.happens(*[weak_pump(number, score=0.5 + number / 100) for number in range(1, 6)])
    assert len(await world.cases()) == 4  # the fifth place is for a belief of 0.95
    (decision,) = await world.rows("SELECT inputs FROM decision WHERE gate = 'budget' AND device_id = 'cm-5'")
    assert decision["inputs"]["verdict"] == "cap"
    assert decision["inputs"]["needed_belief"] == pytest.approx(0.95)
    await world.happens(weak_pump(6, at_s=NOON + DAY))
    assert (await suppressed(world))["cm-6"] is None  # a new day


async def test_outcomes_move_precision_belief_bar_and_accounts(world: CaseWorld) -> None:
    await own_many(world, 3)
    await budget(world, learning_cases=100.0, least_belief=0.01, bar_step=0.1)
    await world.happens(weak_pump(1))
    (before,) = await world.rows("SELECT allowance, wealth FROM trust_budget")
    await world.deliver()
    await world.call_back(status="resolved", outcome="false")
    await keep(world)
    (after,) = await world.rows("SELECT allowance, wealth FROM trust_budget")
    assert before["allowance"] - after["allowance"] == pytest.approx(
        0.25
    )  # booked with three quarters, and a whole one
    assert before["wealth"] - after["wealth"] == pytest.approx(0.25)
    async with world.pool.connection() as conn:
        standing = await queries.find_standing(conn, WATCH)
        assert await queries.outcomes_since(conn, WATCH, 0.0) == (0.0, 1.0)
    assert standing is not None
    assert standing.bar == pytest.approx(0.1)
    await world.happens(weak_pump(2))
    (decision,) = await world.rows("SELECT inputs FROM decision WHERE gate = 'budget' AND device_id = 'cm-2'")
    assert decision["inputs"]["alike"]["wrong"] == pytest.approx(1.0, rel=1e-3)
    assert decision["inputs"]["belief"] < 0.1
    assert decision["inputs"]["bar"] == pytest.approx(0.1)


async def test_a_false_outcome_raises_the_bar_above_the_next_alarm(world: CaseWorld) -> None:
    await own_many(world, 2)
    await budget(world, learning_cases=100.0, least_belief=0.05, bar_step=0.3)
    await world.happens(weak_pump(1))
    await world.deliver()
    await world.call_back(status="resolved", outcome="false")
    await keep(world)
    await world.happens(weak_pump(2))
    (decision,) = await world.rows("SELECT inputs FROM decision WHERE gate = 'budget' AND device_id = 'cm-2'")
    assert decision["inputs"]["verdict"] == "bar"
    assert decision["inputs"]["needed_belief"] == pytest.approx(0.35)


async def test_an_alarm_that_late_readings_take_back_was_false(world: CaseWorld) -> None:
    await world.happens(weak_pump(), weak_pump(event="retracted", at_s=NOON + HOUR, started_at_s=NOON - HOUR))
    await keep(world)
    (episode,) = await world.rows("SELECT verdict, weight, source FROM watch_episode")
    assert episode == {"verdict": "false", "weight": 1.0, "source": "retraction"}


async def test_a_case_that_somebody_was_given_here_was_taken_up(world: CaseWorld) -> None:
    await world.happens(weak_pump())
    (case,) = await world.cases()
    hand = by_hand.Hand("default", case["case_id"], "ada", NOON, world.desk.wording)
    async with world.pool.connection() as conn:
        await by_hand.assign(conn, hand, team=None, assignee="ada")
    await world.happens(weak_pump(event="cleared", at_s=NOON + HOUR, started_at_s=NOON - HOUR))
    await keep(world)
    (episode,) = await world.rows("SELECT verdict, weight, source FROM watch_episode")
    assert episode == {"verdict": "true", "weight": 0.25, "source": "telemetry"}


async def test_telemetrys_word_is_weak_and_an_agents_outweighs_it(world: CaseWorld) -> None:
    await world.happens(weak_pump())
    await world.deliver()
    await world.call_back(status="accepted")
    await world.happens(weak_pump(event="cleared", at_s=NOON + HOUR, started_at_s=NOON - HOUR))
    await keep(world)
    (episode,) = await world.rows("SELECT verdict, weight, source FROM watch_episode")
    assert episode == {"verdict": "true", "weight": 0.25, "source": "telemetry"}
    await world.call_back(status="resolved", outcome="false")
    await keep(world)
    (episode,) = await world.rows("SELECT verdict, weight, source FROM watch_episode")
    assert episode == {"verdict": "false", "weight": 1.0, "source": "agent"}
    (cells,) = await world.rows("SELECT sum(standing) AS s, sum(were_true) AS t, sum(were_false) AS f FROM watch_cell")
    assert cells == {"s": pytest.approx(0.0), "t": pytest.approx(0.0), "f": pytest.approx(1.0, rel=1e-2)}


async def judge_many(world: CaseWorld, first: int, count: int, outcome: str) -> None:
    """Alarms become cases, one after the other, and an agent judges each."""
    for number in range(first, first + count):
        await world.own(f"cm-{number}", f"own-{number}")
        await world.happens(weak_pump(number, at_s=world.clock.at_s))
        await world.deliver()
        await world.call_back(status="resolved", outcome=outcome)
        world.clock.at_s += 60
        await keep(world)


async def test_a_watch_is_demoted_and_promoted_by_rule_and_the_audit_says_why(world: CaseWorld) -> None:
    await budget(world, enabled=False, outcomes=4, promote_above=0.55, demote_below=0.5, confidence=0.8)
    await judge_many(world, 1, 4, "false")
    async with world.pool.connection() as conn:
        standing = await queries.find_standing(conn, WATCH)
    assert standing is not None
    assert standing.mode is WatchMode.APPROVE
    await world.own("cm-9", "own-9")
    await world.happens(weak_pump(9))
    (case,) = await world.rows("SELECT state FROM service_case WHERE device_id = 'cm-9'")
    assert case["state"] == "proposed"
    audit = await world.rows(
        "SELECT from_mode, to_mode, actor, why FROM watch_audit WHERE watch = 'pump-weak' ORDER BY audit_id"
    )
    assert [tuple(row.values())[:3] for row in audit] == [(None, "auto", "profile"), ("auto", "approve", "rule")]
    assert audit[-1]["why"].startswith("right in 0 of 4 outcomes in this mode, 0% to ")
    world.clock.at_s = NOON + HOUR
    for number in range(10, 14):
        await world.own(f"cm-{number}", f"own-{number}")
        await world.happens(weak_pump(number, at_s=world.clock.at_s))
        (case,) = await world.rows("SELECT case_id FROM service_case WHERE device_id = %s", f"cm-{number}")
        async with world.pool.connection() as conn:
            await proposals.approve(conn, "default", case["case_id"], "ada", world.clock.at_s)
        await keep(world)
        await world.deliver()
        await world.call_back(status="resolved", outcome="true")
        world.clock.at_s += HOUR
        await keep(world)
    async with world.pool.connection() as conn:
        standing = await queries.find_standing(conn, WATCH)
    assert standing is not None
    assert standing.mode is WatchMode.AUTO
    (last,) = await world.rows("SELECT actor, why FROM watch_audit ORDER BY audit_id DESC LIMIT 1")
    assert last["actor"] == "rule"


async def test_no_rule_moves_a_watch_that_a_person_holds(world: CaseWorld) -> None:
    await budget(world, enabled=False, outcomes=2)
    async with world.pool.connection() as conn:
        held = ModeSet(WatchMode.AUTO, "person:ada", "we look into it", held=True)
        await queries.set_mode(conn, WATCH, held, world.clock.at_s)
    await judge_many(world, 1, 6, "false")
    async with world.pool.connection() as conn:
        standing = await queries.find_standing(conn, WATCH)
    assert standing is not None
    assert (standing.mode, standing.held) == (WatchMode.AUTO, True)


async def test_the_same_notices_are_decided_alike_whatever_batches_and_crashes(plain_server: DatabaseServer) -> None:
    decisions: list[list[dict[str, Any]]] = []
    for size in (1, 5, 200):
        with plain_server.fresh_database() as url:
            async with open_world(url, inbox_batch=size) as world:
                await own_many(world, 12)
                await budget(world, learning_cases=6.0)
                await keep(world)
                alarms = [weak_pump(number, score=0.5 + number % 5 / 20) for number in range(1, 13)]
                await world.put(*alarms)
                async with world.pool.connection() as conn, conn.transaction(force_rollback=True):  # it dies half-way
                    for each in alarms[:7]:
                        await take_notice(conn, world.desk, each, world.clock.at_s, has_ended=False)
                await world.work()
                decisions.append(await world.rows(DECISIONS))
    assert decisions[0] == decisions[1] == decisions[2]
    assert {row["outcome"] for row in decisions[0] if row["gate"] == "budget"} == {"allow", "refuse"}


DECISIONS = "SELECT device_id, gate, outcome, inputs FROM decision ORDER BY device_id, decision_id"


async def test_a_limit_that_somebody_has_set_is_no_guess(world: CaseWorld) -> None:
    await own_many(world, 30)
    await budget(world, learning_cases=0.0)
    await world.happens(*(weak_pump(number, kind="threshold") for number in range(1, 31)))
    assert len(await world.cases()) == 30
    verdicts = await world.rows("SELECT DISTINCT inputs->>'verdict' AS verdict FROM decision WHERE gate = 'budget'")
    assert verdicts == [{"verdict": "stated"}]


async def test_in_a_small_fleet_only_what_was_said_of_cases_holds_one_back(world: CaseWorld) -> None:
    await own_many(world, 30)
    await budget(world, learning_cases=0.0, small_fleet=1000, bar_step=0.0)
    await world.happens(*(weak_pump(number) for number in range(1, 26)))
    assert len(await world.cases()) == 25
    await world.deliver()
    for row in await world.cases():
        await world.call_back(case_id=row["case_id"], status="resolved", outcome="false")
    await keep(world)
    await world.happens(weak_pump(30))
    (decision,) = await world.rows("SELECT inputs FROM decision WHERE gate = 'budget' AND device_id = 'cm-30'")
    assert decision["inputs"]["verdict"] == "bar"  # 5 of 30 right is less than one in five


async def test_where_no_crm_ever_called_back_nobodys_silence_makes_a_case_false(world: CaseWorld) -> None:
    await world.happens(weak_pump())
    await world.deliver()
    await world.happens(weak_pump(event="cleared", at_s=NOON + HOUR, started_at_s=NOON - HOUR))
    await keep(world)
    assert await world.rows("SELECT verdict FROM watch_episode") == [{"verdict": None}]
    assert await world.rows("SELECT verdict FROM case_verdict") == [{"verdict": "unclear"}]
