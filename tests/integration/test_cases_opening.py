"""From an alarm to a case: opened once, told once, with a brief; or suppressed, with a reason."""

from collections.abc import AsyncIterator, Sequence

import pytest

from crm_sync.catching_up import look_again
from crm_sync.inbox import AlarmNotice
from crm_sync.policy.shown import list_decisions
from tests.services.case_world import DAY, HOUR, NOON, CaseWorld, endpoint, notice, open_world

SUPPRESSED_TYPES = ("case.opened", "case.updated", "outreach.suppressed")


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(database_url) as opened:
        yield opened


async def test_an_alarm_opens_one_case_and_tells_the_crm(world: CaseWorld) -> None:
    await world.happens(notice())
    (case,) = await world.cases()
    assert (case["state"], case["severity"], case["title"]) == ("open", "major", "The boiler runs too hot")
    (message,) = await world.messages()
    data = message["data"]
    assert message["type"] == "case.opened"
    assert (data["version"], data["case_id"], data["owner_ref"]) == (1, case["case_id"], "own-1")
    assert data["asset"] == {"asset_id": "asset-cm-1", "serial": "SN-cm-1", "model": "coffee-machine"}
    assert data["alarms"][0]["evidence"][-1] == {"ts": "2026-03-03T11:00:00Z", "value": 131.0}
    moves = await world.rows("SELECT from_state, to_state, actor, reason FROM case_transition ORDER BY transition_id")
    assert [tuple(move.values()) for move in moves] == [
        (None, "proposed", "telemetry", "alarm_raised"),
        ("proposed", "approved", "policy", "auto"),
        ("approved", "open", "policy", "auto"),
    ]


async def test_a_second_sign_of_the_same_problem_joins_the_case(world: CaseWorld) -> None:
    await world.happens(notice(), notice(watch="energy-high", severity="critical", at_s=NOON + HOUR))
    (case,) = await world.cases()
    assert (case["severity"], case["team"]) == ("critical", "Product safety")
    assert case["sla_due_at"].timestamp() == NOON + 5 * HOUR
    assert await world.types() == ["case.opened", "case.updated"]
    assert [message["data"]["version"] for message in await world.messages()] == [1, 2]


async def test_another_problem_of_the_same_product_is_another_case(world: CaseWorld) -> None:
    await world.happens(notice(), notice(watch="pump-weak", problem="pump", metric="pump_pressure"))
    assert {case["problem"] for case in await world.cases()} == {"boiler", "pump"}


def generic(metric: str, at_s: float = NOON, device_id: str = "stray-1") -> AlarmNotice:
    """A generic watch of a device without a profile: its problem is the metric."""
    return notice(device_id=device_id, watch=f"decline-{metric}", problem=metric, metric=metric, at_s=at_s)


async def test_four_metrics_of_a_product_without_a_profile_are_one_case_with_four_pieces_of_evidence(
    world: CaseWorld,
) -> None:
    metrics = ("flow", "pressure", "heat", "shots")
    await world.happens(*(generic(metric, NOON + hours * HOUR) for hours, metric in enumerate(metrics)))
    (case,) = await world.cases()
    assert case["problem"] == "flow"
    alarms = await world.rows("SELECT case_id, metric FROM case_alarm ORDER BY started_at")
    assert [(alarm["case_id"], alarm["metric"]) for alarm in alarms] == [(case["case_id"], each) for each in metrics]
    assert await world.types() == ["case.opened", "case.updated", "case.updated", "case.updated"]


async def test_weeks_later_or_on_another_product_it_is_another_trouble(world: CaseWorld) -> None:
    await world.happens(generic("flow"))
    world.clock.at_s = NOON + 8 * DAY
    await world.happens(generic("heat", NOON + 8 * DAY), generic("heat", NOON + 8 * DAY, "stray-2"))
    found = {(case["device_id"], case["problem"]) for case in await world.cases()}
    assert found == {("stray-1", "flow"), ("stray-1", "heat"), ("stray-2", "heat")}


async def test_the_same_notice_twice_is_one_notice(world: CaseWorld) -> None:
    await world.put(notice(), notice())
    await world.put(notice())
    assert await world.work() == 1
    assert await world.types() == ["case.opened"]


async def test_an_unknown_device_is_its_own_asset_without_an_owner(world: CaseWorld) -> None:
    await world.happens(notice(device_id="stray-1"))
    (case,) = await world.cases()
    assert (case["asset_id"], case["owner_ref"]) == ("stray-1", None)
    assert await world.types() == ["case.opened"]


async def test_old_history_opens_no_case(world: CaseWorld) -> None:
    await world.happens(notice(at_s=NOON, head_ts_s=NOON - 2 * DAY))
    assert await world.cases() == []
    (alarm,) = await world.rows("SELECT suppressed, case_id FROM case_alarm")
    assert alarm == {"suppressed": "stale", "case_id": None}


async def test_an_alarm_that_is_over_before_anyone_could_help_opens_no_case(world: CaseWorld) -> None:
    await world.put(notice(), notice(event="cleared", started_at_s=NOON - HOUR, ts_s=NOON + 60))
    await world.work()
    assert await world.cases() == []
    (decision,) = await world.rows("SELECT gate, reason, inputs FROM decision")
    assert (decision["gate"], decision["reason"], decision["inputs"]["has_ended"]) == ("freshness", "stale", True)
    assert await world.messages() == []


