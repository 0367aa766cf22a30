"""Raw messages of one device are kept because somebody asked: the newest hundred, until it is over."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from devices.errors import CareloopError
from devices.registry.queries import register_device
from gateway.api.captures import captures_router
from gateway.api.router import Router
from gateway.captures.captures import MOST_AT_ONCE, Capture, Captures
from gateway.captures.queries import MOST_MESSAGES, Connection, RawMessage, keep_messages, list_messages
from gateway.maintenance.passing import forget_what_passed
from gateway.people.audit import record
from gateway.people.model import Role
from gateway.pipeline.taps import PacketFate, Taps
from tests.services.patience import PATIENCE_S
from tests.services.people import open_house

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


class Hands:
    """A clock that is moved by hand."""

    at_s = 1e9

    def now_s(self) -> float:
        """Where its hands stand."""
        return self.at_s


class Said:
    """Taps of a device that has sent so many messages."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.is_told = asyncio.Event()
        self.is_left = False

    async def watch_raw(self, device_id: str) -> AsyncGenerator[tuple[PacketFate, bytes]]:
        """Them all at once, and then nothing more."""
        try:
            for number in range(self.count):
                fate = PacketFate(device_id, f"devices/{device_id}/telemetry", 5000, 1e9 + number, 1, 0, 0, 0, None, "")
                yield fate, b"\x00%d" % number
            self.is_told.set()
            await asyncio.Event().wait()
        finally:
            self.is_left = True


@pytest.fixture
async def pool(plain_database_url: str) -> AsyncIterator[Pool]:
    async with AsyncConnectionPool(plain_database_url, kwargs={"autocommit": True}, open=False) as opened:
        yield cast("Pool", opened)


def start(captures: Captures, device_id: str, seconds: float, tenant_id: str = "default") -> Capture:
    """A capture that has begun."""
    with captures.booked(tenant_id, device_id, "olga", seconds) as capture:
        return capture


async def numbers(pool: Pool) -> list[int]:
    async with pool.connection() as conn:
        return [message.number for message in await list_messages(conn, "default", "d1")]


async def test_the_newest_hundred_are_kept_until_it_is_stopped_and_forgotten_after_a_day(pool: Pool) -> None:
    said = Said(250)
    captures = Captures(pool, cast("Taps", said), Hands())
    start(captures, "d1", 300.0)
    async with asyncio.timeout(PATIENCE_S):
        await said.is_told.wait()
        assert await captures.stop("default", "d1")
    assert await numbers(pool) == list(range(249, 149, -1))
    assert said.is_left
    assert captures.find("default", "d1") is None
    assert not await captures.stop("default", "d1")
    async with pool.connection() as conn:
        (newest, *_) = await list_messages(conn, "default", "d1")
        assert (newest.payload, newest.payload_bytes) == (b"\x00249", 5000)
        await forget_what_passed(conn)
        assert len(await list_messages(conn, "default", "d1")) == MOST_MESSAGES
        await conn.execute("UPDATE raw_message SET kept_at = kept_at - interval '25 hours'")
        await forget_what_passed(conn)
    assert await numbers(pool) == []


