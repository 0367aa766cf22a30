"""The children of a major case: their owners are not contacted one by one, and those still ill at its end go on."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from crm_sync.cases import children
from crm_sync.explain import explain_case
from crm_sync.incidents import IncidentNotice, put_incidents
from crm_sync.policy.model import Reason, Verdict
from crm_sync.queries import get_case
from tests.services.case_world import HOUR, NOON, CaseWorld, notice, open_world
from tests.services.contacts import steps

NIGHT = NOON + 10 * HOUR  # 22:00 in Berlin
INCIDENT = IncidentNotice(
    tenant_id="default",
    incident_id="inc_1",
    event="opened",
    kind="bad_firmware",
    model="coffee-machine",
    firmware="2.5.0",
    region=None,
    problems=("limescale",),
    severity="major",
    title="Coffee machine: firmware 2.5.0 brings trouble: limescale",
    says="Many of them.",
    team="quality",
    devices=9,
    recorded_at_s=NOON,
)


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        yield opened


def scale(device_id: str = "cm-1", at_s: float = NIGHT, **changes: Any) -> Any:
    """Limescale, for which the playbook has a message to the owner by email."""
    values = {"watch": "heats-slowly", "problem": "limescale", "metric": "heat_up_time", "severity": "minor"}
    return notice(at_s=at_s, device_id=device_id, **(values | changes))


async def befall(world: CaseWorld, *alarms: Any, **changes: Any) -> None:
    """An incident takes alarms that were told of before."""
    told = replace(INCIDENT, alarm_ids=tuple(each.alarm_id for each in alarms), **changes)
    async with world.pool.connection() as conn:
        await put_incidents(conn, [told])
    await world.work()


async def end(world: CaseWorld) -> None:
    await befall(world, event="ended", ending="it is over", alarms=9, going_on=1)


async def child_of(world: CaseWorld) -> dict[str, Any]:
    return next(case for case in await world.cases() if not case["asset_id"].startswith("inc_"))


async def test_what_was_planned_for_a_childs_owner_is_withdrawn_and_explained(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(ill := scale())
    assert await steps(world) == [("held", None)]
    await befall(world, ill)
    assert await steps(world) == [("withdrawn", "incident")]
    child = await child_of(world)
    async with world.pool.connection() as conn:
        view = await get_case(conn, "default", child["case_id"])
    assert view is not None
    told = [line.says for line in explain_case(view).lines]
    assert (
        "cohort: no to contacting the owner by email: it is one of many devices, for which one major case speaks"
        in told
    )
    (_, joined) = [each["data"] for each in await world.messages() if each["stream_key"] == child["case_id"]]
    assert (joined["change"], joined["parent"]) == ("joined_major_case", child["parent_id"])


async def test_what_was_on_its_way_is_not_sent_to_a_childs_owner(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(ill := scale(at_s=NOON))
    await befall(world, ill)
    decided = {
        row["data"]["change"]: await world.ask(row)
        for row in await world.messages()
        if row["data"]["change"] in {"opened", "outreach"}
    }
    assert decided["outreach"].verdict is Verdict.WITHDRAW
    assert decided["outreach"].reason is Reason.INCIDENT
    assert await steps(world) == [("withdrawn", "incident")]


async def test_who_is_ill_still_when_it_is_over_leaves_and_is_asked_about_anew(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(ill := scale())
    await befall(world, ill)
    await world.contact()  # the CRM knows of both
    await end(world)
    child = await child_of(world)
    assert (child["state"], child["left_major_at"] is not None) == ("open", True)
    left, over = (await world.messages())[-2:]
    assert (left["data"]["change"], left["data"]["left"]) == ("left_major_case", child["parent_id"])
    assert "parent" not in left["data"]
    assert over["type"] == "case.resolved"
    waits = await world.ask(over)  # a CRM that closes what is tied to it hears first that this one goes on
    assert (waits.verdict, waits.reason) == (Verdict.HOLD, Reason.INCIDENT)
    async with world.pool.connection() as conn:
        await conn.execute("UPDATE outbox_stream SET next_attempt_at = NULL WHERE stream_key = %s", [child["case_id"]])
    assert (await world.ask(over)).verdict is Verdict.SEND
    assert await steps(world) == [("held", None)]
    world.clock.at_s = NIGHT + 12 * HOUR
    await world.release_steps()
    assert await steps(world) == [("queued", None)]
    assert (await world.messages())[-1]["data"]["change"] == "outreach"


async def test_many_children_leave_some_at_a_time_however_often_it_is_interrupted(
    world: CaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "LEAVE_AT_ONCE", 2)
    ill = [scale(f"cm-{number}") for number in range(1, 6)]
    await world.happens(*ill)
    await befall(world, *ill)
    left = "SELECT count(*)::int AS n FROM service_case WHERE left_major_at IS NOT NULL"
    major = "SELECT state FROM service_case WHERE asset_id = 'inc_1'"
    async with world.pool.connection() as conn:
        await put_incidents(conn, [replace(INCIDENT, event="ended", ending="it is over", alarms=9, going_on=1)])
    told: list[tuple[int, str]] = []
    worker = world.worker()
    while await worker.work_batch():
        ((gone,), (state,)) = [tuple(row.values()) for query in (left, major) for row in await world.rows(query)]
        told.append((gone, state))
    assert told == [(2, "open"), (4, "open"), (5, "resolved")], "and it is resolved when the last has left"
    (moves,) = await world.rows("SELECT count(*)::int AS n FROM case_transition WHERE reason = 'left_major_case'")
    assert moves["n"] == 5


async def test_a_child_that_left_may_be_taken_by_the_next_incident(world: CaseWorld) -> None:
    await world.happens(ill := scale())
    await befall(world, ill)
    await end(world)
    await befall(world, ill, incident_id="inc_2")
    child = await child_of(world)
    major = next(case for case in await world.cases() if case["asset_id"] == "inc_2")
    assert (child["parent_id"], child["left_major_at"]) == (major["case_id"], None)


async def test_owners_of_what_may_hurt_somebody_are_contacted_all_the_same(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(ill := scale())
    await befall(world, ill)
    await world.happens(replace(scale(severity="critical"), event="updated", alarm_id=ill.alarm_id))
    assert await steps(world) == [("held", None)]
    world.clock.at_s = NIGHT + 12 * HOUR
    await world.release_steps()
    assert [state for state, _ in await steps(world)] == ["proposed"]  # to a person, as of everything critical


async def test_of_many_children_only_the_first_are_told_one_by_one(
    world: CaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "TOLD_CHILDREN", 2)
    alarms = [scale(f"cm-{number}") for number in range(1, 5)]
    for number in range(2, 5):
        await world.own(f"cm-{number}", f"own-{number}")
    await world.happens(*alarms)
    await befall(world, *alarms)
    joined = [each["data"] for each in await world.messages() if each["data"]["change"] == "joined_major_case"]
    assert len(joined) == 2
    everyone = [case for case in await world.cases() if case["parent_id"] is not None]
    assert len(everyone) == 4
    # Who was not told says so in the next message.
    await world.happens(replace(scale("cm-4", severity="major"), event="updated", alarm_id=alarms[3].alarm_id))
    said = (await world.messages())[-1]["data"]
    assert (said["change"], said["parent"]) == ("severity_raised", everyone[3]["parent_id"])


async def test_what_comes_back_after_the_incident_is_nobody_elses_child(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(ill := scale())
    await befall(world, ill)
    await world.contact()
    over_s = NIGHT + HOUR
    await world.happens(replace(ill, event="cleared", ts_s=over_s, head_ts_s=over_s, recorded_at_s=over_s))
    await end(world)
    world.clock.at_s = NIGHT + 2 * HOUR
    await world.happens(scale(at_s=NIGHT + 2 * HOUR))
    child = await child_of(world)
    assert (child["state"], child["relapses"], child["left_major_at"] is not None) == ("open", 1, True)
    (reopened,) = [each["data"] for each in await world.messages() if each["data"]["change"] == "reopened"]
    assert "parent" not in reopened
    assert ("held", None) in await steps(world)