async def test_a_stale_alarm_opens_its_case_once_the_stream_has_caught_up(world: CaseWorld) -> None:
    late = notice(at_s=NOON, started_at_s=NOON - 2 * DAY, head_ts_s=NOON - 2 * DAY)
    await world.happens(late, notice(event="updated", at_s=NOON + HOUR, started_at_s=NOON - 2 * DAY))
    (case,) = await world.cases()
    assert case["state"] == "open"
    (alarm,) = await world.rows("SELECT suppressed, case_id FROM case_alarm")
    assert alarm == {"suppressed": None, "case_id": case["case_id"]}


async def test_that_careloop_itself_was_away_makes_no_alarm_old(world: CaseWorld) -> None:
    await world.put(notice())
    world.clock.at_s = NOON + 3 * DAY
    await world.work()
    assert len(await world.cases()) == 1


async def test_a_silence_is_allowed_the_span_it_waited_for(world: CaseWorld) -> None:
    plain = notice(kind="silence", watch="offline", problem="connection", metric=None, head_ts_s=NOON - 3 * DAY)
    explained = type(plain.explanation)("No word for three days", "a word an hour", "none for 72 h", 3 * DAY)
    await world.happens(notice(kind="silence", metric=None, head_ts_s=NOON - 3 * DAY, explanation=explained))
    assert len(await world.cases()) == 1


@pytest.mark.parametrize("state", ["refused", "revoked"])
async def test_an_owner_who_said_no_gets_no_case(database_url: str, state: str) -> None:
    async with open_world(database_url, endpoints=(endpoint(types=SUPPRESSED_TYPES),)) as world:
        await world.grant("crm", "refused" if state == "refused" else "revoked")
        await world.happens(notice(), notice(event="updated", at_s=NOON + HOUR, started_at_s=NOON - HOUR))
        assert await world.cases() == []
        (message,) = await world.messages()
        assert message["type"] == "outreach.suppressed"
        assert message["data"]["reason"] == "no_grant"
        assert "own-1" not in str(message["data"])
        async with world.pool.connection() as conn:
            (decision,) = await list_decisions(conn, "default", owner_ref="own-1", refusals_only=True)
        assert (decision.gate, decision.reason, decision.inputs["state"]) == ("grant", "no_grant", state)


async def test_a_word_about_one_crm_outweighs_that_about_all(database_url: str) -> None:
    async with open_world(database_url, endpoints=(endpoint("crm-a"), endpoint("crm-b"))) as world:
        await world.grant("crm", "refused")
        await world.grant("crm-b", "given")
        await world.happens(notice())
        assert (await world.types("crm-a"), await world.types("crm-b")) == ([], ["case.opened"])


async def test_the_kill_switch_lets_nothing_begin_and_everything_end(database_url: str) -> None:
    async with open_world(database_url) as world:
        await world.happens(notice())
        world.settings = world.settings.model_copy(update={"kill_switch": True})
        await world.happens(
            notice(watch="pump-weak", problem="pump"),
            notice(event="cleared", at_s=NOON + HOUR, started_at_s=NOON - HOUR),
        )
        assert [(case["problem"], case["state"]) for case in await world.cases()] == [("boiler", "resolved")]
        (alarm,) = await world.rows("SELECT suppressed FROM case_alarm WHERE problem = 'pump'")
        assert alarm["suppressed"] == "kill_switch"


async def test_alarms_go_only_to_those_who_ask_and_name_nobody(database_url: str) -> None:
    curious = endpoint("iot-lake", types=("alarm.raised", "alarm.cleared", "device.silent"))
    async with open_world(database_url, endpoints=(endpoint(), curious)) as world:
        silent = notice(kind="silence", watch="offline", metric=None, problem="connection")
        await world.happens(notice(), silent, notice(event="cleared", at_s=NOON + HOUR, started_at_s=NOON - HOUR))
        assert await world.types("iot-lake") == ["alarm.raised", "alarm.raised", "device.silent", "alarm.cleared"]
        assert "own-1" not in str([message["data"] for message in await world.messages("iot-lake")])
        assert "alarm.raised" not in await world.types("crm-a")


async def test_a_stale_alarm_is_looked_at_again_when_its_device_has_caught_up(world: CaseWorld) -> None:
    heads = {"cm-1": NOON - 2 * DAY}

    async def find_heads(_conn: object, device_ids: Sequence[str]) -> dict[str, float]:
        return {device: heads[device] for device in device_ids if device in heads}

    async def look() -> int:
        async with world.pool.connection() as conn:
            return await look_again(conn, find_heads, DAY, world.clock.at_s)

    await world.happens(notice(started_at_s=NOON - 2 * DAY, head_ts_s=NOON - 2 * DAY))
    await world.happens(notice(device_id="never-heard-again", head_ts_s=NOON - 2 * DAY))
    assert await look() == 0
    world.clock.at_s = heads["cm-1"] = NOON + HOUR
    assert await look() == 1
    await world.work()
    (case,) = await world.cases()
    assert (case["device_id"], case["state"]) == ("cm-1", "open")
    assert await look() == 0
