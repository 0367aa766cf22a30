"""How a case ends, and how it comes back."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.services.case_world import DAY, HOUR, NOON, CaseWorld, notice, open_world


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(database_url) as opened:
        yield opened


def later(hours: float, **changes: Any) -> Any:
    """The boiler's first alarm, some hours on."""
    return notice(at_s=NOON + hours * HOUR, started_at_s=NOON - HOUR, **changes)


def again(hours: float, **changes: Any) -> Any:
    """A new alarm of the boiler."""
    return notice(at_s=NOON + hours * HOUR, started_at_s=NOON + hours * HOUR - 60, **changes)


async def test_recovery_resolves_and_tells(world: CaseWorld) -> None:
    await world.happens(notice(), later(1, event="cleared"))
    (case,) = await world.cases()
    assert (case["state"], case["resolution"]) == ("resolved", "recovered_in_telemetry")
    opened, resolved = await world.messages()
    assert (opened["type"], resolved["type"]) == ("case.opened", "case.resolved")
    assert (resolved["data"]["state"], resolved["data"]["version"]) == ("resolved", 2)
    assert resolved["data"]["owner_ref"] is None


async def test_one_of_two_signs_gone_is_no_recovery(world: CaseWorld) -> None:
    await world.happens(notice(), notice(watch="energy-high"), later(1, event="cleared"))
    (case,) = await world.cases()
    assert case["state"] == "open"
    await world.happens(later(2, watch="energy-high", event="cleared"))
    (case,) = await world.cases()
    assert case["state"] == "resolved"


async def test_silence_is_no_recovery(world: CaseWorld) -> None:
    await world.happens(notice(), later(1, event="unknown"), later(2, event="unknown"))
    (case,) = await world.cases()
    assert case["state"] == "open"
    assert "has fallen silent" in case["brief"]
    assert await world.types() == ["case.opened", "case.updated"]
    notes = await world.rows("SELECT reason FROM case_transition WHERE from_state = to_state")
    assert [note["reason"] for note in notes] == ["silent"]
    await world.happens(later(3, event="updated"))
    assert (await world.messages())[-1]["data"]["change"] == "heard_again"


async def test_an_unknown_sign_beside_a_cleared_one_keeps_the_case(world: CaseWorld) -> None:
    await world.happens(
        notice(), notice(watch="energy-high"), later(1, event="unknown"), later(2, watch="energy-high", event="cleared")
    )
    (case,) = await world.cases()
    assert case["state"] == "open"


async def test_a_retracted_alarm_retracts_its_case(world: CaseWorld) -> None:
    await world.happens(notice(), later(1, event="retracted"))
    (case,) = await world.cases()
    assert (case["state"], case["resolution"]) == ("retracted", "alarm_retracted")
    assert (await world.types())[-1] == "case.retracted"


async def test_a_retracted_alarm_beside_a_cleared_one_resolves(world: CaseWorld) -> None:
    await world.happens(
        notice(),
        notice(watch="energy-high"),
        later(1, event="retracted"),
        later(2, watch="energy-high", event="cleared"),
    )
    assert [case["state"] for case in await world.cases()] == ["resolved"]


async def test_a_quick_relapse_is_the_same_case(world: CaseWorld) -> None:
    await world.happens(notice(), later(1, event="cleared"), again(5))
    (case,) = await world.cases()
    assert (case["state"], case["relapses"], case["resolution"]) == ("open", 1, None)
    assert "came back" in case["brief"]
    last = (await world.messages())[-1]
    assert (last["type"], last["data"]["change"], last["data"]["state"]) == ("case.updated", "reopened", "open")
    await world.happens(notice(event="cleared", at_s=NOON + 6 * HOUR, started_at_s=NOON + 5 * HOUR - 60))
    assert [case["state"] for case in await world.cases()] == ["resolved"]


async def test_a_late_relapse_is_a_new_case_that_names_the_old_one(world: CaseWorld) -> None:
    await world.happens(notice(), later(1, event="cleared"), again(48))
    first, second = await world.cases()
    assert (first["state"], second["state"], second["relapse_of"]) == ("resolved", "open", first["case_id"])


async def test_an_alarm_that_comes_back_to_life_is_a_relapse(world: CaseWorld) -> None:
    await world.happens(notice(), later(1, event="cleared"), later(2, event="updated"))
    (case,) = await world.cases()
    assert (case["state"], case["relapses"]) == ("open", 1)


async def test_a_late_silence_or_second_ending_changes_nothing_that_is_over(world: CaseWorld) -> None:
    await world.happens(notice(), later(1, event="cleared"), later(2, event="unknown"), later(3, event="cleared"))
    assert [case["state"] for case in await world.cases()] == ["resolved"]
    assert len(await world.messages()) == 2


async def test_a_graver_update_raises_the_case(world: CaseWorld) -> None:
    await world.happens(notice(severity="minor"), later(1, event="updated", severity="minor"))
    assert await world.types() == ["case.opened"]
    await world.happens(later(2, event="updated", severity="critical"))
    (case,) = await world.cases()
    assert (case["severity"], case["team"]) == ("critical", "Product safety")
    assert (await world.messages())[-1]["data"]["change"] == "severity_raised"


async def test_an_agent_ends_a_case_whose_alarm_goes_on(world: CaseWorld) -> None:
    await world.happens(notice())
    await world.deliver()
    assert await world.call_back(status="resolved", outcome="true", note="sent a new machine") == "applied"
    await world.happens(later(1, event="updated"), later(30, event="updated"))
    (case,) = await world.cases()
    assert (case["state"], case["resolution"], case["outcome"]) == ("resolved", "resolved_by_agent", "true")
    assert await world.types() == ["case.opened"]


