"""Readings, usage and quarantine over HTTP: whole pages, days of 23 and 25 hours, and rises that add up."""

from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from gateway.api.devices import devices_router
from gateway.api.quarantine import quarantine_router
from gateway.api.rollups import rollups_router
from gateway.api.router import Router
from gateway.maintenance.rollups import leave_rollups
from gateway.people.people import Pool
from gateway.pipeline.taps import Taps
from tests.ingest.rig import NOW_S, Rig, reading
from tests.integration.test_rollups import rise_of, roll_up
from tests.services.people import open_house


def routers(pool: Pool) -> list[Router]:
    """What this file asks."""
    return [devices_router(pool, Taps(), lambda _: False, lambda _: -1), rollups_router(pool), quarantine_router(pool)]


@asynccontextmanager
async def api_of(rig: Rig) -> AsyncGenerator[httpx.AsyncClient]:
    async with open_house(rig.url, routers) as house, house.client(base_url="http://api/v1") as client:
        yield client


async def pages(client: httpx.AsyncClient, path: str, **params: str | int) -> list[dict[str, Any]]:
    """Everything, page by page; each page must be full but for the last, which says so."""
    items: list[dict[str, Any]] = []
    while True:
        answer = (await client.get(path, params=params)).raise_for_status().json()
        assert "next" in answer
        items += answer["items"]
        if answer["next"] is None:
            return items
        assert answer["items"]
        params["cursor"] = answer["next"]


def seconds_of(year: int, month: int, day: int) -> float:
    """From NOW_S to the beginning of a UTC day."""
    return datetime(year, month, day, tzinfo=UTC).timestamp() - NOW_S


async def test_the_last_page_says_that_it_is(plain_database_url: str) -> None:
    async with Rig(plain_database_url).running() as rig, api_of(rig) as client:
        await rig.tell("k1", *(reading(at - 100.0, celsius=at) for at in range(6)), reading(-3, boils=1))
        for limit in (1, 3, 7, 8):
            items = await pages(client, "/devices/k1/readings", limit=limit)
            assert [item["metrics"].get("celsius") for item in items] == [0, 1, 2, 3, 4, 5, None]
        only = (await client.get("/devices/k1/readings", params={"fields": "ts", "limit": 7})).json()
        assert only["next"] is None
        assert all(set(item) == {"ts"} for item in only["items"])
        assert (await client.get("/devices/nobody/rollups")).status_code == 404


async def test_hours_come_in_pages_and_their_rises_add_up(database_url: str) -> None:
    told = [(at * 1700.0 - 80_000.0, (at * 7) % 40) for at in range(45)]
    async with Rig(database_url).running() as rig, api_of(rig) as client:
        await rig.tell("k1", *(reading(at_s, boils=boils, celsius=20) for at_s, boils in told))
        await roll_up(rig)
        whole = await pages(client, "/devices/k1/rollups")
        for limit in (1, 7):
            assert await pages(client, "/devices/k1/rollups", limit=limit) == whole
        days = await pages(client, "/devices/k1/rollups", bucket="day", metric="boils")
        late = await pages(client, "/devices/k1/rollups", **{"from": whole[9]["first_ts"], "to": whole[12]["start"]})
    assert sum(item["readings"] for item in whole) == 45
    rise = rise_of([float(boils) for _, boils in told])
    assert sum(item["metrics"]["boils"]["rise"] for item in whole) == pytest.approx(rise)
    assert sum(item["metrics"]["boils"]["rise"] for item in days) == pytest.approx(rise)
    assert all(item["metrics"]["celsius"]["rise"] is None for item in whole)
    assert all(set(item["metrics"]) == {"boils"} for item in days)
    assert late == whole[9:12]


@pytest.mark.parametrize(
    "zone", ["Europe/Vienna", "Asia/Kolkata", "America/St_Johns", "Pacific/Auckland", "Africa/Cairo"]
)
async def test_days_of_a_zone_begin_at_its_midnight(plain_database_url: str, zone: str) -> None:
    """Clocks go forward in March 2025 in Vienna and St John's, in April in Cairo, and back in Auckland."""
    begin = [(2024, 10, 25), (2025, 3, 8), (2025, 3, 28), (2025, 4, 4), (2025, 4, 23)]
    starts = [seconds_of(*day) for day in begin]
    moments = sorted(start + at * 1500.0 for start in starts for at in range(200))
    local: dict[date, list[tuple[float, float]]] = defaultdict(list)
    for number, at_s in enumerate(moments):
        local[datetime.fromtimestamp(NOW_S + at_s, ZoneInfo(zone)).date()].append((at_s, float(number)))
    async with Rig(plain_database_url).running() as rig, api_of(rig) as client:
        await rig.tell("k1", *(reading(at_s, boils=number) for number, at_s in enumerate(moments)))
        await roll_up(rig)
        days = await pages(client, "/devices/k1/rollups", bucket="day", zone=zone, limit=5)
        assert (
            await client.get("/devices/k1/rollups", params={"bucket": "day", "zone": "Mars/Base"})
        ).status_code == 422
    found = {datetime.fromisoformat(day["start"]).astimezone(ZoneInfo(zone)).date(): day for day in days}
    assert {day: item["readings"] for day, item in found.items()} == {day: len(told) for day, told in local.items()}
    for day, told in local.items():
        assert found[day]["metrics"]["boils"]["last"] == told[-1][1]
    assert sum(day["metrics"]["boils"]["rise"] for day in days) == len(moments) - 1
    lengths = {
        round((datetime.fromisoformat(after["start"]) - datetime.fromisoformat(day["start"])).total_seconds() / 3600)
        for day, after in pairwise(days)
    }
    assert 24 in lengths
    assert lengths & {23, 25} if zone != "Asia/Kolkata" else not lengths & {23, 25}


