"""Batches are decoded ahead of their turn, and nothing else about them changes."""

import asyncio
from collections.abc import Sequence

import numpy as np

from devices.ids import partition_of
from devices.payloads.dialect import Message, Translation
from devices.payloads.json import JsonCodec
from devices.registry.model import Device
from gateway.authority import Authority
from gateway.intake import Bunch, Piece, Route
from gateway.pipeline.ahead import Ahead
from gateway.pipeline.dialect import Dialects
from gateway.pipeline.packets import Packets
from gateway.pipeline.queue import PacketQueue
from gateway.pipeline.settings import BatchSettings
from gateway.pipeline.sources import Sources
from gateway.store.rows import ReadingTable
from tests.ingest.decoding import GivenTables, sources
from tests.ingest.rig import NOW_S, Door

PAYLOAD = b'{"ts":%d,"metrics":{"boils":1,"volts":230}}'


class Counting(JsonCodec):
    """A dialect that nobody understands."""

    topics: Sequence[str] = ()
    answers: Sequence[str] = ()

    def __init__(self) -> None:
        super().__init__()
        self.heard = 0

    def translate(self, message: Message) -> Translation:
        """Nothing."""
        del message
        self.heard += 1
        return Translation()


class Kitchen:
    """A queue of batches of four, and what looks ahead in it."""

    def __init__(self, dialect: Counting | None = None) -> None:
        self.tables = GivenTables()
        self.sources: Sources = sources(JsonCodec(), self.tables)
        self.queue = PacketQueue(BatchSettings(max_readings=4, max_age=0.0))
        self.ahead = Ahead(
            self.sources,
            Dialects({} if dialect is None else {"json": dialect}, Authority(), 1000),
            self.queue,
            lambda: NOW_S,
        )
        self.door = Door()
        self.met: list[str] = []

    def put(self, device_id: str, count: int, received_s: float = NOW_S) -> None:
        """Have packets wait."""
        tokens = [self.door.next_token() for _ in range(count)]
        payloads = [PAYLOAD % token for token in tokens]
        self.queue.put([Bunch(self.door, Route.TELEMETRY, device_id, "t", "json", received_s, tokens, payloads)])

    async def look(self) -> None:
        """Look until something is taken."""
        self.ahead.look()
        async with asyncio.timeout(120):
            while not self.ahead.has_taken:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0)

    async def meet(self, pieces: Sequence[Piece]) -> None:
        """Register everybody who is not."""
        for bunch in Packets(pieces):
            if self.sources.devices.get(bunch.device_id) is not None:
                continue
            self.met.append(bunch.device_id)
            device = Device(bunch.device_id, "default", "kettle", None, partition_of(bunch.device_id))
            self.sources.devices.put(device)

    async def next(self) -> list[tuple[str, int]]:
        """The readings of the next batch: their devices, and their times."""
        _, batch = await self.ahead.next(self.meet)
        return [
            (part.device_id(position), int(part.ts_us[position]) // 1000)
            for part in batch.readings
            for position in range(len(part))
        ]


async def test_what_is_worth_a_batch_is_taken_ahead_and_comes_first() -> None:
    kitchen = Kitchen()
    kitchen.put("k1", 1, NOW_S - 5)
    kitchen.ahead.look()
    assert not kitchen.ahead.has_taken
    kitchen.put("k1", 1)
    await kitchen.look()
    kitchen.put("k1", 6)
    kitchen.ahead.look()
    assert kitchen.queue.packets == 6
    assert kitchen.ahead.oldest_received_s() == NOW_S - 5
    found = [await kitchen.next() for _ in range(3)]
    assert found == [[("k1", number) for number in numbers] for numbers in ((1, 2), (3, 4, 5, 6), (7, 8))]
    assert kitchen.met == []
    assert kitchen.ahead.oldest_received_s() is None


async def test_what_comes_while_the_database_works_is_taken_ahead_too() -> None:
    kitchen = Kitchen()
    kitchen.ahead.look()
    kitchen.put("k1", 2)
    await kitchen.look()
    assert await kitchen.next() == [("k1", 1), ("k1", 2)]
    kitchen.ahead.look()
    kitchen.ahead.settled()
    kitchen.put("k1", 2)
    await asyncio.sleep(0)
    assert not kitchen.ahead.has_taken


async def test_a_batch_is_left_to_grow_until_it_is_full() -> None:
    kitchen = Kitchen()
    kitchen.put("k1", 2)
    kitchen.ahead.look()
    assert not kitchen.ahead.has_taken
    kitchen.put("k1", 2)
    await kitchen.look()
    assert [number for _, number in await kitchen.next()] == [1, 2, 3, 4]
    kitchen.put("k1", 2)
    kitchen.ahead.look()
    assert [number for _, number in await kitchen.next()] == [5, 6]  # the database did not take as long
    kitchen.ahead.settled()


async def test_a_batch_with_a_stranger_waits_until_it_is_known() -> None:
    kitchen = Kitchen()
    kitchen.put("stranger", 2)
    await kitchen.look()
    assert await kitchen.next() == [("stranger", 1), ("stranger", 2)]
    assert kitchen.met == ["stranger"]


async def test_what_is_in_a_dialect_is_translated_in_its_turn() -> None:
    dialect = Counting()
    kitchen = Kitchen(dialect)
    kitchen.put("k1", 4)
    kitchen.ahead.look()
    assert (kitchen.ahead.has_taken, dialect.heard) == (True, 0)
    assert await kitchen.next() == []
    assert dialect.heard == 4


async def test_a_batch_that_was_decoded_before_its_table_grew_fits_all_the_same() -> None:
    kitchen = Kitchen()
    kitchen.put("a1", 2)
    await kitchen.look()
    wide = ReadingTable("automatic", "reading_automatic", ("boils", "amps", "volts"), ("boils", "amps", "volts"))
    kitchen.tables.given["automatic"] = wide
    _, batch = await kitchen.ahead.next(kitchen.meet)
    (part,) = batch.readings
    assert (part.table, part.extra) == (wide, {})
    np.testing.assert_array_equal(part.values, [[1.0, np.nan, 230.0]] * 2)
    narrow = part.widened(ReadingTable("automatic", "t", (*wide.metrics, "ohms"), (*wide.columns, "ohms")))
    assert narrow.values.shape == (2, 4)


async def test_what_was_decoded_ahead_does_not_outlive_a_removal() -> None:
    kitchen = Kitchen()
    kitchen.put("k1", 2)
    kitchen.put("k2", 2)
    await kitchen.look()
    kitchen.sources.devices.remove("k1")

    async def nobody(pieces: Sequence[Piece]) -> None:
        del pieces

    _, batch = await kitchen.ahead.next(nobody)
    assert [part.device_id(position) for part in batch.readings for position in range(len(part))] == ["k2", "k2"]
    assert [row.reason for row in batch.refused] == ["unknown_device"] * len(batch.refused)
    assert batch.refused


async def test_what_was_decoded_ahead_follows_a_device_to_another_model() -> None:
    kitchen = Kitchen()
    kitchen.put("k1", 4)
    kitchen.ahead.look()
    kitchen.sources.devices.put(Device("k1", "default", None, None, partition_of("k1")))
    _, batch = await kitchen.ahead.next(kitchen.meet)
    assert [part.table.model for part in batch.readings] == ["automatic"]
