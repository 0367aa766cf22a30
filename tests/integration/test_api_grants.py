"""What owners allow, over HTTP: read, said and exported, by those who may."""

from collections.abc import AsyncIterator

import pytest

from gateway.api.grants import grants_router
from gateway.api.router import Router
from gateway.people.model import Role
from gateway.people.people import Pool
from tests.services.case_world import CaseWorld, open_world
from tests.services.people import House, open_house


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        yield opened


@pytest.fixture
async def house(world: CaseWorld, plain_database_url: str) -> AsyncIterator[House]:
    def build(pool: Pool) -> list[Router]:
        return [grants_router(pool, world.settings, world.clock, "Acme")]

    async with open_house(plain_database_url, build) as opened:
        yield opened


async def test_a_word_is_entered_shown_and_exported(house: House) -> None:
    path = "/v1/owners/own-1"
    async with house.client(await house.token(Role.AGENT)) as client:
        word = {"purpose": "service", "recipient": "email", "state": "given", "basis": "consent", "method": "call"}
        said = await client.post(f"{path}/grants", json=word, headers={"Idempotency-Key": "one"})
        assert (said.status_code, said.json()["state"]) == (200, "given")
        await client.post(f"{path}/grants", json=word, headers={"Idempotency-Key": "one"})
        await client.post(f"{path}/grants", json=word | {"state": "revoked"})
        answer = await client.get(f"{path}/grants")
        (shown,) = answer.json()["items"]
        seen = {"If-Match": answer.headers["ETag"]}
        assert (await client.post(f"{path}/grants", json=word | {"state": "revoked"}, headers=seen)).is_success
        assert (await client.post(f"{path}/grants", json=word, headers=seen)).status_code == 412
        assert (shown["purpose"], shown["recipient"], shown["state"]) == ("service", "email", "withdrawn")
        exported = await client.get(f"{path}/consents")
        assert exported.headers["content-type"] == "application/ld+json"
        (record,) = exported.json()
        assert len(record["dpv:hasConsentStatus"]) == 3
        assert record["dpv:hasProcess"]["dpv:hasDataController"]["dpv:hasName"] == "Acme"
        assert record["dpv:hasConsentStatus"][0]["dct:creator"] == "person:token:default-agent"
        for wrong in (word | {"purpose": "selling"}, word | {"recipient": "a b"}, word | {"state": "maybe"}):
            assert (await client.post(f"{path}/grants", json=wrong)).status_code == 422
        assert (await client.post("/v1/owners/own-9/grants", json=word)).status_code == 404
    told = await house.rows("SELECT what FROM audit WHERE subject = 'own-1' ORDER BY audit_id")
    assert [what for (what,) in told] == [*2 * ["grant.record"], "owner.grants", "grant.record", "owner.consents"]


async def test_who_may_only_look_cannot_speak_for_an_owner(house: House) -> None:
    async with house.client(await house.token(Role.VIEWER)) as client:
        word = {"purpose": "service", "recipient": "email", "state": "given"}
        assert (await client.post("/v1/owners/own-1/grants", json=word)).status_code == 403
        assert (await client.get("/v1/owners/own-1/grants")).json()["items"] == []