async def test_another_sign_of_what_an_agent_has_just_dealt_with_is_no_news(world: CaseWorld) -> None:
    await world.happens(notice())
    await world.deliver()
    await world.call_back(status="resolved")
    await world.happens(notice(watch="energy-high", at_s=NOON + HOUR))
    assert [case["state"] for case in await world.cases()] == ["resolved"]
    (decision,) = await world.rows("SELECT reason FROM decision WHERE outcome = 'refuse'")
    assert decision["reason"] == "handled"
    await world.happens(notice(watch="cut-off", severity="critical", at_s=NOON + 2 * HOUR))
    (case,) = await world.cases()
    assert (case["state"], case["relapses"]) == ("open", 1)


async def test_a_relapse_after_the_agents_work_opens_the_case_again(world: CaseWorld) -> None:
    await world.happens(notice())
    await world.deliver()
    await world.call_back(status="resolved", outcome="true")
    await world.happens(later(2, event="cleared"), again(3))
    (case,) = await world.cases()
    assert (case["state"], case["relapses"]) == ("open", 1)


async def test_what_an_agent_called_no_fault_stays_closed_for_a_day(world: CaseWorld) -> None:
    await world.happens(notice())
    await world.deliver()
    await world.call_back(status="rejected", outcome="false")
    await world.happens(later(2, event="cleared"), again(3))
    assert [case["state"] for case in await world.cases()] == ["retracted"]
    await world.happens(notice(at_s=NOON + 3 * DAY, started_at_s=NOON + 3 * DAY))
    assert [case["state"] for case in await world.cases()] == ["retracted", "open"]


@pytest.mark.parametrize("status", ["resolved", "rejected", "in_progress", "waiting"])
async def test_a_false_alarm_is_taken_back_whatever_the_status_of_its_record(world: CaseWorld, status: str) -> None:
    await world.happens(notice())
    await world.deliver()
    assert await world.call_back(status=status, outcome="false") == "applied"
    (case,) = await world.cases()
    assert (case["state"], case["resolution"], case["outcome"]) == ("retracted", "called_wrong_by_agent", "false")
    is_closed_there = status in {"resolved", "rejected"}
    assert await world.types() == ["case.opened"] + ([] if is_closed_there else ["case.retracted"])
    assert "apologise" not in case["ending"]


async def test_agents_are_asked_to_apologise_for_a_false_alarm_that_the_owner_was_told_of(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(notice(watch="heats-slowly", problem="limescale", metric="heat_up_time"))
    await world.contact()
    await world.call_back(status="resolved", outcome="false")
    (case,) = await world.cases()
    retracted = (await world.messages())[-1]
    assert (case["state"], retracted["type"]) == ("retracted", "case.retracted")
    assert "apologise" in retracted["data"]["brief"]


async def test_callbacks_move_the_case_once_and_in_their_order(world: CaseWorld) -> None:
    await world.happens(notice())
    assert await world.call_back(status="accepted") == "unknown_case"  # it was never told
    await world.deliver()
    assert await world.call_back(status="waiting", version=3) == "applied"
    assert await world.call_back(status="in_progress", version=2) == "old_version"
    assert await world.call_back(status="in_progress", version=3) == "old_version"
    assert [case["state"] for case in await world.cases()] == ["waiting"]
    assert await world.call_back(status="in_progress", version=4) == "applied"
    assert await world.call_back(status="accepted") == "no_change"
    assert await world.call_back(status="accepted", endpoint="crm-z") == "unknown_case"
    assert await world.call_back(status="accepted", case_id="case_none") == "unknown_case"
    assert [case["state"] for case in await world.cases()] == ["open"]
    assert await world.types() == ["case.opened"]  # the one who tells us need not be told


async def test_an_agents_judgement_counts_after_telemetry_closed_the_case(world: CaseWorld) -> None:
    await world.happens(notice())
    await world.deliver()
    await world.happens(later(1, event="cleared"))
    assert await world.call_back(status="resolved", outcome="true") == "applied"
    assert await world.call_back(status="waiting") == "no_change"
    (case,) = await world.cases()
    assert (case["resolution"], case["outcome"]) == ("recovered_in_telemetry", "true")


async def test_late_readings_that_move_an_alarms_beginning_are_told_once(world: CaseWorld) -> None:
    first = notice()
    moved = later(1, event="updated", alarm_id=first.alarm_id)
    moved = replace(moved, started_at_s=first.started_at_s - 5 * HOUR)
    await world.happens(first, moved, replace(moved, recorded_at_s=moved.recorded_at_s + HOUR))
    opened, corrected = await world.messages()
    assert (opened["type"], corrected["data"]["change"]) == ("case.opened", "alarm_corrected")
    (alarm,) = corrected["data"]["alarms"]
    assert alarm["started_at"] != opened["data"]["alarms"][0]["started_at"]


async def test_an_alarm_taken_back_beside_a_new_one_keeps_the_case(world: CaseWorld) -> None:
    await world.happens(notice(), again(2), later(2, event="retracted"))
    (case,) = await world.cases()
    assert case["state"] == "open"
    await world.happens(later(3, event="cleared", alarm_id=again(2).alarm_id))
    (case,) = await world.cases()
    assert (case["state"], case["resolution"]) == ("resolved", "recovered_in_telemetry")
