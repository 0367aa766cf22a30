"""Sign-in at an OpenID provider: only its word, for this very sign-in, lets anybody in."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey

from gateway.api.oidc import oidc_router
from gateway.people.model import Role
from gateway.people.oidc import OidcSignIn
from gateway.people.people import digest_of
from gateway.people.settings import OidcSettings
from tests.services.oidc import ISSUER, Provider
from tests.services.people import House, open_house

RUN_OUT = "UPDATE person_session SET vouched_until = '2001-01-01Z' RETURNING 1"


@dataclass
class Case:
    """A gateway and its provider."""

    house: House
    provider: Provider = field(default_factory=Provider)
    sign_in: OidcSignIn | None = None

    async def go(self, client: httpx.AsyncClient, return_to: str = "/inbox") -> httpx.Response:
        """From our page to the provider and back."""
        away = await client.get("/v1/session/oidc", params={"return_to": return_to})
        assert away.status_code == 303, away.text
        return await client.get(self.provider.approve(away.headers["location"]))


@pytest.fixture
async def case(plain_database_url: str) -> AsyncIterator[Case]:
    settings = OidcSettings.model_validate(
        {"issuer": ISSUER, "client_id": "careloop", "client_secret": "hush", "roles": ["desk = agent", "it = admin"]}
    )
    async with open_house(plain_database_url, public_url="https://care.example.com") as house:
        made = Case(house)
        made.provider.claims["groups"] = ["staff", "desk"]
        made.sign_in = OidcSignIn(settings, house.people, made.provider.connect)
        oidc_router(made.sign_in).install(house.app, "/v1")
        yield made


def browser(case: Case) -> httpx.AsyncClient:
    """Somebody's browser."""
    return case.house.client(None, base_url="https://care.example.com")


async def test_a_subject_becomes_a_person_whose_role_the_provider_says(case: Case) -> None:
    async with browser(case) as client:
        back = await case.go(client)
        assert (back.status_code, back.headers["location"]) == (303, "/inbox")
        session = (await client.get("/v1/session")).json()
        assert (session["name"], session["role"], session["must_change_password"]) == ("ada", "agent", False)
        case.provider.claims["groups"] = ["it", "desk"]
        await case.go(client)
        assert (await client.get("/v1/session")).json()["role"] == "admin"
    assert await case.house.rows("SELECT name, oidc_subject FROM person") == [("ada", "u-1")]
    assert case.provider.key_fetches == 1
    async with browser(case) as client:  # there is no password to guess
        answer = await client.post("/v1/session", json={"name": "ada", "password": "x"})
        assert answer.status_code == 401


@pytest.mark.parametrize("spoilt", [
    {"aud": "another"}, {"iss": "https://evil.example.com"}, {"nonce": "another"}, {"exp": int(time.time()) - 600},
    {"aud": ["careloop", "another"], "azp": "another"},
])  # fmt: skip
async def test_a_word_for_something_else_lets_nobody_in(case: Case, spoilt: dict[str, Any]) -> None:
    case.provider.spoil = spoilt
    async with browser(case) as client:
        assert (await case.go(client)).status_code == 401
        assert (await client.get("/v1/session")).status_code == 401
    assert await case.house.rows("SELECT name FROM person") == []


async def test_a_strangers_signature_lets_nobody_in_and_a_new_key_of_the_provider_does(case: Case) -> None:
    async with browser(case) as client:
        case.provider.signs_with = RSAKey.generate_key(2048, {"kid": "k1"})
        assert (await case.go(client)).status_code == 401
        case.provider.key = case.provider.signs_with
        assert (await case.go(client)).status_code == 303


async def test_a_sign_in_comes_back_once_and_to_the_browser_that_began_it(case: Case) -> None:
    async with browser(case) as client, browser(case) as victim:
        away = await client.get("/v1/session/oidc")
        back = case.provider.approve(away.headers["location"])
        assert (await victim.get(back)).status_code == 403
        assert (await client.get(back)).status_code == 303
        assert (await client.get(back)).status_code == 403
        for elsewhere in ("https://evil.example.com", "//evil.example.com", "/\\evil.example.com"):
            assert (await case.go(client, elsewhere)).headers["location"] == "/"
        refused = await client.get("/v1/session/oidc/callback", params={"state": "x", "error": "access_denied"})
        assert refused.status_code == 403


