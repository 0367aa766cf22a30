"""The owner's own word: looked at by scanners, pressed once, and worth something to watch and case."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from crm_sync.settings import CrmSettings
from gateway.api.answers import answers_router
from tests.services.case_world import DAY, HOUR, NOON, CaseWorld, endpoint, open_world, scale

SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"
VOICE = {"base_url": "https://care.example.com", "secret": SECRET}


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url, voice=VOICE, outreach={"caps": [], "debounce": 0}) as opened:
        await opened.grant("email")
        yield opened


async def link(world: CaseWorld) -> str:
    """Where the owner's last message leads."""
    await world.contact()
    messages = [each for each in await world.messages() if "outreach" in each["data"]]
    return str(messages[-1]["data"]["outreach"]["link"]).removeprefix("https://care.example.com")


def browser(world: CaseWorld) -> httpx.AsyncClient:
    app = FastAPI()
    answers_router(world.pool, "default", world.settings, world.clock).install(app, "/v1")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://care.example.com")


async def press(world: CaseWorld, at: str, answer: str) -> httpx.Response:
    async with browser(world) as client:
        return await client.post(at, data={"answer": answer})


async def state(world: CaseWorld) -> tuple[str, str | None]:
    case = (await world.cases())[-1]
    return case["state"], case["resolution"]


async def verdicts(world: CaseWorld) -> list[tuple[str, str, float]]:
    rows = await world.rows("SELECT verdict, source, weight FROM case_verdict ORDER BY verdict_id")
    return [(row["verdict"], row["source"], row["weight"]) for row in rows]


async def test_looking_at_the_page_answers_nothing(world: CaseWorld) -> None:
    await world.happens(scale())
    at = await link(world)
    async with browser(world) as client:
        for method in ("GET", "HEAD", "GET"):
            page = await client.request(method, at)
            assert page.status_code == 200
    assert page.text.count("<button") == 3
    assert "own-1" not in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "noindex" in page.headers["x-robots-tag"]
    assert await world.rows("SELECT FROM owner_answer") == []
    assert await state(world) == ("open", None)


async def test_wrong_takes_the_case_back_with_an_apology_and_nothing_more_is_sent(world: CaseWorld) -> None:
    await world.happens(scale())
    at = await link(world)
    thanks = await press(world, at, "wrong")
    assert thanks.status_code == 200
    assert "Nothing was wrong" in thanks.text
    assert await state(world) == ("retracted", "called_wrong_by_owner")
    assert await verdicts(world) == [("false", "owner", 0.5)]
    assert await world.rows("SELECT who, what, inputs FROM audit") == [
        {"who": "owner", "what": "case.owner_answer", "inputs": {"answer": "wrong"}}
    ]
    retracted = (await world.messages())[-1]
    assert (retracted["type"], retracted["data"]["owner_ref"]) == ("case.retracted", None)
    assert "apologise" in retracted["data"]["brief"]
    told = len(await world.messages())
    await world.happens(
        scale(NOON + HOUR, event="updated", started_at_s=NOON - HOUR), scale(NOON + 2 * HOUR, watch="scale-again")
    )
    assert len(await world.messages()) == told


async def test_what_seemed_to_help_did_not_where_the_owner_says_that_it_is_not_solved(world: CaseWorld) -> None:
    tally = "SELECT worked, failed FROM action_tally WHERE action LIKE 'self_help_message:%%' AND problem = %s"
    await world.happens(scale())
    at = await link(world)
    await world.happens(scale(NOON + HOUR, event="cleared", started_at_s=NOON - HOUR))
    assert await world.rows(tally, "limescale") == [{"worked": 1, "failed": 0}]
    await press(world, at, "not_solved")
    assert await state(world) == ("open", None)
    assert await world.rows(tally, "limescale") == [{"worked": 0, "failed": 1}]


async def test_what_is_critical_is_not_taken_back_on_an_owners_word(plain_database_url: str) -> None:
    outreach: dict[str, Any] = {"approval": {"severities": []}}
    async with open_world(plain_database_url, voice=VOICE, outreach=outreach) as world:
        await world.grant("email")
        await world.happens(scale(severity="critical"))
        await press(world, await link(world), "wrong")
        assert await state(world) == ("open", None)
        told = (await world.messages())[-1]["data"]
        assert (told["change"], told["owner_answer"]) == ("owner_says_wrong", "wrong")


async def test_by_policy_wrong_is_only_noted(plain_database_url: str) -> None:
    async with open_world(plain_database_url, voice=VOICE | {"wrong": "note"}) as world:
        await world.grant("email")
        await world.happens(scale())
        await press(world, await link(world), "wrong")
        assert await state(world) == ("open", None)


