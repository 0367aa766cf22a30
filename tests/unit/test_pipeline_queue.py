"""What waits for a batch: bounded, fair, and in order."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import QuarantineReason
from gateway.intake import Bunch, Kept, Mixed, Packet, Route, Verdict
from gateway.pipeline.costs import Costs
from gateway.pipeline.packets import Packets
from gateway.pipeline.queue import PacketQueue, is_worth_waiting
from gateway.pipeline.settings import BatchSettings
from tests.ingest.rig import Door


def bunch(door: Door, count: int, size: int = 1, device_id: str = "d", codec: str = "json") -> Bunch:
    tokens = [door.next_token() for _ in range(count)]
    return Bunch(door, Route.TELEMETRY, device_id, "t", codec, float(tokens[0]), tokens, [b"x" * size] * count)


def packets(door: Door, count: int, size: int = 1) -> list[Bunch]:
    return [bunch(door, 1, size) for _ in range(count)]


def mixed(door: Door, *device_ids: str, codec: str = "json") -> Mixed:
    tokens = [door.next_token() for _ in device_ids]
    return Mixed(door, Route.TELEMETRY, device_ids, device_ids, codec, float(tokens[0]), tokens, [b"x"] * len(tokens))


def taken(queue: PacketQueue) -> list[Packet]:
    return list(Packets(queue.take()))


def settings(**changes: float) -> BatchSettings:
    return BatchSettings.model_validate({"max_readings": 16, "queue_packets": 100, "queue_bytes": 10_000} | changes)


async def test_packets_come_out_in_the_order_of_their_origin() -> None:
    queue, first, second = PacketQueue(settings()), Door(), Door()
    sent = packets(first, 20), packets(second, 5), [bunch(first, 20)]
    for some in sent:
        queue.put(some)
    found = [packet for _ in range(4) for packet in taken(queue)]
    assert [packet.token for packet in found if packet.origin is first] == list(range(1, 41))
    assert [packet.token for packet in found if packet.origin is second] == list(range(1, 6))
    assert (queue.packets, queue.bytes, queue.oldest_received_s()) == (0, 0, None)


async def test_a_storm_from_one_device_leaves_room_for_the_others() -> None:
    queue, storm, calm = PacketQueue(settings(max_readings=96)), Door(), [Door() for _ in range(5)]
    queue.put([bunch(storm, 1000)])
    for door in calm:
        queue.put(packets(door, 1))
    batch = taken(queue)
    assert len(batch) == 96
    assert {packet.origin for packet in batch} == {storm, *calm}


async def test_what_is_mixed_is_as_fair_as_what_is_not() -> None:
    queue, broker = PacketQueue(settings(max_readings=64)), Door(keeps_order=False)
    queue.put([mixed(broker, *["storm"] * 40), mixed(broker, *["storm"] * 60, "calm"), mixed(broker, "late")])
    assert (queue.packets, queue.bytes, queue.oldest_received_s()) == (102, 102, 1.0)
    assert {packet.device_id for packet in taken(queue)} == {"storm", "calm", "late"}
    assert {packet.device_id for packet in taken(queue)} == {"storm"}
    assert (queue.packets, queue.bytes, [*queue.waiting()], queue.oldest_received_s()) == (0, 0, [], None)


async def test_what_fits_is_taken_as_it_came() -> None:
    queue, broker = PacketQueue(settings()), Door(keeps_order=False)
    pieces = [mixed(broker, "a", "b", "a"), mixed(broker, "b")]
    queue.put(pieces)
    assert [*queue.waiting()] == pieces
    assert queue.take() == pieces
    assert queue.packets == 0


async def test_without_a_storm_a_batch_is_what_came_first() -> None:
    queue, broker = PacketQueue(settings()), Door(keeps_order=False)
    pieces = [mixed(broker, *"abcdefghij"), mixed(broker, *"abcde"), mixed(broker, *"fghijk"), mixed(broker, "a")]
    queue.put(pieces)
    assert queue.take() == pieces[:2]
    assert (queue.packets, queue.bytes, [*queue.waiting()]) == (7, 7, pieces[2:])
    queue.put([bunch(broker, 1, device_id="a")])
    assert [packet.token for packet in taken(queue) if packet.device_id == "a"] == [22, 23]
    assert queue.packets == 0
    queue.put([mixed(broker, *"abcdefghijklmnopqrs"), mixed(broker, "a")])
    assert [len(taken(queue)), len(taken(queue))] == [16, 4]


@given(st.lists(st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=9), st.booleans()), max_size=9))
async def test_each_device_keeps_its_order_however_it_comes(told: list[tuple[list[str], bool]]) -> None:
    queue, door = PacketQueue(settings(max_readings=8), ["sparkplug"]), Door(keeps_order=False)
    sent: list[Packet] = []
    found: list[Packet] = []
    for device_ids, is_mixed in told:
        piece = mixed(door, *device_ids) if is_mixed else bunch(door, len(device_ids), device_id=device_ids[0])
        sent += Packets([piece])
        queue.put([piece])
        found += taken(queue) if len(device_ids) % 2 else []
    while queue.packets:
        found += taken(queue)
    for device_id in "abc":
        tokens = [[packet.token for packet in packets if packet.device_id == device_id] for packets in (sent, found)]
        assert tokens[0] == tokens[1]


async def test_turns_are_small_so_that_a_backlog_is_spread_over_batches() -> None:
    queue, doors = PacketQueue(settings(max_readings=128)), [Door() for _ in range(8)]
    for door in doors:
        queue.put([bunch(door, 100)])
    served = [packet.origin for _ in range(2) for packet in taken(queue)]
    assert [served.count(door) for door in doors] == [32] * 8


async def test_devices_of_a_subscription_have_lanes_of_their_own_and_dialects_one_together() -> None:
    queue, broker = PacketQueue(settings(max_readings=64), ["sparkplug"]), Door(keeps_order=False)
    queue.put([bunch(broker, 100, device_id="storm"), bunch(broker, 1, device_id="calm")])
    assert {packet.device_id for packet in taken(queue)} == {"storm", "calm"}
    told = PacketQueue(settings(max_readings=32), ["sparkplug"])
    sent = [bunch(broker, 20, device_id=f"d{number % 3}", codec="sparkplug") for number in range(4)]
    told.put(sent)
    tokens = [packet.token for _ in range(3) for packet in taken(told)]
    assert tokens == [token for some in sent for token in some.tokens]
    pieces = [mixed(broker, *"abcab" * 8, codec="sparkplug") for _ in range(2)]
    told.put(pieces)
    tokens = [packet.token for _ in range(3) for packet in taken(told)]
    assert tokens == [token for some in pieces for token in some.tokens]


async def test_what_a_broker_had_kept_stays_before_what_it_sends_now() -> None:
    queue, broker = PacketQueue(settings(max_readings=32), ["sparkplug"]), Door(keeps_order=False)
    for codec in ("json", "sparkplug"):
        kept = bunch(broker, 100, codec=codec)
        live = bunch(broker, 10, codec=codec)
        queue.put([kept._replace(origin=Kept(broker)), live])
        tokens = [packet.token for _ in range(4) for packet in taken(queue)]
        assert tokens == [*kept.tokens, *live.tokens]


async def test_who_keeps_the_order_has_one_lane() -> None:
    queue, door = PacketQueue(settings(max_readings=32)), Door(keeps_order=True)
    queue.put([bunch(door, 20, device_id=f"d{number % 2}") for number in range(4)])
    assert [packet.token for _ in range(3) for packet in taken(queue)] == list(range(1, 81))


async def test_a_lone_origin_fills_a_batch() -> None:
    queue, door = PacketQueue(settings()), Door()
    queue.put([bunch(door, 20)])
    assert [len(taken(queue)) for _ in range(2)] == [16, 4]


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
    await asyncio.wait_for(called.wait(), 120)


async def test_bytes_are_bounded_too() -> None:
    queue, door = PacketQueue(settings(max_readings=2)), Door()
    assert not queue.put(packets(door, 3, size=4000))
    assert len(queue.take()) == 1  # more than a batch's worth of bytes in one packet
    several = PacketQueue(settings(max_readings=20))
    several.put([bunch(door, 30, size=1000)])
    assert [len(taken(several)) for _ in range(3)] == [11, 11, 8]


async def test_with_room_a_door_is_called_back_at_once_but_not_from_within() -> None:
    queue, called = PacketQueue(settings()), asyncio.Event()
    queue.when_ready(called.set)
    assert not called.is_set()
    await asyncio.wait_for(called.wait(), 120)


async def test_waiting_ends_with_a_full_batch_or_with_its_age() -> None:
    queue, door = PacketQueue(settings(max_age=60.0)), Door()
    assert not await queue.wait(0.0)
    queue.put(packets(door, 16))
    assert await asyncio.wait_for(queue.wait(600), 50)  # sooner than by its age
    queue.take()
    young = PacketQueue(settings(max_age=0.01))
    young.put(packets(door, 1))
    assert await asyncio.wait_for(young.wait(600), 120)
    young.put([mixed(Door(keeps_order=False), *"abc")])
    assert await asyncio.wait_for(young.wait(600), 120)


async def test_half_a_batch_is_worth_one_to_devices_that_wait_for_it_and_a_whole_one_to_a_broker() -> None:
    door = Door(keeps_order=False)
    ours, brokers = PacketQueue(settings(max_readings=4)), PacketQueue(settings(max_readings=4))
    told = asyncio.Event()
    brokers.when_worth_it(told.set)

    ours.put(packets(door, 2))
    brokers.put([mixed(door, "a", "b")])
    assert ours.is_worth_a_batch
    assert not brokers.is_worth_a_batch
    brokers.put([mixed(door, "c", "d")])
    assert brokers.is_worth_a_batch
    async with asyncio.timeout(60):
        await told.wait()


async def test_a_batch_is_full_by_bytes_too_and_then_waits_for_nothing() -> None:
    queue = PacketQueue(settings(max_readings=4, max_age=60.0))
    queue.put(packets(Door(), 1, 3 * 512))
    assert queue.is_worth_a_batch
    assert not queue.has_a_batch
    queue.put(packets(Door(), 1, 512))
    assert queue.has_a_batch
    async with asyncio.timeout(30):
        assert await queue.wait(0)


def test_a_batch_grows_older_while_many_keep_coming() -> None:
    assert is_worth_waiting(1000, 40_000, 0.025, 0.025)
    assert not is_worth_waiting(50, 2000, 0.025, 0.025), "few"
    assert not is_worth_waiting(1000, 10_000, 0.025, 0.025), "as good as all have come"
    assert not is_worth_waiting(4000, 40_000, 0.1, 0.025), "long enough"
    assert not is_worth_waiting(1000, 0.0, 0.0, 0.0), "nobody is to wait"


async def test_a_dear_devices_backlog_leaves_room_for_who_comes_later() -> None:
    queue, storm, calm = PacketQueue(settings(max_readings=100)), Door(), Door()
    first = bunch(storm, 10, device_id="storm")
    queue.learn([first], [Verdict(quarantined=1, reason=QuarantineReason.MALFORMED)] * 10)
    queue.put([bunch(storm, 90, device_id="storm")])
    assert len(taken(queue)) < 20, "they look like 90 readings, and cost more than 500"
    queue.put([bunch(calm, 3, device_id="calm")])
    assert [packet.device_id for packet in taken(queue)][:3] == ["calm"] * 3
    assert {packet.device_id for packet in taken(queue)} == {"storm"}


async def test_what_a_device_turns_out_to_cost_counts_for_what_it_has_waiting_already() -> None:
    queue, storm = PacketQueue(settings(max_readings=100)), Door()
    pieces = [bunch(storm, 10, device_id="storm") for _ in range(20)]
    queue.put(pieces)
    assert len(taken(queue)) == 100, "nothing is known of it"
    queue.learn(pieces[:10], [Verdict(quarantined=1, reason=QuarantineReason.MALFORMED)] * 100)
    assert len(taken(queue)) < 20


async def test_a_large_packet_among_small_ones_is_weighed_before_anything_is_known_of_its_device() -> None:
    """Together they are small, and a full queue counted them: a batch held some ten times the readings that it may."""
    array = b"[" + b",".join([b'{"metrics":{"n":1}}'] * 100) + b"]"
    queue, storm = PacketQueue(settings(max_readings=100)), Door()
    for number in range(20):
        tokens = [storm.next_token() for _ in range(10)]
        queue.put([Bunch(storm, Route.TELEMETRY, f"s{number}", "t", "json", 0.0, tokens, [array, *[b"1"] * 9])])
    assert len(taken(queue)) < 50


async def test_many_large_packets_do_not_keep_a_newcomer_waiting() -> None:
    array = b"[" + b",".join([b'{"metrics":{"n":1}}'] * 100) + b"]"
    queue, storms, calm = PacketQueue(settings(max_readings=100)), [Door() for _ in range(20)], Door()
    for number, door in enumerate(storms):
        tokens = [door.next_token() for _ in range(10)]
        queue.put([Bunch(door, Route.TELEMETRY, f"s{number}", "t", "json", 0.0, tokens, [array] * 10)])
    served: list[object] = []
    for turn in range(40):
        queue.put([bunch(calm, 1, device_id="calm")])
        batch = taken(queue)
        assert batch[0].device_id == "calm", turn
        assert len(batch) <= 2
        served += [packet.device_id for packet in batch[1:]]
    assert [served.count(f"s{number}") for number in range(20)] == [2] * 20, "and all storms alike"


async def test_who_waits_for_another_turn_gets_it_however_many_bytes_come_anew() -> None:
    queue = PacketQueue(settings(max_readings=100, queue_bytes=10_000_000))
    backlog, others = Door(), Door(keeps_order=False)
    queue.put([bunch(backlog, 2000, device_id="backlog")])
    served = 0
    for number in range(40):
        queue.put([bunch(others, 1, 1000, device_id=f"n{number}-{each}") for each in range(60)])  # more than a batch
        served += "backlog" in {packet.device_id for packet in taken(queue)}
    assert served > 10


async def test_many_dear_devices_and_a_huge_array_make_a_batch_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, door = PacketQueue(settings(max_readings=1000)), Door(keeps_order=False)
    looks = Counter[str]()
    is_dear = Costs.is_dear

    def counted(costs: Costs, device_id: str) -> bool:
        looks[device_id] += 1
        return is_dear(costs, device_id)

    monkeypatch.setattr(Costs, "is_dear", counted)
    for number in range(50):
        storm = bunch(door, 20, device_id=f"s{number}")
        queue.learn([storm], [Verdict(quarantined=1, reason=QuarantineReason.MALFORMED)] * 20)
        queue.put([storm])
    huge = b"[" + b",".join([b'{"metrics":{"n":1}}'] * 20_000) + b"]"
    queue.put([Bunch(door, Route.TELEMETRY, "huge", "t", "json", 0.0, [1], [huge])])
    assert "huge" in {packet.device_id for packet in taken(queue)}
    assert max(looks.values()) < 100, "and not a turn for each that the array costs"


sizes = st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 3000), min_size=1, max_size=30)), max_size=20)


@given(sizes, st.integers(1, 40), st.booleans())
async def test_any_mixture_comes_out_once_and_in_order(
    sent: list[tuple[int, list[int]]], max_readings: int, keeps_order: bool
) -> None:
    queue, doors = PacketQueue(settings(max_readings=max_readings)), [Door(keeps_order=keeps_order) for _ in range(2)]
    expected: dict[object, list[int]] = {}
    for number, payload_sizes in sent:
        door, device_id = doors[number % 2], f"d{number}"
        tokens = [door.next_token() for _ in payload_sizes]
        payloads = [bytes(size) for size in payload_sizes]
        queue.put([Bunch(door, Route.TELEMETRY, device_id, "t", "json", 0.0, tokens, payloads)])
        queue.learn([bunch(Door(), 1, device_id=device_id)], [Verdict(quarantined=number % 3)])
        expected.setdefault(door if keeps_order else device_id, []).extend(tokens)
    found: dict[object, list[int]] = {}
    while queue.packets:
        batch = taken(queue)
        assert 0 < len(batch) <= max_readings
        assert sum(len(packet.payload) for packet in batch[:-1]) < max_readings * 512
        for packet in batch:
            found.setdefault(packet.origin if keeps_order else packet.device_id, []).append(packet.token)
    assert found == expected
    assert queue.bytes == 0