async def test_nobody_takes_over_an_account_and_nobody_without_a_role_gets_in(case: Case) -> None:
    async with case.house.office() as office:
        await office.add_person("ada", Role.ADMIN)
    async with browser(case) as client:
        assert (await case.go(client)).status_code == 401
        case.provider.claims |= {"preferred_username": "bob", "groups": "staff"}
        assert (await case.go(client)).status_code == 401
        case.provider.claims["groups"] = "desk"
        assert (await case.go(client)).status_code == 303
        async with case.house.office() as office:
            await office.disable("bob")
        assert (await client.get("/v1/session")).status_code == 401
        assert (await case.go(client)).status_code == 401


async def test_a_session_ends_with_the_providers_word_where_it_cannot_be_asked_again(case: Case) -> None:
    async with browser(case) as client:
        assert (await case.go(client)).status_code == 303
        assert (await client.get("/v1/session")).status_code == 200
        await case.house.rows(RUN_OUT)
        assert (await client.get("/v1/session")).status_code == 401
    ended = await case.house.rows("SELECT inputs FROM audit WHERE what = 'session.end'")
    assert ended == [({"why": "provider"},)]
    hours = await case.house.rows("SELECT count(*) FROM person_session")
    assert hours == [(0,)]


async def test_a_provider_is_asked_again_and_says_the_role_anew_or_that_it_is_over(case: Case) -> None:
    case.provider.gives_refresh = True
    async with browser(case) as client:
        await case.go(client)
        await case.house.rows(RUN_OUT)
        case.provider.claims["groups"] = ["it"]
        assert (await client.get("/v1/session")).json()["role"] == "admin"
        assert case.provider.refreshes == 1
        await case.house.rows(RUN_OUT)
        case.provider.is_away = True
        assert (await client.get("/v1/session")).status_code == 200  # asked again in a minute
        case.provider.is_away = False
        await case.house.rows(RUN_OUT)
        case.provider.claims["groups"] = ["nothing"]
        assert (await client.get("/v1/session")).status_code == 401
        case.provider.claims["groups"] = ["it"]
        assert (await client.get("/v1/session")).status_code == 401  # it does not come to life again


async def test_whoever_waited_while_a_provider_was_found_to_be_away_does_not_ask_it_again(case: Case) -> None:
    case.provider.gives_refresh = True
    async with browser(case) as client:
        await case.go(client)
        token = next(iter(client.cookies.values()))
    assert case.sign_in is not None
    case.provider.is_away, case.provider.away_status = True, 429  # too busy, which says nothing of her
    came_s = time.monotonic()
    assert await case.sign_in.vouch(digest_of(token), came_s) is not None
    assert await case.sign_in.vouch(digest_of(token), came_s) is not None
    assert case.provider.asked_away == 1
    assert await case.sign_in.vouch(digest_of(token), time.monotonic()) is not None
    assert case.provider.asked_away == 2


async def test_a_role_that_the_provider_changes_is_in_the_audit_trail(case: Case) -> None:
    case.provider.gives_refresh = True
    async with browser(case) as client:
        await case.go(client)
        await case.house.rows(RUN_OUT)
        case.provider.claims["groups"] = ["it"]
        assert (await client.get("/v1/session")).json()["role"] == "admin"
    changed = await case.house.rows("SELECT who, subject, inputs FROM audit WHERE what = 'person.change'")
    assert changed == [("person:ada", "ada", {"role": "admin", "before": "agent", "why": "provider"})]


async def test_a_providers_session_lasts_no_longer_than_the_settings_say(case: Case) -> None:
    async with browser(case) as client:
        await case.go(client)
    rows = await case.house.rows("SELECT extract(epoch FROM expires_at - created_at)::float8 FROM person_session")
    assert rows == [(12 * 3600.0,)]


async def test_a_providers_name_cannot_pass_for_a_tokens_signature(case: Case) -> None:
    case.provider.claims["preferred_username"] = "token:settings\0"
    async with browser(case) as client:
        assert (await case.go(client)).status_code == 303
        assert (await client.get("/v1/session")).json()["name"] == "token_settings_"
