"""Publishers that are faster than the database: memory stays bounded, nothing is lost, and nobody is starved."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.doors import raw
from tests.doors.batches import QueuedIntake
from tests.doors.door import listening
from tests.doors.intake import HeldIntake, eventually
from tests.doors.raw import PINGRESP, PUBACK, RawClient
from tests.services.patience import PATIENCE_S

ONE_READ = 262_144
"""Bytes that an event loop takes from a socket at a time, at most."""


async def swamped(clients: int, messages: int, size: int, **bounds: int) -> QueuedIntake:
    """Every client sends all it has, at QoS 1 and without a window; the database stores a batch now and then."""
    intake = QueuedIntake(**bounds)
    async with listening(intake) as door, AsyncExitStack() as stack:
        devices: list[RawClient] = []
        for number in range(clients):
            device = await stack.enter_async_context(RawClient(door.port))
            await device.log_in(raw.connect(4, username=f"d{number}", client_id=f"d{number}"))
            devices.append(device)
        for number, device in enumerate(devices):
            topic = f"devices/d{number}/telemetry"
            for turn in range(messages):
                device.send(raw.publish(topic, b"%08d" % turn + bytes(size - 8), turn + 1, version=4))
        listening_to = [asyncio.create_task(_acknowledged(device, messages)) for device in devices]
        await eventually(lambda: door.stats.held)
        async with asyncio.timeout(PATIENCE_S):
            while len(intake.stored) < clients * messages:
                intake.store_a_batch()
                await asyncio.sleep(0)
        assert await asyncio.gather(*listening_to) == [list(range(1, messages + 1))] * clients
    return intake


async def _acknowledged(device: RawClient, count: int) -> list[int]:
    answers = [await device.read() for _ in range(count)]
    assert {answer.kind for answer in answers} == {PUBACK}
    return [answer.packet_id for answer in answers]


@pytest.mark.parametrize(("clients", "messages"), [(1, 2000), (40, 50)], ids=["one device", "many devices"])
async def test_what_waits_is_bounded_by_bytes_and_nothing_is_lost(clients: int, messages: int) -> None:
    bound = 500_000
    intake = await swamped(clients, messages, 3000, queue_bytes=bound, max_readings=50)
    assert clients * messages * 3000 > 10 * bound
    assert intake.largest <= bound + ONE_READ
    for number in range(clients):
        mine = [payload[:8] for device_id, payload in intake.stored if device_id == f"d{number}"]
        assert mine == [b"%08d" % turn for turn in range(messages)]


async def test_what_waits_is_bounded_by_packets() -> None:
    intake = await swamped(20, 500, 100, queue_packets=300, max_readings=50)
    assert intake.largest <= 300 * 100 + ONE_READ


@pytest.mark.parametrize("storms", [1, 30])
async def test_a_storm_does_not_starve_a_device_that_says_little(storms: int) -> None:
    """Its acknowledgement comes with the next few batches, however much of the others waits."""
    intake = QueuedIntake(max_readings=64, queue_packets=2000)
    async with listening(intake) as door, AsyncExitStack() as stack:
        for number in range(storms):
            name = f"s{number:02}"
            storm = await stack.enter_async_context(RawClient(door.port))
            await storm.log_in(raw.connect(4, username=name, client_id=name))
            topic = f"devices/{name}/telemetry"
            storm.send(*(raw.publish(topic, b"garbage", packet_id, version=4) for packet_id in range(1, 3001)))
        quiet = await stack.enter_async_context(RawClient(door.port))
        await quiet.log_in(raw.connect(username="quiet"))
        await eventually(lambda: door.stats.held)
        for turn in range(1, 6):
            before, waiting = intake.batches, intake.queue.packets
            quiet.send(raw.publish("devices/quiet/telemetry", b"%d" % turn, turn))
            answer = asyncio.create_task(quiet.read())
            async with asyncio.timeout(PATIENCE_S):
                while not answer.done():
                    if intake.queue.packets:
                        intake.store_a_batch()
                    await asyncio.sleep(0.001)  # time for the network, which a loop that only turns does not give
            assert ((await answer).kind, (await answer).packet_id) == (PUBACK, turn)
            assert intake.waited["quiet"] <= waiting // 64 + 20  # what waited before it, and a round of all
            assert intake.batches - before <= waiting // 64 + 300  # the loop turns while the network brings it
        while len(intake.stored) < 3000 * storms + 5:
            intake.store_a_batch()
            await asyncio.sleep(0)


@pytest.mark.parametrize("storms", [2, 30])
async def test_huge_arrays_do_not_keep_a_device_waiting_that_says_little(
    monkeypatch: pytest.MonkeyPatch, storms: int
) -> None:
    """Not even while they fill the queue: its message is in the first batch or the second after its coming."""
    monkeypatch.setattr("gateway.doors.listen.server._STOP_S", 0.1)  # what is left of the storm is stored by nobody
    array = b"[" + b",".join([b'{"metrics":{"n":1}}'] * 1000) + b"]"
    intake = QueuedIntake(max_readings=5000, queue_bytes=1_000_000)
    async with listening(intake) as door, AsyncExitStack() as stack:
        for number in range(storms):
            name = f"s{number:02}"
            storm = await stack.enter_async_context(RawClient(door.port))
            await storm.log_in(raw.connect(4, username=name, client_id=name))
            topic = f"devices/{name}/telemetry"
            storm.send(*(raw.publish(topic, array, packet_id, version=4) for packet_id in range(1, 101)))
        quiet = await stack.enter_async_context(RawClient(door.port))
        await quiet.log_in(raw.connect(username="quiet"))
        await eventually(lambda: intake.queue.is_full)
        for turn in range(1, 6):
            assert intake.queue.packets > 20
            heard = door.stats.published
            quiet.send(raw.publish("devices/quiet/telemetry", b"%d" % turn, turn))
            await eventually(lambda: door.stats.published > heard)  # noqa: B023 - awaited within the turn
            before, answer = intake.batches, asyncio.create_task(quiet.read())
            while not answer.done():
                assert intake.batches - before < 20, "the storm would take 20 batches and more to be stored"
                intake.store_a_batch()
                await asyncio.sleep(
                    0.005
                )  # for the door to hand on what it has, and for the network to bring the answer
            assert ((await answer).kind, (await answer).packet_id) == (PUBACK, turn)
            assert intake.waited["quiet"] <= 2


async def test_what_a_device_that_does_not_read_is_sent_is_bounded() -> None:
    async with listening(HeldIntake()) as door, RawClient(door.port) as client:
        await client.log_in(raw.connect())
        client.send(raw.subscribe("devices/d1/commands/+", qos=0))
        await client.read()
        sent = 0
        while door.send_command("d1", "c-1", bytes(50_000)):
            sent += 1
            assert sent < 2000  # 100 MB
        assert door.is_connected("d1")


async def test_devices_that_come_again_and_again_while_there_is_no_room_bring_nothing_twice() -> None:
    intake = HeldIntake()
    async with listening(intake) as door:
        intake.is_full = True
        async with RawClient(door.port) as first:
            await first.log_in(raw.connect(username="first"))
            first.send(raw.publish("devices/first/telemetry"))
            await eventually(lambda: intake.held)
            for turn in range(5):
                async with RawClient(door.port) as client:
                    await client.log_in(raw.connect())
                    client.send(raw.publish(payload=b"once"))
                    await eventually(lambda: door.stats.held >= turn + 2)  # noqa: B023 - awaited within the turn
            assert len(intake.packets) == 1
            async with RawClient(door.port) as last:
                await last.log_in(raw.connect())
                last.send(raw.publish(payload=b"once"))
                await eventually(lambda: door.stats.held >= 7)
                intake.make_room()
                await eventually(lambda: intake.payloads == [b"{}", b"once"])
                intake.settle()
                assert (await last.read()).kind == PUBACK


async def test_who_brings_nothing_is_read_until_the_others_keep_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.doors.listen.context._MOST_KEPT", 20_000)
    intake = HeldIntake()
    async with listening(intake) as door, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(RawClient(door.port)) for _ in range(4)]
        for number, client in enumerate(clients):
            await client.log_in(raw.connect(username=f"d{number}"))
        first, second, third, idle = clients
        intake.is_full = True
        first.send(raw.publish("devices/d0/telemetry"))
        await eventually(lambda: intake.held)
        second.send(raw.publish("devices/d1/telemetry", bytes(10_000)))
        await eventually(lambda: door.stats.held == 2)
        idle.send(raw.PINGREQ)
        assert (await idle.read()).kind == PINGRESP
        third.send(raw.publish("devices/d2/telemetry", bytes(12_000)))
        await eventually(lambda: door.stats.held == 4)  # now the idle one too
        late = await stack.enter_async_context(RawClient(door.port))
        await late.log_in(raw.connect(username="late"))
        await eventually(lambda: door.stats.held == 5)
        for client in (idle, late):
            client.send(raw.PINGREQ)
        assert len(intake.packets) == 1
        intake.make_room()
        assert {(await idle.read()).kind, (await late.read()).kind} == {PINGRESP}
        await eventually(lambda: len(intake.packets) == 3)
        intake.settle()
