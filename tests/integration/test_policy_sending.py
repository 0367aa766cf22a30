"""What was decided is asked again right before it is sent; afterwards gateway and CRM agree."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from crm_sync.catching_up import look_again
from crm_sync.policy.model import Reason, SendDecision, Verdict
from crm_sync.queries import count_cases, get_case
from tests.services.case_world import HOUR, NOON, CaseWorld, endpoint, notice, open_world

SEND = SendDecision(Verdict.SEND)
OWNER_GATES = ("kill_switch", "grant", "suppression", "debounce", "frequency_cap", "quiet_hours", "approval")


def withdraw(reason: Reason) -> SendDecision:
    return SendDecision(Verdict.WITHDRAW, reason)


def later(hours: float, **changes: Any) -> Any:
    return notice(at_s=NOON + hours * HOUR, started_at_s=NOON - HOUR, **changes)


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        yield opened


async def endpoint_states(world: CaseWorld) -> dict[str, str]:
    rows = await world.rows("SELECT endpoint, state FROM case_endpoint ORDER BY endpoint")
    return {row["endpoint"]: row["state"] for row in rows}


async def test_a_case_that_recovered_before_anyone_heard_of_it_is_never_told(world: CaseWorld) -> None:
    await world.happens(notice(), later(1, event="cleared"))
    assert await world.deliver() == [
        ("case.opened", withdraw(Reason.RECOVERED)),
        ("case.resolved", withdraw(Reason.NEVER_ANNOUNCED)),
    ]
    assert await endpoint_states(world) == {"crm-a": "withdrawn"}
    (decision,) = await world.rows("SELECT subject, recipient, reason FROM decision WHERE outcome = 'refuse'")
    assert decision == {"subject": "message", "recipient": "crm-a", "reason": "recovered"}
    async with world.pool.connection() as conn:
        assert (await count_cases(conn, "default")).withdrawn == 1


async def test_a_grant_revoked_before_the_first_attempt_ends_the_case_in_silence(world: CaseWorld) -> None:
    await world.happens(notice())
    await world.grant("crm", "revoked")
    assert await world.deliver() == [("case.opened", withdraw(Reason.NO_GRANT))]
    (case,) = await world.cases()
    assert (case["state"], case["resolution"]) == ("retracted", "withdrawn")
    assert await world.types() == ["case.opened"]


async def test_a_grant_revoked_after_an_attempt_takes_the_case_back_aloud(world: CaseWorld) -> None:
    await world.happens(notice())
    (opened,) = await world.messages()
    assert await world.ask(opened) == SEND  # the answer got lost: the CRM may know of the case
    await world.grant("crm", "revoked")
    assert await world.ask(opened) == withdraw(Reason.NO_GRANT)
    _, retracted = await world.messages()
    assert (retracted["type"], retracted["data"]["state"], retracted["data"]["owner_ref"]) == (
        "case.retracted",
        "retracted",
        None,
    )
    assert await world.ask(retracted) == SEND
    assert await endpoint_states(world) == {"crm-a": "taken_back"}


async def test_an_attempt_whose_case_recovered_goes_on_and_is_followed_by_the_resolution(world: CaseWorld) -> None:
    await world.happens(notice())
    (opened,) = await world.messages()
    assert await world.ask(opened) == SEND
    await world.happens(later(1, event="cleared"))
    assert await world.deliver() == [("case.opened", SEND), ("case.resolved", SEND)]


async def test_one_crm_that_lost_its_grant_leaves_the_other_its_case(plain_database_url: str) -> None:
    async with open_world(plain_database_url, endpoints=(endpoint("crm-a"), endpoint("crm-b"))) as world:
        await world.happens(notice())
        await world.grant("crm-a", "revoked")
        assert await world.deliver("crm-a") == [("case.opened", withdraw(Reason.NO_GRANT))]
        assert await world.deliver("crm-b") == [("case.opened", SEND)]
        assert [case["state"] for case in await world.cases()] == ["open"]
        await world.happens(later(1, event="cleared"))
        assert await world.types("crm-a") == ["case.opened"]
        assert await world.deliver("crm-b") == [("case.resolved", SEND)]


async def test_a_relapse_opens_the_case_for_a_crm_that_never_heard_of_it(world: CaseWorld) -> None:
    await world.happens(notice(), later(1, event="cleared"))
    await world.deliver()
    await world.happens(notice(at_s=NOON + 2 * HOUR))
    assert (await world.types())[-1] == "case.opened"
    assert await world.deliver() == [("case.opened", SEND)]
    (case,) = await world.cases()
    assert (case["state"], case["relapses"]) == ("open", 1)


async def test_updates_stop_with_the_grant_but_the_end_is_told(world: CaseWorld) -> None:
    await world.happens(notice())
    await world.deliver()
    await world.grant("crm", "revoked")
    await world.happens(later(1, event="updated", severity="critical"), later(2, event="cleared"))
    assert await world.deliver() == [("case.updated", withdraw(Reason.NO_GRANT)), ("case.resolved", SEND)]
    assert "own-1" not in str((await world.messages())[-1]["data"])


async def test_a_product_sold_before_the_case_was_told_is_the_new_owners(world: CaseWorld) -> None:
    await world.happens(notice())
    await world.own(owner_ref="own-2")
    assert await world.deliver() == [("case.opened", withdraw(Reason.OWNER_CHANGED))]
    (decision,) = await world.rows("SELECT owner_ref, reason FROM decision WHERE outcome = 'refuse'")
    assert decision == {"owner_ref": "own-1", "reason": "owner_changed"}


async def test_the_kill_switch_holds_what_nobody_heard_of_yet(world: CaseWorld) -> None:
    await world.happens(notice())
    world.settings = world.settings.model_copy(update={"kill_switch": True})
    (opened,) = await world.messages()
    assert await world.ask(opened) == SendDecision(Verdict.HOLD, Reason.KILL_SWITCH)
    world.settings = world.settings.model_copy(update={"kill_switch": False})
    assert await world.ask(opened) == SEND


async def test_the_check_waits_for_nobody_who_is_changing_the_case(world: CaseWorld) -> None:
    await world.happens(notice())
    await world.grant("crm", "revoked")
    (opened,) = await world.messages()
    async with world.pool.connection() as conn, conn.transaction():
        await conn.execute("SELECT 1 FROM service_case FOR UPDATE")
        assert await world.ask(opened) == SendDecision(Verdict.HOLD, Reason.NO_GRANT)
    assert await world.ask(opened) == withdraw(Reason.NO_GRANT)


async def test_a_case_tells_its_whole_story(world: CaseWorld) -> None:
    await world.grant("email")
    await world.happens(notice(problem="limescale", watch="heats-slowly", metric="heat_up_time"))
    await world.deliver()
    (row,) = await world.cases()
    async with world.pool.connection() as conn:
        view = await get_case(conn, "default", row["case_id"])
    assert view is not None
    assert [(each.gate, each.outcome) for each in view.decisions] == [
        ("kill_switch", "allow"),
        ("freshness", "allow"),
        ("grant", "allow"),
        *((gate, "allow") for gate in OWNER_GATES),
    ]
    assert [(each.channel, each.state) for each in view.steps] == [("email", "sent")]
    assert [each.state for each in view.endpoints] == ["announced"]
    assert view.decisions[2].inputs["basis"] == "contract"


async def test_a_product_sold_while_its_case_is_open_gets_a_case_for_its_new_owner(world: CaseWorld) -> None:
    await world.happens(notice())
    await world.deliver()
    await world.own(owner_ref="own-2")
    await world.happens(later(1, event="updated"), notice(watch="energy-high", at_s=NOON + 2 * HOUR))
    first, second = await world.cases()
    assert (first["state"], first["resolution"], first["owner_ref"]) == ("retracted", "withdrawn", "own-1")
    assert (second["state"], second["owner_ref"], second["relapse_of"]) == ("open", "own-2", None)
    assert await world.types() == ["case.opened", "case.retracted", "case.opened", "case.updated"]
    assert [decision for _, decision in await world.deliver()] == [SEND, SEND, SEND]


async def test_a_fault_whose_case_was_withdrawn_is_looked_at_again_for_the_new_owner(world: CaseWorld) -> None:
    async def heads(_conn: object, device_ids: Sequence[str]) -> dict[str, float]:
        return dict.fromkeys(device_ids, NOON)

    async def look() -> int:
        async with world.pool.connection() as conn:
            return await look_again(conn, heads, 24 * HOUR, NOON)

    await world.happens(notice())
    assert await look() == 0
    await world.own(owner_ref="own-2")
    await world.deliver()
    assert await look() == 1
    await world.work()
    assert [case["owner_ref"] for case in await world.cases() if case["state"] == "open"] == ["own-2"]
    assert await look() == 0


async def test_a_case_of_nobody_that_finds_an_owner_is_still_told(world: CaseWorld) -> None:
    await world.own("cm-9", None)
    await world.happens(notice(device_id="cm-9"))
    await world.own("cm-9", "own-9")
    assert await world.deliver() == [("case.opened", SEND)]
