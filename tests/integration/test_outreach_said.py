"""A person's yes and no, switches and holds: by command and over HTTP; and all of it in words."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from crm_sync.explain import explain_case, explain_owner
from crm_sync.owners.news import take_news
from crm_sync.owners.standing import standing_of
from crm_sync.owners.told import Contacted, HumanCase, LeaveAlone
from crm_sync.policy.shown import list_decisions, steps_of_owner
from crm_sync.queries import find_case_id, get_case
from devices.errors import CareloopError
from gateway.api.outreach import outreach_router
from gateway.api.router import Router
from gateway.cli.outreach import outreach
from gateway.people.model import Role
from gateway.people.people import Pool
from tests.services.case_world import HOUR, NOON, CaseWorld, notice, open_world
from tests.services.people import House, open_house


def scale(at_s: float = NOON, **changes: Any) -> Any:
    values = {"watch": "heats-slowly", "problem": "limescale", "metric": "heat_up_time", "severity": "critical"}
    return notice(at_s=at_s, **(values | changes))


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        await opened.grant("email")
        yield opened


@pytest.fixture
async def house(world: CaseWorld, plain_database_url: str) -> AsyncIterator[House]:
    def build(pool: Pool) -> list[Router]:
        return [outreach_router(pool, world.settings, world.clock)]

    async with open_house(plain_database_url, build) as opened:
        yield opened


async def waiting(client: httpx.AsyncClient, **params: int | str) -> list[dict[str, Any]]:
    """Every contact that waits, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        page = (await client.get("/v1/outreach/waiting", params=params)).raise_for_status().json()
        found += page["items"]
        assert page["items"] or not found, "a full last page says that it is the last"
        if page["next"] is None:
            return found
        params["cursor"] = page["next"]


async def test_contacts_are_approved_and_declined_over_http(world: CaseWorld, house: House) -> None:
    await world.own("cm-2", "own-2")
    await world.grant("email", owner_ref="own-2")
    await world.happens(scale(), scale(device_id="cm-2"))
    async with house.client(await house.token(Role.AGENT)) as client:
        first, second = await waiting(client, limit=1)
        assert [first, second] == await waiting(client)
        assert [first["step_id"], second["step_id"]] == sorted([first["step_id"], second["step_id"]])
        answer = await client.get(f"/v1/outreach/waiting/{first['step_id']}")
        assert answer.json() == first
        seen = {"If-Match": answer.headers["ETag"]}
        path = f"/v1/outreach/{first['step_id']}/approve"
        assert (await client.post(path, json={}, headers={"If-Match": '"another"'})).status_code == 412
        assert (first["channel"], first["action"], bool(first["text"])) == ("email", "coffee-descale", True)
        yes = await client.post(path, json={}, headers=seen)
        assert yes.status_code == 200
        assert (await client.post(f"/v1/outreach/{first['step_id']}/approve", json={})).status_code == 409
        await client.post(f"/v1/outreach/{second['step_id']}/decline", json={"why": "call"})
        assert await waiting(client) == []
        assert (await client.get(f"/v1/outreach/waiting/{first['step_id']}")).status_code == 404
    looks = await house.rows("SELECT count(*) FROM audit WHERE what = 'contact.list'")
    assert looks == [(1,)]  # the second within ten minutes is the same look
    rows = await world.rows("SELECT state, reason, approved_by FROM held_step ORDER BY state")
    assert [(row["state"], row["reason"], row["approved_by"]) for row in rows] == [
        ("held", None, "token:default-agent"),
        ("withdrawn", "declined", None),
    ]
    async with house.client(await house.token(Role.VIEWER)) as client:
        assert (await client.post(f"/v1/outreach/{first['step_id']}/approve", json={})).status_code == 403


async def test_switches_and_holds_over_http(world: CaseWorld, house: House) -> None:
    async with house.client(await house.token(Role.OPERATOR)) as client:
        stop = {"scope": "problem", "name": "limescale", "why": "wrong words"}
        thrown = (await client.post("/v1/outreach/stopped", json=stop)).raise_for_status().json()
        assert [each["name"] for each in thrown["switches"]] == [stop["name"]]
        assert (await client.post("/v1/outreach/stopped", json=stop)).status_code == 409
        assert (await client.post("/v1/outreach/stopped", json={"scope": "watch", "why": "x"})).status_code == 422
        hold = {"kind": "complaint", "why": "letter of 2 March"}
        assert (await client.post("/v1/owners/own-1/holds", json=hold)).status_code == 204
        assert (await client.post("/v1/owners/own-9/holds", json=hold)).status_code == 404
        read = await client.get("/v1/outreach/stopped")
        shown, seen = read.json(), {"If-Match": read.headers["ETag"]}
        assert (shown["kill_switch"], shown["switches"][0]["name"]) == (False, "limescale")
        assert (shown["holds"][0]["owner_ref"], shown["holds"][0]["kind"]) == ("own-1", "complaint")
        await world.happens(scale())
        assert await world.cases() == []
        assert (
            await client.delete("/v1/outreach/stopped/problem/*/limescale", headers={"If-Match": '"x"'})
        ).status_code == 412
        assert (await client.delete("/v1/outreach/stopped/problem/*/limescale", headers=seen)).status_code == 204
        assert (await client.delete("/v1/outreach/stopped/problem/*/limescale")).status_code == 404
        assert (await client.delete("/v1/owners/own-1/holds/complaint")).status_code == 204
        assert (await client.delete("/v1/owners/own-1/holds/complaint")).status_code == 404


