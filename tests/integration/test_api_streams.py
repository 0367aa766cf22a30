"""Files and live changes over the API: whole, in order, and only of the tenant's own."""

import asyncio
import csv
import io
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from arro3.io import read_parquet

from gateway.api import devices
from gateway.api.changes import Feed, Place
from gateway.api.export import export_router
from gateway.api.router import Router
from gateway.maintenance.passing import forget_what_passed
from gateway.people.model import Actor, Role
from gateway.people.people import Pool
from gateway.pipeline.taps import PacketFate, Taps
from tests.ingest.rig import Rig, reading
from tests.integration.test_rollups import roll_up
from tests.services.people import House, open_house

ADA = Actor("default", "ada", Role.VIEWER, "person")
ALARM = (
    "INSERT INTO alarm (alarm_id, tenant_id, device_id, watch, kind, problem, severity, state, started_at, decided_ts,"
    " raised_at, updated_at, score, explanation, events)"
    " VALUES (%s, %s, 'd-1', %s, 'threshold', 'p', 'major', 'active', now(), now(), now(), now(), 1.0, '{}', 0)"
)


def exports(pool: Pool) -> list[Router]:
    """What this file asks."""
    return [export_router(pool)]


async def model_of(house: House) -> str:
    """The product model of the rig's kettles."""
    ((model,),) = await house.rows("SELECT model FROM reading_table WHERE model <> 'automatic' LIMIT 1")
    return str(model)


async def test_a_file_has_every_reading_and_none_of_another_tenants(database_url: str, tmp_path: Path) -> None:
    async with Rig(database_url).running() as rig, open_house(database_url, exports) as house:
        await rig.tell("k1", *(reading(at - 100.5, celsius=at, boils=at) for at in range(50)), reading(-3, boils=99))
        await rig.tell("k2", reading(-7, celsius=20.25))
        await roll_up(rig)
        async with house.client() as client, house.client(await house.token(Role.OPERATOR, "other")) as other:
            model = await model_of(house)
            asked = {"model": model}
            text = (await client.get("/v1/export/readings", params=asked)).raise_for_status().text
            rows = list(csv.DictReader(io.StringIO(text)))
            assert [row["device_id"] for row in rows] == ["k1"] * 51 + ["k2"]
            assert [row["celsius"] for row in rows[:3]] == ["0", "1", "2"]
            assert rows[50]["celsius"] == ""
            assert all(row["ts"].endswith("Z") and "T" in row["ts"] for row in rows)
            answer = await client.get("/v1/export/readings", params={**asked, "format": "parquet", "device_id": "k1"})
            assert answer.headers["content-disposition"] == f'attachment; filename="{model}-readings.parquet"'
            (tmp_path / "file.parquet").write_bytes(answer.content)
            table = read_parquet(tmp_path / "file.parquet").read_all()
            assert table.num_rows == 51
            celsius: Any = table["celsius"]
            assert celsius.to_pylist() == [*map(float, range(50)), None]
            part = {**asked, "from": rows[10]["ts"], "to": rows[20]["ts"]}
            assert len((await client.get("/v1/export/readings", params=part)).text.splitlines()) == 1 + 10
            usage = (await client.get("/v1/export/rollups", params={**asked, "bucket": "day"})).text
            assert sum(int(row["readings"]) for row in csv.DictReader(io.StringIO(usage))) == 52
            foreign = (await other.get("/v1/export/readings", params=asked)).text
            assert foreign.splitlines() == text.splitlines()[:1]
            assert len((await other.get("/v1/export/rollups", params=asked)).text.splitlines()) == 1
            assert (await client.get("/v1/export/readings", params={"model": "nothing"})).status_code == 404
        async with house.client(await house.token(Role.AGENT)) as agent:
            assert (await agent.get("/v1/export/readings", params=asked)).status_code == 403
        assert ("export.readings", "k1") in await house.rows("SELECT what, subject FROM audit")


@pytest.fixture
async def house(plain_database_url: str) -> AsyncIterator[House]:
    async with open_house(plain_database_url) as opened:
        yield opened


class Listener:
    """Somebody who follows a feed."""

    def __init__(self, house: House, after: str | None = None, who: Actor = ADA) -> None:
        self.welcome = True
        self._events = Feed(house.pool).follow(who, Place.claimed(after), self._is_welcome)

    async def _is_welcome(self) -> bool:
        return self.welcome

    async def next(self) -> tuple[str, str, dict[str, Any]]:
        """The next event: its id, name and data."""
        lines = (await asyncio.wait_for(anext(self._events), 120)).decode().split("\n")
        found = dict(line.split(": ", 1) for line in lines if line)
        return found["id"], found["event"], json.loads(found["data"])


async def raise_alarm(house: House, name: str, tenant_id: str = "default") -> None:
    """An alarm, as ingest commits it."""
    async with house.pool.connection() as conn:
        await conn.execute(ALARM, [name, tenant_id, name])


