"""`careloop watches` and its API, over a real database."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import structlog
from click.testing import CliRunner

from crm_sync.keeping import Keeper
from crm_sync.trust.rules import TrustRules
from crm_sync.trust.settings import BudgetSettings
from devices.errors import CareloopError
from gateway.api.cases import cases_router
from gateway.api.router import Router
from gateway.api.watches import watches_router
from gateway.cli.watches import watches
from gateway.people.people import Pool
from tests.services.case_world import CaseWorld, notice, open_world
from tests.services.people import open_house, wording


async def fill(world: CaseWorld) -> None:
    """Two coffee machines' boilers; an agent called the first one's a false alarm."""
    world.trust = TrustRules()
    keeper = Keeper(world.desk, world.pool, world.clock, "default", structlog.get_logger())
    await keeper.keep()
    await world.own("cm-2", "own-2")
    await world.happens(notice())
    await world.deliver()
    await world.call_back(status="resolved", outcome="false")
    await keeper.keep()


@pytest.fixture
def config(tmp_path: Path, plain_database_url: str) -> Path:
    async def run() -> None:
        async with open_world(plain_database_url) as world:
            await fill(world)

    asyncio.run(run())
    path = tmp_path / "careloop.toml"
    clock = '[clock]\nkind = "scaled"\nheld = true\nstart = "2026-03-03T11:00:00Z"\n'
    path.write_text(f"{clock}[database]\nurl = {json.dumps(plain_database_url)}\n")
    return path


def call(*arguments: object) -> str:
    result = CliRunner().invoke(watches, [str(each) for each in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_the_command_lists_shows_sets_and_judges(config: Path) -> None:
    listed = call("list", "--model", "coffee-machine", "--config", config)
    (line,) = [line for line in listed.splitlines() if "boiler-too-hot" in line]
    assert line.split()[2:6] == ["auto", "0", "1", "0%"]
    assert "1 of 1000 cases today" in listed
    told = call("mode", "coffee-machine", "boiler-too-hot", "shadow", "--why", "it lies", "--hold", "--by", "ada",
                "--config", config)  # fmt: skip
    assert told == "boiler-too-hot on coffee-machine: shadow, held\n"
    shown = call("show", "coffee-machine", "boiler-too-hot", "--config", config)
    assert "auto → shadow (held)  person:ada: it lies" in shown
    alarms = json.loads(call("show", "coffee-machine", "boiler-too-hot", "--config", config, "--json"))
    assert (alarms["mode"], alarms["precision"]["wrong"]) == ("shadow", 1.0)
    with pytest.raises(CareloopError, match="is not followed"):
        call("mode", "toaster", "too-hot", "auto", "--why", "x", "--config", config)
    with pytest.raises(CareloopError, match="there is no alarm"):
        call("judge", "alm_nowhere", "true", "--config", config)


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        await fill(opened)
        yield opened


@pytest.fixture
async def api(world: CaseWorld, plain_database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    def build(pool: Pool) -> list[Router]:
        return [watches_router(pool, TrustRules(), world.clock), cases_router(pool, world.clock, wording())]

    async with open_house(plain_database_url, build) as house, house.client(base_url="http://careloop/v1") as client:
        yield client


async def test_the_api_shows_watches_and_sets_modes_with_an_audit(api: httpx.AsyncClient) -> None:
    found = {
        each["watch"]: each for each in (await api.get("/watches", params={"model": "coffee-machine"})).json()["items"]
    }
    assert {"boiler-too-hot", "pump-weak", "offline"} <= found.keys()
    assert found["boiler-too-hot"]["precision"] == {
        "right": 0.0, "wrong": 1.0, "mean": 0.0, "low": 0.0, "high": pytest.approx(0.73, abs=0.01),
    }  # fmt: skip
    path = "/watches/coffee-machine/boiler-too-hot"
    assert (await api.post(f"{path}/mode", json={"mode": "approve", "by": "ada"})).status_code == 422  # says not why
    asked = {"mode": "approve", "by": "ada", "why": "let us look first"}
    assert (await api.post(f"{path}/mode", json=asked)).json()["mode"] == "approve"
    audit = (await api.get(path)).json()["audit"]
    assert [(each["from_mode"], each["to_mode"], each["actor"]) for each in audit] == [
        ("auto", "approve", "person:ada"),
        (None, "auto", "profile"),
    ]
    assert (await api.get("/watches/coffee-machine/nothing")).status_code == 404


async def test_the_api_shows_the_budget(api: httpx.AsyncClient) -> None:
    shown = (await api.get("/budget", params={"exact": True})).json()
    assert (shown["opened_today"], shown["devices"], shown["waiting"], shown["held_back"]) == (1, 1, 0, {})
    assert shown["allowance"] == pytest.approx(9.0)


async def test_a_person_approves_declines_and_judges_over_the_api(api: httpx.AsyncClient, world: CaseWorld) -> None:
    asked = {"mode": "approve", "by": "ada", "why": "let us look first"}
    await api.post("/watches/coffee-machine/boiler-too-hot/mode", json=asked)
    world.trust = TrustRules(BudgetSettings(enabled=False))
    await world.happens(notice(device_id="cm-2"))
    (case,) = await world.rows("SELECT case_id FROM service_case WHERE state = 'proposed'")
    path = f"/cases/{case['case_id']}"
    assert (await api.post(f"{path}/approve", json={"by": "ada"})).json()["state"] == "approved"
    assert (await api.post(f"{path}/decline", json={"by": "ada"})).status_code == 422  # a no needs a reason
    assert (await api.post(f"{path}/decline", json={"by": "ada", "why": "being tested"})).status_code == 409
    assert (await api.post("/cases/case_nowhere/approve", json={"by": "ada"})).status_code == 404
    (alarm,) = await world.rows("SELECT alarm_id FROM case_alarm WHERE device_id = 'cm-2'")
    word = {"verdict": "true", "by": "ada"}
    assert (await api.post(f"/alarms/{alarm['alarm_id']}/verdict", json=word)).status_code == 202
    assert (await api.post("/alarms/alm_nowhere/verdict", json=word)).status_code == 404
    await Keeper(world.desk, world.pool, world.clock, "default", structlog.get_logger()).keep()
    (episode,) = await world.rows("SELECT verdict, source FROM watch_episode WHERE alarm_id = %s", alarm["alarm_id"])
    assert episode == {"verdict": "true", "source": "person"}
