"""Who gets in, for how long, and what they may do."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import MagicMock

import httpx
import pytest
from click.testing import CliRunner
from fastapi import Request

from devices.errors import CareloopError
from gateway.api.router import Router
from gateway.cli.people import people as people_command
from gateway.cli.tokens import tokens as tokens_command
from gateway.console.parts import Desk
from gateway.people import passwords
from gateway.people.door import Admin, Agent, Operator, Viewer
from gateway.people.model import Actor, Role
from gateway.people.people import FIRST_ADMIN, Pool
from tests.services.people import GOOD, House, open_house

WRONG = {"name": "ada", "password": "a wrong password"}


def rooms(_pool: Pool) -> list[Router]:
    """A route for each role, and a write."""
    router = Router()

    @router.get("/viewer")
    async def viewer(actor: Viewer) -> str:
        return str(actor)

    @router.get("/agent")
    async def agent(actor: Agent) -> str:
        return str(actor)

    @router.get("/operator")
    async def operator(actor: Operator) -> str:
        return str(actor)

    @router.get("/admin")
    async def admin(actor: Admin) -> str:
        return str(actor)

    @router.get("/page")
    async def page(request: Request) -> str:
        desk = Desk(*(MagicMock() for _ in range(5)))
        await desk.enter(request)
        return str(await desk.enter(request))  # counted once

    @router.post("/write")
    async def write(actor: Viewer) -> str:
        return str(actor)

    return [router]


@pytest.fixture
async def house(plain_database_url: str) -> AsyncIterator[House]:
    async with open_house(plain_database_url, rooms) as opened:
        yield opened


async def sign_in(client: httpx.AsyncClient, name: str, password: str) -> str:
    """Sign in; the session's CSRF token."""
    answer = await client.post("/v1/session", json={"name": name, "password": password})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["csrf"])


async def settled(house: House, name: str, role: Role) -> None:
    """Somebody who has changed their password already."""
    async with house.office() as office:
        await office.add_person(name, role)
        await office.set_password(name, GOOD)


async def test_the_first_start_makes_an_admin_who_must_choose_a_password(house: House) -> None:
    password = await house.people.welcome()
    assert password is not None
    assert await house.people.welcome() is None
    async with house.client(None) as client:
        csrf = await sign_in(client, FIRST_ADMIN, password)
        assert (await client.get("/v1/viewer")).status_code == 403
        assert (await client.get("/v1/session")).json()["must_change_password"]
        change = {"old": password, "new": "short"}
        weak = await client.post("/v1/session/password", json=change, headers={"X-CSRF-Token": csrf})
        assert (weak.status_code, weak.headers["content-type"]) == (422, "application/problem+json")
        change["new"] = GOOD
        changed = await client.post("/v1/session/password", json=change, headers={"X-CSRF-Token": csrf})
        assert changed.status_code == 200
        assert (await client.get("/v1/admin")).json() == "person:admin"
    async with house.client(None) as client:  # once means once
        again = await client.post("/v1/session", json={"name": FIRST_ADMIN, "password": password})
        assert again.status_code == 401
        await sign_in(client, FIRST_ADMIN, GOOD)


async def test_a_one_time_password_is_good_for_a_week(house: House) -> None:
    password = await house.people.welcome()
    house.hands.pass_(days=7)
    async with house.client(None) as client:
        answer = await client.post("/v1/session", json={"name": FIRST_ADMIN, "password": password})
        assert answer.status_code == 401


async def test_each_role_may_do_what_those_before_it_may(house: House) -> None:
    for rank, role in enumerate(Role):
        async with house.client(await house.token(role)) as client:
            for other, room in enumerate(Role):
                status = (await client.get(f"/v1/{room}")).status_code
                assert status == (200 if other <= rank else 403), (role, room)
    async with house.client(None) as client:
        answer = await client.get("/v1/viewer")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    async with house.client() as client:
        assert (await client.get("/v1/admin")).json() == "token:settings"


