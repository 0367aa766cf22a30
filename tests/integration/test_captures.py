"""Raw messages of one device are kept because somebody asked: the newest hundred, until it is over."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from devices.errors import CareloopError
from gateway.captures.captures import MOST_AT_ONCE, Captures
from gateway.captures.queries import MOST_MESSAGES, list_messages
from gateway.maintenance.passing import forget_what_passed
from gateway.pipeline.taps import PacketFate, Taps

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]
WITHIN_S = 30.0


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


async def numbers(pool: Pool) -> list[int]:
    async with pool.connection() as conn:
        return [message.number for message in await list_messages(conn, "default", "d1")]


async def test_the_newest_hundred_are_kept_until_it_is_stopped_and_forgotten_after_a_day(pool: Pool) -> None:
    said = Said(250)
    captures = Captures(pool, cast("Taps", said), Hands())
    captures.start("default", "d1", "olga", 300.0)
    async with asyncio.timeout(WITHIN_S):
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


async def test_it_is_over_with_its_time_and_there_is_room_for_so_many_only(pool: Pool) -> None:
    clock, said = Hands(), Said(3)
    captures = Captures(pool, cast("Taps", said), clock)
    first = captures.start("default", "d1", "olga", 60.0)
    with pytest.raises(CareloopError, match="already"):
        captures.start("default", "d1", "olga", 60.0)
    others = [captures.start("default", f"other-{number}", "olga", 60.0) for number in range(MOST_AT_ONCE - 1)]
    with pytest.raises(CareloopError, match="end one of them"):
        captures.start("default", "one-more", "olga", 60.0)
    async with asyncio.timeout(WITHIN_S):
        await said.is_told.wait()
        clock.at_s += 61.0
        await asyncio.gather(*(each.work for each in (first, *others) if each.work is not None))
    assert captures.find("default", "other-0") is None
    assert await numbers(pool) == [2, 1, 0]