async def test_changes_come_in_the_order_of_commits_and_none_is_missed(house: House) -> None:
    first = Listener(house)
    place, event, _ = await first.next()
    assert event == "hello"
    await raise_alarm(house, "a-1")
    await raise_alarm(house, "b-1", "other")
    place, event, told = await first.next()
    assert (event, told["id"], told["state"], told["device_id"]) == ("alarm", "a-1", "active", "d-1")
    async with house.pool.connection() as slow:
        await slow.execute(ALARM, ["a-2", "default", "a-2"])  # it takes its number first, and commits last
        await raise_alarm(house, "a-3")
        waits = asyncio.ensure_future(first.next())
        done, _ = await asyncio.wait([waits], timeout=1.5)
        assert not done
    assert [(await waits)[2]["id"], (await first.next())[2]["id"]] == ["a-2", "a-3"]
    again = Listener(house, place)
    assert [(await again.next())[1] for _ in range(3)] == ["hello", "alarm", "alarm"]
    other = Listener(house, place, Actor("other", "eve", Role.ADMIN, "person"))
    await other.next()
    await raise_alarm(house, "b-2", "other")
    assert [(await other.next())[2]["id"] for _ in range(2)] == ["b-1", "b-2"]


async def test_who_comes_back_too_late_is_told_to_read_everything_anew(house: House) -> None:
    listener = Listener(house)
    place, _, _ = await listener.next()
    await raise_alarm(house, "a-1")
    place, _, _ = await listener.next()
    async with house.pool.connection() as conn:
        await conn.execute("UPDATE change SET at = at - interval '25 hours'")
        await forget_what_passed(conn)
    for name in (place, "999999999-1", "nonsense"):
        late = Listener(house, name)
        assert (await late.next())[1] == "reset"


async def test_who_may_no_longer_listen_hears_no_more(house: House) -> None:
    seconds = itertools.count(step=8.0)
    feed = Feed(house.pool, monotonic=lambda: float(next(seconds)))

    async def is_welcome() -> bool:
        return False

    events = feed.follow(ADA, None, is_welcome)
    await anext(events)
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(anext(events), 120)


async def test_who_may_no_longer_listen_hears_no_more_however_much_changes(house: House) -> None:
    now_s = 0.0

    async def is_welcome() -> bool:
        return now_s < 20

    events = Feed(house.pool, monotonic=lambda: now_s).follow(ADA, None, is_welcome)
    await anext(events)
    for number in range(2):
        now_s += 8.0
        await raise_alarm(house, f"a-{number}")
        assert b"event: alarm" in await asyncio.wait_for(anext(events), 120)
    now_s += 8.0
    await raise_alarm(house, "a-2")
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(anext(events), 120)


class OnePacket(Taps):
    """A device that sends once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = asyncio.Event()
        self.sends = asyncio.Event()

    async def watch(self, device_id: str) -> AsyncGenerator[PacketFate]:
        """Its one packet."""
        self.watched.set()
        await self.sends.wait()
        yield PacketFate(device_id, "t", 1, 0.0, 1, 0, 0, 0, None, "")


@pytest.mark.parametrize("is_revoked", [False, True])
async def test_whose_token_was_taken_back_sees_no_more_packets(
    plain_database_url: str, monkeypatch: pytest.MonkeyPatch, *, is_revoked: bool
) -> None:
    monkeypatch.setattr(devices, "ASK_AGAIN_S", 0.0)
    taps = OnePacket()

    def build(pool: Pool) -> list[Router]:
        return [devices.devices_router(pool, taps, lambda _: False, lambda _: -1)]

    async with open_house(plain_database_url, build) as house, house.client(await house.token(Role.VIEWER)) as client:
        asked = asyncio.ensure_future(client.get("/v1/devices/d-1/tail"))
        await asyncio.wait_for(taps.watched.wait(), 120)
        if is_revoked:
            async with house.office() as office:
                await office.revoke_token(f"default-{Role.VIEWER}")
        taps.sends.set()
        assert bool((await asyncio.wait_for(asked, 120)).content) != is_revoked


async def test_too_many_files_at_once_are_put_off(plain_database_url: str) -> None:
    async with Rig(plain_database_url).running() as rig, open_house(plain_database_url, exports) as house:
        await rig.tell("k1", reading(-3, boils=1))
        model = await model_of(house)
        async with house.client() as client:

            async def ask() -> httpx.Response:
                return await client.get("/v1/export/readings", params={"model": model, "format": "parquet"})

            statuses = [answer.status_code for answer in await asyncio.gather(*(ask() for _ in range(8)))]
            assert set(statuses) <= {200, 429}
            assert statuses.count(200) >= 2
            assert (await ask()).status_code == 200