async def test_a_write_with_a_cookie_needs_the_sessions_csrf_token(house: House) -> None:
    await settled(house, "ada", Role.AGENT)
    async with house.client(None) as client, house.client(None) as other:
        csrf = await sign_in(client, "Ada", GOOD)
        foreign = await sign_in(other, "ada", GOOD)
        assert (await client.post("/v1/write")).status_code == 403
        assert (await client.post("/v1/write", headers={"X-CSRF-Token": foreign})).status_code == 403
        assert (await client.post("/v1/write", data={"csrf": "wrong"})).status_code == 403
        elsewhere = {"X-CSRF-Token": csrf, "Sec-Fetch-Site": "cross-site"}
        assert (await client.post("/v1/write", headers=elsewhere)).status_code == 403
        assert (await client.post("/v1/write", headers={"X-CSRF-Token": csrf})).json() == "person:ada"
        assert (await client.post("/v1/write", data={"csrf": csrf})).json() == "person:ada"
        bad = await client.get("/v1/viewer", headers={"Authorization": "Bearer nonsense"})
        assert bad.status_code == 401  # a wrong token is not made good by a cookie


async def test_sessions_end(house: House) -> None:
    await settled(house, "ada", Role.AGENT)
    async with house.client(None) as client:
        csrf = await sign_in(client, "ada", GOOD)
        for _ in range(13):  # in use every eleven hours, it lasts, but not beyond its week
            assert (await client.get("/v1/agent")).status_code == 200
            house.hands.pass_(hours=11)
        house.hands.pass_(hours=26)
        assert (await client.get("/v1/agent")).status_code == 401
        csrf = await sign_in(client, "ada", GOOD)
        house.hands.pass_(hours=12.1)
        assert (await client.get("/v1/agent")).status_code == 401
        csrf = await sign_in(client, "ada", GOOD)
        kept = dict(client.cookies)
        assert (await client.delete("/v1/session", headers={"X-CSRF-Token": csrf})).status_code == 204
        assert (await client.get("/v1/agent")).status_code == 401
    async with house.client(None) as thief:
        thief.cookies.update(kept)
        assert (await thief.get("/v1/agent")).status_code == 401
        await sign_in(thief, "ada", GOOD)
        async with house.office() as office:
            await office.disable("ada")
        assert (await thief.get("/v1/agent")).status_code == 401
        assert (await thief.post("/v1/session", json={"name": "ada", "password": GOOD})).status_code == 401


async def test_guessing_is_slowed_down_and_tells_nothing(plain_database_url: str) -> None:
    async with open_house(plain_database_url, rooms, failed_sign_ins_burst=2) as house:
        await settled(house, "ada", Role.AGENT)
        async with house.client(None) as client:
            wrong = await client.post("/v1/session", json=WRONG)
            nobody = await client.post("/v1/session", json={**WRONG, "name": "nobody"})
            assert wrong.status_code == nobody.status_code == 401
            assert wrong.json()["detail"] == nobody.json()["detail"]
            answer = await client.post("/v1/session", json={"name": "ada", "password": GOOD})
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 0
            house.hands.pass_(minutes=2)
            await sign_in(client, "ada", GOOD)
        told = await house.rows("SELECT who, what FROM audit ORDER BY audit_id")
        assert told[-2:] == [("person:ada", "session.refused"), ("person:ada", "session.begin")]