async def test_an_owner_is_told_why_in_words_and_from_when_on(world: CaseWorld) -> None:
    async with world.pool.connection() as conn:
        for news in (
            Contacted("own-1", "call-1", NOON - 50 * HOUR, "phone", by_human=False),
            Contacted("own-1", "mail-1", NOON - 30 * HOUR, "email", by_human=False),
            Contacted("own-1", "mail-2", NOON - 1 * HOUR, "email", by_human=False),
        ):
            await take_news(conn, "default", "helpdesk", news, NOON)
    await world.happens(scale(severity="minor"))
    async with world.pool.connection() as conn:
        await take_news(
            conn, "default", "helpdesk", HumanCase("4711", is_open=True, at_s=NOON, owner_ref="own-1"), NOON
        )
        await take_news(
            conn, "default", "helpdesk", LeaveAlone("own-1", "legal_hold", is_on=True, why="court"), NOON
        )  # fmt: skip
        decisions = await list_decisions(conn, "default", owner_ref="own-1")
        steps = await steps_of_owner(conn, "default", "own-1")
        story = explain_owner("own-1", decisions, steps, await standing_of(conn, "default", "own-1", NOON))
    assert story.answer == (
        "own-1 was never contacted. What was left undone: the owner had 3 contacts within 168 h, of all products and "
        "teams; allowed is 3; would be allowed again from 2026-03-08 09:00 UTC. To be left alone: legal hold "
        "(crm:helpdesk: court). People are working on 4711 (helpdesk)."
    )
    assert "another team contacted the owner by email, as helpdesk tells (mail-2)" in [
        line.says for line in story.lines
    ]


async def test_a_case_is_explained_by_its_number_too(world: CaseWorld) -> None:
    await world.happens(scale())
    (case,) = await world.cases()
    async with world.pool.connection() as conn:
        assert await find_case_id(conn, "default", str(case["number"])) == case["case_id"]
        assert await find_case_id(conn, "default", case["case_id"]) == case["case_id"]
        assert await find_case_id(conn, "default", "99999") == "99999"
        view = await get_case(conn, "default", case["case_id"])
    assert view is not None
    (asked,) = [line.says for line in explain_case(view).lines if line.says.startswith("approval")]
    assert asked.startswith("approval: not yet until 2026-03-04 11:00 UTC to contacting the owner by email")
    assert asked.endswith("a person must say yes first: severity critical")


def call(*arguments: str) -> str:
    done = CliRunner().invoke(outreach, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_says_yes_stops_and_leaves_alone(plain_database_url: str, tmp_path: Path) -> None:
    import psycopg  # noqa: PLC0415 - this test alone is not asynchronous

    with psycopg.connect(plain_database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO owner (tenant_id, owner_ref) VALUES ('default', 'own-1')")
        conn.execute(
            "INSERT INTO service_case (case_id, tenant_id, asset_id, device_id, problem, state, severity, title, brief,"
            " team, opened_at, updated_at) VALUES ('case_1', 'default', 'a', 'a', 'p', 'open', 'critical', 't', 'b',"
            " 'c', now(), now())"
        )
        for step in ("step_1", "step_2"):
            conn.execute(
                "INSERT INTO held_step (step_id, tenant_id, case_id, endpoint, owner_ref, kind, channel, text, state,"
                " due_at, decided_at, expires_at) VALUES (%s, 'default', 'case_1', 'crm', 'own-1', 'self_help_message',"
                " 'email', 'words', 'proposed', now(), now(), now() + interval '1 day')",
                [step],
            )
    config = tmp_path / "careloop.toml"
    config.write_text(f'[database]\nurl = "{plain_database_url}"\n[state]\nfolder = "{tmp_path}"\n')
    at = ("--config", str(config))
    assert "step_1  case_1  own-1  email: self_help_message  until" in call("waiting", *at)
    assert call("approve", "step_1", "--by", "ann", *at) == "step_1: approved\n"
    assert call("decline", "step_2", "--why", "call", "--by", "ann", *at) == "step_2: declined\n"
    assert call("waiting", *at) == "nothing waits\n"
    assert call("waiting", "--json", *at) == "[]\n"
    assert call("stopped", *at) == "nothing is stopped\n"
    call("stop", "--watch", "heats-slowly", "--model", "coffee-machine", "--why", "too many", "--by", "ann", *at)
    with pytest.raises(CareloopError, match="it is stopped"):
        call("stop", "--watch", "heats-slowly", "--model", "coffee-machine", "--why", "again", *at)
    call("hold", "own-1", "do_not_contact", "--why", "asked for it", *at)
    shown = call("stopped", *at)
    assert "watch heats-slowly on coffee-machine: stopped by person:ann" in shown
    assert "owner own-1: do_not_contact" in shown
    assert len(json.loads(call("stopped", "--json", *at))["holds"]) == 1
    assert call("resume", "--watch", "heats-slowly", "--model", "coffee-machine", *at) == "goes on\n"
    assert call("release", "own-1", "do_not_contact", *at) == "own-1: do_not_contact released\n"
    for wrong in (("resume",), ("release", "own-1", "complaint"), ("hold", "own-9", "complaint", "--why", "x")):
        with pytest.raises(CareloopError):
            call(*wrong, *at)
