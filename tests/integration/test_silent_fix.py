"""A product that mends itself when told to: nobody is troubled; where that fails, people are told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from crm_sync.following import follow_fixes
from crm_sync.policy.switches import Switch, throw
from crm_sync.stopping import stop
from devices.clock import to_datetime
from devices.commands.model import CommandAnswer, CommandState, NewCommand
from devices.commands.queries import mark_delivered, put_command, take_answers
from devices.profiles.model import Profile
from tests.services.case_world import DAY, HOUR, NOON, CaseWorld, notice, open_world

PROFILE: dict[str, Any] = {
    "model": "coffee-machine",
    "title": "Coffee machine",
    "metrics": {"pump_pressure": {"kind": "gauge", "function": "pump"}},
    "commands": {"prime": {"expires_after": "1d"}, "reset": {}},
    "watches": [
        {
            "name": "pump-weak",
            "detector": "threshold",
            "metric": "pump_pressure",
            "keep_firing_for": "6h",
            "parameters": {"below": 7},
        }
    ],
    "playbooks": [
        {
            "problem": "pump",
            "title": "The pump is weak",
            "actions": [
                {"kind": "command", "command": "prime", "verify_within": "1d"},
                {"kind": "self_help_message", "channel": "email", "template": "press-the-tank"},
                {"kind": "agent_case", "team": "Repair", "sla_h": 24},
            ],
        }
    ],
}


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url, silent_fixes=True) as opened:
        use(opened)
        yield opened


def use(world: CaseWorld, **playbook: Any) -> None:
    """Give the coffee machine this playbook."""
    fields = PROFILE | {"playbooks": [PROFILE["playbooks"][0] | playbook]}
    world.profiles = {"coffee-machine": Profile.model_validate(fields)}


def weak(at_s: float = NOON, **changes: Any) -> Any:
    values = {"watch": "pump-weak", "problem": "pump", "metric": "pump_pressure", "severity": "major"}
    return notice(at_s=at_s, **(values | changes))


def well(at_s: float, began_s: float = NOON - HOUR, **changes: Any) -> Any:
    return weak(at_s, event="cleared", started_at_s=began_s, **changes)


async def commands(world: CaseWorld) -> list[tuple[str, str]]:
    rows = await world.rows("SELECT name, state FROM device_command ORDER BY issued_at, command_id")
    return [(row["name"], row["state"]) for row in rows]


async def reaches(world: CaseWorld, answer: CommandState | None = CommandState.DONE) -> None:
    """The command that waits reaches its device, which answers."""
    (row,) = await world.rows("SELECT command_id FROM device_command WHERE state IN ('queued', 'delivered')")
    async with world.pool.connection() as conn:
        await mark_delivered(conn, [row["command_id"]], world.clock.at_s)
        if answer is not None:
            await take_answers(conn, [CommandAnswer("cm-1", row["command_id"], answer)], world.clock.at_s)
    await follow(world)


async def follow(world: CaseWorld, after_s: float = 0.0) -> None:
    world.clock.at_s += after_s
    async with world.pool.connection() as conn, conn.transaction():
        await follow_fixes(conn, world.desk, "default", structlog.get_logger(), world.clock.at_s)


async def considered(world: CaseWorld) -> list[tuple[int, str, str, str]]:
    rows = await world.rows("SELECT round, action, verdict, reason FROM case_action ORDER BY case_id, round, place")
    return [(row["round"], row["action"], row["verdict"], row["reason"]) for row in rows]


async def tally(world: CaseWorld) -> dict[str, tuple[int, int]]:
    return {row["action"]: (row["worked"], row["failed"]) for row in await world.rows("SELECT * FROM action_tally")}


async def fate(world: CaseWorld) -> tuple[str, str | None]:
    (case,) = await world.cases()
    return case["state"], case["resolution"]


async def test_what_the_product_mends_itself_troubles_nobody(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(weak())
    assert await commands(world) == [("prime", "queued")]
    assert await fate(world) == ("waiting", None)
    assert await considered(world) == [
        (1, "command:prime", "chosen", "best"),
        (1, "self_help_message:email:press-the-tank", "waits", "silent_fix_first"),
        (1, "agent_case:Repair", "waits", "silent_fix_first"),
        (1, "nothing", "rejected", "something_to_do"),
    ]
    await reaches(world)
    assert await fate(world) == ("waiting", None)  # what the device says proves nothing
    await world.happens(well(NOON + 8 * HOUR))
    assert await fate(world) == ("resolved", "fixed_silently")
    assert await world.messages() == []
    assert await tally(world) == {"command:prime": (1, 0)}


async def test_what_was_well_before_the_command_recovered_by_itself(world: CaseWorld) -> None:
    await world.happens(weak())
    world.clock.at_s = NOON + 3 * HOUR
    await reaches(world)
    await world.happens(well(NOON + 8 * HOUR))  # well for six hours: an hour longer than it had the command
    assert await fate(world) == ("resolved", "recovered_in_telemetry")
    assert await world.messages() == []
    assert await tally(world) == {}


async def test_what_recovers_before_the_product_is_told_needs_no_command(world: CaseWorld) -> None:
    await world.happens(weak(), well(NOON + 8 * HOUR))
    assert await fate(world) == ("resolved", "recovered_in_telemetry")
    assert await commands(world) == [("prime", "cancelled")]


async def test_a_product_that_will_not_is_told_of_at_once(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(weak())
    await reaches(world, CommandState.REFUSED)
    assert await world.types() == ["case.opened", "case.updated"]
    (opened, outreach) = await world.messages()
    assert opened["data"]["tried"] == [{"command": "prime", "state": "failed", "reason": "refused"}]
    assert opened["data"]["next_action"] == {"kind": "agent_case", "what": "Repair"}
    assert outreach["data"]["outreach"]["template"] == "press-the-tank"
    assert await fate(world) == ("open", None)
    assert (await considered(world))[4:] == [
        (2, "command:prime", "rejected", "tried"),
        (2, "self_help_message:email:press-the-tank", "chosen", "best"),
        (2, "agent_case:Repair", "chosen", "best"),
        (2, "nothing", "rejected", "something_to_do"),
    ]
    assert await tally(world) == {"command:prime": (0, 1)}


async def test_done_without_effect_is_a_failure_once_its_time_is_over(world: CaseWorld) -> None:
    await world.happens(weak())
    await reaches(world)
    await follow(world, DAY - 60)
    assert await world.messages() == []
    await follow(world, 61)
    assert await world.types() == ["case.opened"]
    (case,) = await world.cases()
    assert case["sla_due_at"] == to_datetime(NOON + 2 * DAY + 1)  # agents have their time from when they hear of it
    assert await world.rows("SELECT state, reason FROM silent_fix") == [{"state": "failed", "reason": "no_effect"}]
    await world.happens(well(NOON + 2 * DAY))
    assert await fate(world) == ("resolved", "recovered_in_telemetry")
    assert await world.types() == ["case.opened", "case.resolved"]


async def test_a_product_that_falls_silent_has_not_recovered(world: CaseWorld) -> None:
    await world.happens(weak())
    await reaches(world)
    await world.happens(weak(NOON + HOUR, event="unknown", started_at_s=NOON - HOUR))
    await follow(world, DAY)
    assert await world.types() == ["case.opened"]
    assert await world.rows("SELECT state, reason FROM silent_fix") == [{"state": "failed", "reason": "silent"}]


async def test_a_command_that_never_arrives_says_nothing_about_itself(world: CaseWorld) -> None:
    await world.happens(weak())
    async with world.pool.connection() as conn:
        await conn.execute("UPDATE device_command SET state = 'expired'")
    await follow(world)
    assert await world.types() == ["case.opened"]
    assert await tally(world) == {}


async def test_what_is_critical_waits_for_nothing(world: CaseWorld) -> None:
    await world.happens(weak(severity="critical"))
    assert await world.types() == ["case.opened"]
    assert await commands(world) == [("prime", "queued")]
    await reaches(world)
    await world.happens(well(NOON + 8 * HOUR, severity="critical"))
    assert await fate(world) == ("resolved", "recovered_in_telemetry")  # a CRM knew of it
    assert await tally(world) == {"command:prime": (1, 0)}


async def test_what_becomes_critical_waits_no_longer(world: CaseWorld) -> None:
    await world.happens(weak())
    await reaches(world, None)
    await world.happens(weak(NOON + HOUR, event="updated", severity="critical", started_at_s=NOON - HOUR))
    await follow(world)
    assert await world.types() == ["case.opened"]
    await follow(world)
    await reaches(world, CommandState.REFUSED)
    assert await world.types() == ["case.opened", "case.updated"]
    assert (await world.messages())[-1]["data"]["change"] == "silent_fix_failed"


async def test_a_relapse_is_for_people_and_takes_the_success_back(world: CaseWorld) -> None:
    await world.happens(weak())
    await reaches(world)
    await world.happens(well(NOON + 8 * HOUR))
    await world.happens(weak(NOON + 12 * HOUR, started_at_s=NOON + 11 * HOUR))
    assert await world.types() == ["case.opened"]
    assert await fate(world) == ("open", None)
    assert await tally(world) == {"command:prime": (0, 1)}
    assert (await considered(world))[4][1:] == ("command:prime", "rejected", "tried")


async def test_what_keeps_coming_back_needs_a_person(world: CaseWorld) -> None:
    for n in range(4):
        began_s = NOON + n * 4 * DAY
        await world.happens(weak(began_s, started_at_s=began_s - HOUR))
        if n < 3:
            await reaches(world)
            await world.happens(well(began_s + 8 * HOUR, began_s - HOUR))
    assert [case["resolution"] for case in await world.cases()] == ["fixed_silently"] * 3 + [None]
    assert await world.types() == ["case.opened"]
    rows = await world.rows("SELECT reason FROM case_action WHERE kind = 'command' ORDER BY decided_at DESC LIMIT 1")
    assert rows == [{"reason": "too_often"}]


async def test_not_more_products_are_told_in_an_hour_than_the_settings_say(plain_database_url: str) -> None:
    async with open_world(plain_database_url, silent_fixes=True, silent_fixes_per_hour=1) as world:
        use(world)
        await world.own("cm-2", "own-2")
        await world.happens(weak(), weak(device_id="cm-2"))
        assert len(await commands(world)) == 1
        assert await world.types() == ["case.opened"]
        assert "too_many" in {reason for _, _, _, reason in await considered(world)}


async def test_silent_fixes_can_be_switched_off(plain_database_url: str) -> None:
    async with open_world(plain_database_url, silent_fixes=False) as world:
        use(world)
        await world.happens(weak())
        assert await commands(world) == []
        assert await world.types() == ["case.opened"]
        assert (await considered(world))[0] == (1, "command:prime", "rejected", "switched_off")


async def test_a_second_fix_is_tried_before_people_are_told(world: CaseWorld) -> None:
    actions = [
        {"kind": "command", "command": "prime"},
        {"kind": "command", "command": "reset"},
        {"kind": "agent_case", "team": "Repair"},
    ]
    use(world, actions=actions)
    await world.happens(weak())
    await reaches(world, CommandState.FAILED)
    assert await commands(world) == [("prime", "failed"), ("reset", "queued")]
    assert await world.messages() == []
    world.clock.at_s += 60
    await reaches(world)
    await world.happens(well(NOON + 8 * HOUR))
    assert await fate(world) == ("resolved", "fixed_silently")
    assert await tally(world) == {"command:prime": (0, 1), "command:reset": (1, 0)}


async def test_an_offer_needs_a_grant_for_marketing(world: CaseWorld) -> None:
    use(world, actions=[{"kind": "offer", "channel": "email", "template": "new-pump"}])
    await world.grant("email")
    await world.happens(weak())
    assert await world.types() == ["case.opened"]
    assert await considered(world) == [
        (1, "offer:email:new-pump", "rejected", "no_grant"),
        (1, "nothing", "chosen", "nothing_allowed"),
    ]
    await world.own("cm-2", "own-2")
    await world.grant("email", owner_ref="own-2", purpose="marketing")
    await world.happens(weak(device_id="cm-2"))
    assert await world.types() == ["case.opened", "case.opened", "case.updated"]


async def test_what_is_not_known_is_said(world: CaseWorld) -> None:
    actions = [
        {"kind": "part_or_visit", "part": "pump", "when": {"lifecycle_stages": ["in_use"]}},
        {"kind": "part_or_visit", "team": "Paid repair", "when": {"warranty": "out"}},
        {"kind": "agent_case", "team": "Repair", "when": {"warranty": "in"}},
    ]
    use(world, actions=actions)
    await world.happens(weak())
    assert [each[1:] for each in await considered(world)] == [
        ("part_or_visit:pump", "rejected", "unknown_lifecycle"),
        ("part_or_visit:visit", "rejected", "warranty"),
        ("agent_case:Repair", "chosen", "best"),
        ("nothing", "rejected", "something_to_do"),
    ]
    (case,) = await world.cases()
    assert case["team"] == "Repair"


async def test_agents_who_mend_it_are_counted(world: CaseWorld) -> None:
    await world.grant("email")
    use(world, actions=PROFILE["playbooks"][0]["actions"][1:])
    await world.happens(weak())
    await world.contact()
    await world.call_back(status="resolved", outcome="true")
    assert await tally(world) == {
        "agent_case:Repair": (1, 0),
        "self_help_message:email:press-the-tank": (0, 1),
    }


@pytest.mark.parametrize(
    ("scope", "model", "name", "is_stopped"),
    [
        ("tenant", "*", "*", True),
        ("problem", "coffee-machine", "pump", True),
        ("watch", "*", "pump-weak", True),
        ("problem", "coffee-machine", "boiler", False),
        ("watch", "freezer", "pump-weak", False),
    ],
)
async def test_a_kill_switch_withdraws_what_the_product_was_not_told_yet(
    world: CaseWorld, scope: Any, model: str, name: str, *, is_stopped: bool
) -> None:
    await world.happens(weak())
    by_person = NewCommand("cmd_1", "default", "cm-1", "reset", "person:anna", NOON, NOON + DAY)
    async with world.pool.connection() as conn, conn.transaction():
        await put_command(conn, by_person)
        assert await stop(conn, "default", Switch(scope, model, name, "person:anna", "recall", to_datetime(NOON)))
    assert sorted(await commands(world)) == [("prime", "cancelled" if is_stopped else "queued"), ("reset", "queued")]
    await follow(world)
    assert await fate(world) == (("retracted", "withdrawn") if is_stopped else ("waiting", None))
    assert await world.messages() == []


async def test_a_fix_that_was_ordered_while_a_switch_was_thrown_is_withdrawn(world: CaseWorld) -> None:
    await world.happens(weak())
    async with world.pool.connection() as conn:
        await throw(conn, "default", Switch("tenant", "*", "*", "person:anna", "recall", to_datetime(NOON)))
    await follow(world)
    assert await commands(world) == [("prime", "cancelled")]


async def test_what_a_product_has_acknowledged_is_not_withdrawn(world: CaseWorld) -> None:
    await world.happens(weak())
    await reaches(world, None)
    async with world.pool.connection() as conn:
        await stop(conn, "default", Switch("tenant", "*", "*", "person:anna", "recall", to_datetime(NOON)))
    assert await commands(world) == [("prime", "delivered")]