async def test_the_cookie_is_kept_from_scripts_and_from_plain_http(plain_database_url: str) -> None:
    async with open_house(plain_database_url, rooms, public_url="https://care.example.com") as house:
        await settled(house, "ada", Role.VIEWER)
        async with house.client(None, base_url="https://care.example.com") as client:
            answer = await client.post("/v1/session", json={"name": "ada", "password": GOOD})
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith("__Host-careloop-session=")
            assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
            assert (await client.get("/v1/viewer")).headers["strict-transport-security"]
    async with open_house(plain_database_url, rooms) as house, house.client(None) as client:
        answer = await client.post("/v1/session", json={"name": "ada", "password": GOOD})
        assert "Secure" not in answer.headers["set-cookie"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
        assert answer.headers["cache-control"] == "no-store"


async def test_who_asks_too_fast_waits(plain_database_url: str) -> None:
    async with open_house(plain_database_url, rooms, requests_per_s=2.0, requests_burst=3) as house:
        async with house.client(await house.token(Role.VIEWER)) as client:
            assert [(await client.get("/v1/viewer")).status_code for _ in range(4)] == [200, 200, 200, 429]
            assert (await client.get("/v1/viewer")).headers["retry-after"] == "1"
            house.hands.pass_(seconds=0.6)
            assert (await client.get("/v1/viewer")).status_code == 200
        async with house.client(await house.token(Role.AGENT)) as other:
            assert (await other.get("/v1/viewer")).status_code == 200
        async with house.client(await house.token(Role.ADMIN)) as reader:  # of the console's pages
            assert [(await reader.get("/v1/page")).status_code for _ in range(4)] == [200, 200, 200, 429]


async def test_a_look_is_written_down_once_in_ten_minutes(house: House) -> None:
    ada = Actor("default", "ada", Role.AGENT, "person")
    for _ in range(3):
        await house.people.note(ada, "owner.read", "own-1", {"part": "timeline"})
    await house.people.note(ada, "owner.read", "own-2")
    house.hands.pass_(minutes=11)
    await house.people.note(ada, "owner.read", "own-1")
    assert await house.rows("SELECT who, subject FROM audit ORDER BY audit_id") == [
        ("person:ada", "own-1"), ("person:ada", "own-2"), ("person:ada", "own-1"),
    ]  # fmt: skip


async def test_a_password_is_kept_as_what_cannot_be_read(house: House) -> None:
    await settled(house, "ada", Role.AGENT)
    ((kept,),) = await house.rows("SELECT password FROM person")
    assert kept.startswith("scrypt:")
    async with house.office() as office:
        for weak in ("short", "1212121212121212", "i-am-ada-i-am"):
            with pytest.raises(CareloopError, match="weak_password"):
                await office.set_password("ada", weak)


def test_a_password_that_somebody_chose_is_dear_to_guess() -> None:
    assert passwords.keep_chosen(GOOD).startswith("scrypt:32768:8:3$")


def test_commands_administer_people_and_tokens(tmp_path: Path, plain_database_url: str) -> None:
    config = tmp_path / "careloop.toml"
    config.write_text(f"[database]\nurl = {json.dumps(plain_database_url)}\n")

    def call(*arguments: str, code: int = 0, stdin: str = "") -> str:
        command = people_command if arguments[0] != "tokens" else tokens_command
        words = arguments if arguments[0] != "tokens" else arguments[1:]
        result = CliRunner().invoke(command, [*words, "--config", str(config)], input=stdin)
        if code == 0 and result.exception is not None:
            raise result.exception
        return result.output

    made = json.loads(call("add", "ada@example.com", "--role", "admin", "--json"))
    assert made["one_time_password"].count("-") == 3
    with pytest.raises(CareloopError, match="name_taken"):
        call("add", "Ada@Example.com")
    with pytest.raises(CareloopError, match="last_admin"):
        call("disable", "ada@example.com")
    with pytest.raises(CareloopError, match="last_admin"):
        call("role", "ada@example.com", "agent")
    call("add", "bob", "--role", "admin")
    assert call("role", "ada@example.com", "agent") == "ada@example.com is agent\n"
    call("disable", "ada@example.com")
    assert "disabled" in call("list")
    call("disable", "ada@example.com", "--undo")
    assert "one-time password" in call("password", "bob")
    assert call("password", "bob", "--stdin", stdin=f"{GOOD}\n") == "bob has another password\n"
    token = call("tokens", "create", "erp", "--role", "operator", "--expires", "90d").strip()
    assert token.startswith("clt_")
    assert "operator" in call("tokens", "list")

    async def look() -> tuple[Actor | None, Actor | None]:
        async with open_house(plain_database_url) as house:
            before = await house.people.bearer(token)
            async with house.office() as office:
                await office.revoke_token("erp")
            return before, await house.people.bearer(token)

    before, after = asyncio.run(look())
    assert before is not None
    assert (str(before), before.role) == ("token:erp", Role.OPERATOR)
    assert after is None
    assert "revoked" in call("tokens", "list")
    with pytest.raises(CareloopError, match="unknown_token"):
        call("tokens", "revoke", "erp")


async def test_no_other_token_is_called_like_the_settings_own(house: House) -> None:
    async with house.office() as office:
        with pytest.raises(CareloopError):
            await office.create_token("settings", Role.VIEWER, None)