async def test_a_day_of_half_an_hour_before_the_full_one_is_on_a_page_of_its_own(plain_database_url: str) -> None:
    """What is told in its first half hour lies in an hour that began the day before."""
    noon = seconds_of(2025, 3, 8) + 6.5 * 3600  # in Kolkata
    async with Rig(plain_database_url).running() as rig, api_of(rig) as client:
        await rig.tell("k1", *(reading(noon + at_h * 3600, boils=at_h) for at_h in (0, 12.25, 60)))
        await roll_up(rig)
        days = await pages(client, "/devices/k1/rollups", bucket="day", zone="Asia/Kolkata", limit=1)
    assert [day["start"][:13] for day in days] == ["2025-03-07T18", "2025-03-08T18", "2025-03-10T18"]


async def test_quarantine_is_filtered_and_paged(plain_database_url: str) -> None:
    async with Rig(plain_database_url).running() as rig, api_of(rig) as client:
        await rig.tell("k1", *(b"{" * (number + 1) for number in range(5)))
        rig.clock.at_s += 60
        noon = datetime.fromtimestamp(rig.clock.at_s, UTC).isoformat()
        await rig.tell("k2", b"[", {"metrics": {"celsius": 999}})
        for limit in (1, 3, 7):
            found = await pages(client, "/quarantine", limit=limit)
            ids = [item["quarantine_id"] for item in found]
            assert len(ids) == 7
            assert ids == sorted(ids, reverse=True)
        assert len(await pages(client, "/quarantine", topic="devices/k2/+")) == 2
        assert len(await pages(client, "/quarantine", since=noon)) == 2
        assert len(await pages(client, "/quarantine", until=noon, reason="malformed")) == 5
        assert await pages(client, "/quarantine", stage="replayed") == []


async def test_a_device_has_as_many_readings_as_are_stored_rolled_up_or_not(database_url: str) -> None:
    """Counted one by one it used to take longer with each day that a device lived."""
    days = [-86_400.0 * day - 100.0 * at for day in range(4) for at in range(5)]
    async with Rig(database_url).running() as rig, api_of(rig) as client:

        async def shown() -> tuple[int, float, float]:
            found = (await client.get("/devices/k1")).raise_for_status().json()
            first, last = (datetime.fromisoformat(found[name]).timestamp() - NOW_S for name in ("first_ts", "last_ts"))
            return found["stored"], first, last

        assert (await client.get("/devices/k1")).json()["stored"] == 0
        await rig.tell("k1", *(reading(at_s, celsius=20) for at_s in sorted(days)))
        assert await shown() == (20, min(days), 0)
        await roll_up(rig)
        assert await shown() == (20, min(days), 0)
        await rig.tell("k1", *(reading(at_s, celsius=21) for at_s in (1, 2, 3)))
        assert await shown() == (23, min(days), 3)
        await rig.tell("k1", reading(-86_400.0 - 50.0, celsius=22))
        await roll_up(rig)
        assert await shown() == (24, min(days), 3)
        async with await rig.connect() as conn:  # as retention does with what was stored first
            await conn.execute(
                "DELETE FROM reading_kettle WHERE device_id = 'k1' AND ts < to_timestamp(%s)",
                [NOW_S - 86_400.0 * 3 + 1],
            )
        assert await shown() == (19, -86_400.0 * 2 - 400.0, 3)
        habits = (await client.get("/devices/k1")).json()["habits"]
        assert habits["known_days"] == pytest.approx((3 - min(days)) / 86_400.0)  # it is no younger for that
        async with await rig.connect() as conn:
            await leave_rollups(conn)  # what comes late is in no rollup from now on
        await rig.tell("k1", reading(-86_400.0 - 40.0, celsius=22))
        assert await shown() == (20, -86_400.0 * 2 - 400.0, 3)