async def test_what_comes_while_the_last_of_it_is_written_is_kept_too(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    captures = Captures(pool, cast("Taps", Said(1)), Hands())
    capture = start(captures, "d1", 300.0)

    async def write(conn: Connection, tenant_id: str, device_id: str, messages: Sequence[RawMessage]) -> None:
        await keep_messages(conn, tenant_id, device_id, messages)
        if not capture.is_over.is_set():
            capture.is_over.set()
            capture.heard.append(replace(messages[-1], number=1))

    monkeypatch.setattr("gateway.captures.captures.keep_messages", write)
    async with asyncio.timeout(PATIENCE_S):
        assert capture.work is not None
        await capture.work
    assert await numbers(pool) == [1, 0]


async def test_it_is_over_with_its_time_and_there_is_room_for_so_many_only(pool: Pool) -> None:
    clock, said = Hands(), Said(3)
    captures = Captures(pool, cast("Taps", said), clock)
    first = start(captures, "d1", 60.0)
    with pytest.raises(CareloopError, match="already"):
        start(captures, "d1", 60.0)
    others = [start(captures, f"other-{number}", 60.0) for number in range(MOST_AT_ONCE - 1)]
    with pytest.raises(CareloopError, match="end one of them"):
        start(captures, "one-more", 60.0)
    foreign = start(captures, "d1", 60.0, "another")  # whose room is its own
    async with asyncio.timeout(PATIENCE_S):
        await said.is_told.wait()
        clock.at_s += 61.0
        await asyncio.gather(*(each.work for each in (first, foreign, *others) if each.work is not None))
    assert captures.find("default", "other-0") is None
    assert await numbers(pool) == [2, 1, 0]


async def test_what_is_booked_begins_when_its_caller_is_through_and_not_where_that_fails(pool: Pool) -> None:
    captures = Captures(pool, cast("Taps", Said(1)), Hands())

    def fail() -> None:
        with captures.booked("default", "d1", "olga", 60.0) as booked:
            assert captures.find("default", "d1") is booked
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert captures.find("default", "d1") is None
    with captures.booked("default", "d1", "olga", 60.0) as capture:
        assert capture.work is None
    assert capture.work is not None
    assert await captures.stop("default", "d1")


async def test_over_the_api_messages_are_kept_looked_at_and_it_is_ended(pool: Pool, plain_database_url: str) -> None:
    said = Said(3)
    captures = Captures(pool, cast("Taps", said), Hands())
    async with open_house(plain_database_url, lambda pool: [captures_router(pool, captures)]) as house:
        async with pool.connection() as conn:
            await register_device(conn, "default", "d1", None, "add")
        path = "/v1/devices/d1/capture"
        async with house.client(await house.token(Role.AGENT)) as agent:
            assert (await agent.post(path, json={})).status_code == 403
            assert (await agent.get("/v1/devices/d1/captured")).status_code == 403
        async with house.client(await house.token(Role.OPERATOR)) as client:
            assert (await client.get(path)).status_code == 404
            assert (await client.post("/v1/devices/nobody/capture", json={})).status_code == 404
            key = {"Idempotency-Key": "k1"}
            begun = await client.post(path, json={"minutes": 5}, headers=key)
            assert (begun.status_code, begun.json()["device_id"]) == (201, "d1")
            again = await client.post(path, json={"minutes": 5}, headers=key)
            assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
            assert (await client.post(path, json={})).status_code == 409
            assert (await client.get(path)).json() == begun.json()
            async with asyncio.timeout(PATIENCE_S):
                await said.is_told.wait()
            assert (await client.delete(path)).status_code == 204
            assert (await client.delete(path)).status_code == 404
            first = (await client.get("/v1/devices/d1/captured", params={"limit": 2})).json()
            rest = (await client.get("/v1/devices/d1/captured", params={"cursor": first["next"]})).json()
        assert [each["number"] for each in first["items"] + rest["items"]] == [2, 1, 0]
        assert base64.b64decode(rest["items"][0]["payload"]) == b"\x000"
        assert rest["next"] is None
        acts = {what for (what,) in await house.rows("SELECT what FROM audit")}
    assert acts >= {"device.capture", "device.capture_stop", "device.raw"}


async def test_as_many_are_ended_at_once_as_there_are_connections_and_each_keeps_its_last_messages(
    plain_database_url: str,
) -> None:
    said, pools = Said(3), list[Pool]()

    def routers(pool: Pool) -> list[Router]:
        pools.append(pool)
        return [captures_router(pool, Captures(pool, cast("Taps", said), Hands()))]

    async with open_house(plain_database_url, routers) as house:
        names = [f"d{number}" for number in range(pools[0].max_size)]
        async with pools[0].connection() as conn:
            for name in names:
                await register_device(conn, "default", name, None, "add")
        async with house.client(await house.token(Role.OPERATOR)) as client, asyncio.timeout(PATIENCE_S):
            for name in names:
                assert (await client.post(f"/v1/devices/{name}/capture", json={})).status_code == 201
            await said.is_told.wait()
            answers = await asyncio.gather(*(client.delete(f"/v1/devices/{name}/capture") for name in names))
            assert {answer.status_code for answer in answers} == {204}
            for name in names:
                kept = (await client.get(f"/v1/devices/{name}/captured")).json()["items"]
                assert [each["number"] for each in kept] == [2, 1, 0]


async def test_what_is_on_record_is_done_although_its_client_has_gone(
    pool: Pool, plain_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    captures, is_recording, may_go_on = Captures(pool, cast("Taps", Said(1)), Hands()), asyncio.Event(), asyncio.Event()

    async def record_late(*told: Any) -> None:
        is_recording.set()
        await may_go_on.wait()
        await record(*told)

    async with open_house(plain_database_url, lambda pool: [captures_router(pool, captures)]) as house:
        async with pool.connection() as conn:
            await register_device(conn, "default", "d1", None, "add")
        client = house.client(await house.token(Role.OPERATOR))
        monkeypatch.setattr("gateway.api.writes.record", record_late)
        async with client, asyncio.timeout(PATIENCE_S):
            begun = asyncio.create_task(client.post("/v1/devices/d1/capture", json={}))
            await is_recording.wait()
            begun.cancel()
            await asyncio.wait([begun])
            may_go_on.set()
            while (found := captures.find("default", "d1")) is None or found.work is None:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        assert await captures.stop("default", "d1")
        assert await house.rows("SELECT what FROM audit WHERE what = 'device.capture'") == [("device.capture",)]