async def test_solved_while_telemetry_still_shows_it_is_a_note(world: CaseWorld) -> None:
    await world.happens(scale())
    await press(world, await link(world), "solved")
    assert await state(world) == ("open", None)
    assert (await world.messages())[-1]["data"]["owner_answer"] == "solved"
    assert await verdicts(world) == [("true", "owner", 0.5)]


async def test_solved_of_a_product_that_fell_silent_resolves(world: CaseWorld) -> None:
    await world.happens(scale())
    at = await link(world)
    await world.happens(scale(NOON + HOUR, event="unknown", started_at_s=NOON - HOUR))
    await press(world, at, "solved")
    assert await state(world) == ("resolved", "solved_by_owner")
    assert (await world.types())[-1] == "case.resolved"


async def test_not_solved_opens_a_resolved_case_again(world: CaseWorld) -> None:
    await world.happens(scale())
    at = await link(world)
    await world.call_back(status="resolved", outcome="true")
    await press(world, at, "not_solved")
    assert await state(world) == ("open", None)
    again = (await world.messages())[-1]
    assert (again["data"]["change"], again["data"]["owner_answer"]) == ("reopened", "not_solved")
    assert (await world.rows("SELECT relapses FROM service_case"))[0]["relapses"] == 1


async def test_not_solved_of_an_open_case_reaches_the_agents(world: CaseWorld) -> None:
    await world.happens(scale())
    await press(world, await link(world), "not_solved")
    assert await state(world) == ("open", None)
    assert (await world.messages())[-1]["data"]["change"] == "owner_says_not_solved"


async def test_not_solved_of_an_old_case_goes_to_the_one_that_lives(world: CaseWorld) -> None:
    await world.happens(scale())
    at = await link(world)
    await world.happens(scale(NOON + HOUR, event="cleared", started_at_s=NOON - HOUR), scale(NOON + 2 * DAY))
    await press(world, at, "not_solved")
    assert [case["state"] for case in await world.cases()] == ["resolved", "open"]
    assert (await world.messages())[-1]["data"]["change"] == "owner_says_not_solved"
    assert (await world.messages())[-1]["stream_key"] == (await world.cases())[-1]["case_id"]


async def test_an_answer_counts_once_however_often_it_is_given(world: CaseWorld) -> None:
    await world.happens(scale())
    at = await link(world)
    pages = await asyncio.gather(*(press(world, at, "not_solved") for _ in range(5)))
    assert {page.status_code for page in pages} == {200}
    changed = await press(world, at, "solved")
    assert "told us already" in changed.text
    assert "It is not solved" in changed.text
    assert await verdicts(world) == [("true", "owner", 0.5)]
    assert [m["data"]["change"] for m in await world.messages()].count("owner_says_not_solved") == 1


async def test_a_link_that_expired_or_is_anothers_answers_nothing(world: CaseWorld) -> None:
    await world.happens(scale())
    at = await link(world)
    assert (await press(world, f"{at[:-1]}!", "wrong")).status_code == 404
    await world.own(owner_ref="own-2")
    async with world.pool.connection() as conn:
        await conn.execute("UPDATE service_case SET owner_ref = 'own-2'")
    assert (await press(world, at, "wrong")).status_code == 404
    async with world.pool.connection() as conn:
        await conn.execute("UPDATE service_case SET owner_ref = 'own-1'")
    world.clock.at_s = NOON + 14 * DAY
    async with browser(world) as client:
        assert (await client.get(at)).status_code == 404
    assert (await press(world, at, "wrong")).status_code == 404
    assert await state(world) == ("open", None)


async def test_what_is_no_answer_asks_again(world: CaseWorld) -> None:
    await world.happens(scale())
    at = await link(world)
    for body in (b"", b"answer=maybe", b"x" * 5000, b"\xff\xfe"):
        async with browser(world) as client:
            page = await client.post(at, content=body)
        assert (page.status_code, page.text.count("<button")) == (400, 3)
    assert await world.rows("SELECT FROM owner_answer") == []


async def test_with_the_database_away_the_owner_is_asked_to_come_back(world: CaseWorld) -> None:
    await world.happens(scale())
    at = await link(world)
    async with browser(world) as client:
        await world.pool.close()
        assert (await client.get(at)).status_code == 503
        assert (await client.post(at, data={"answer": "solved"})).status_code == 503


def test_without_an_address_messages_have_no_link() -> None:
    assert CrmSettings(endpoints=(endpoint(),)).voice.base_url == ""
