"""What waits for a batch: bounded, fair, and in order."""

import asyncio

from gateway.intake import Packet, Route
from gateway.pipeline.queue import PacketQueue
from gateway.pipeline.settings import BatchSettings
from tests.ingest.rig import Door


def packets(door: Door, count: int, size: int = 1) -> list[Packet]:
    return [
        Packet(door, door.next_token(), Route.TELEMETRY, "d", "t", b"x" * size, float(door.next_token()), "json")
        for _ in range(count)
    ]


def settings(**changes: float) -> BatchSettings:
    return BatchSettings.model_validate({"max_readings": 16, "queue_packets": 100, "queue_bytes": 10_000} | changes)


async def test_packets_come_out_in_the_order_of_their_origin() -> None:
    queue, first, second = PacketQueue(settings()), Door(), Door()
    sent = packets(first, 40), packets(second, 5)
    queue.put([*sent[0][:20], *sent[1], *sent[0][20:]])
    taken = [packet for _ in range(4) for packet in queue.take()]
    assert [packet for packet in taken if packet.origin is first] == sent[0]
    assert [packet for packet in taken if packet.origin is second] == sent[1]
    assert (queue.packets, queue.bytes, queue.oldest_received_s()) == (0, 0, None)


async def test_a_storm_from_one_device_leaves_room_for_the_others() -> None:
    queue, storm, calm = PacketQueue(settings()), Door(), [Door() for _ in range(5)]
    queue.put(packets(storm, 1000))
    for door in calm:
        queue.put(packets(door, 1))
    batch = queue.take()
    assert len(batch) == 16
    assert {packet.origin for packet in batch} == {storm, *calm}


async def test_a_lone_origin_fills_a_batch() -> None:
    queue, door = PacketQueue(settings()), Door()
    queue.put(packets(door, 20))
    assert [len(queue.take()) for _ in range(2)] == [16, 4]


async def test_doors_are_told_to_wait_and_called_back_below_half() -> None:
    queue, door = PacketQueue(settings()), Door()
    called = asyncio.Event()
    assert queue.put(packets(door, 99))
    assert not queue.put(packets(door, 1))
    queue.when_ready(called.set)
    for _ in range(3):
        queue.take()
    await asyncio.sleep(0)
    assert not called.is_set()
    queue.take()
    await asyncio.wait_for(called.wait(), 5)


async def test_bytes_are_bounded_too() -> None:
    queue, door = PacketQueue(settings(max_readings=2)), Door()
    assert not queue.put(packets(door, 3, size=4000))
    assert len(queue.take()) == 1  # more than a batch's worth of bytes in one packet


async def test_with_room_a_door_is_called_back_at_once_but_not_from_within() -> None:
    queue, called = PacketQueue(settings()), asyncio.Event()
    queue.when_ready(called.set)
    assert not called.is_set()
    await asyncio.wait_for(called.wait(), 5)


async def test_waiting_ends_with_a_full_batch_or_with_its_age() -> None:
    queue, door = PacketQueue(settings(max_age=30.0)), Door()
    assert not await queue.wait(0.0)
    queue.put(packets(door, 16))
    assert await asyncio.wait_for(queue.wait(5), 5)
    queue.take()
    young = PacketQueue(settings(max_age=0.01))
    young.put(packets(door, 1))
    assert await asyncio.wait_for(young.wait(5), 5)
