"""Whatever is thrown at the listen door, it stands, and serves those who behave."""

import asyncio
import random
from typing import Any

import pytest

from devices.errors import ConfigError
from tests.doors import raw
from tests.doors.door import listening
from tests.doors.intake import HeldIntake, eventually
from tests.doors.raw import DISCONNECT, PINGRESP, PUBACK, RawClient

SEED = 20_260_101
STREAMS = 400


def valid_packets(version: int) -> list[bytes]:
    return [
        raw.publish(version=version),
        raw.publish("devices/d1/events", b"x" * 500, 2, version=version),
        raw.publish("devices/d2/telemetry", version=version),
        raw.publish("", packet_id=3, version=version, extra=b"\x23\0\x01"),
        raw.publish("a", packet_id=4, version=version, extra=b"\x23\0\x01"),
        raw.publish(qos=0, version=version),
        raw.subscribe("devices/d1/commands/+", "#", "$share/a/b", version=version),
        raw.unsubscribe("devices/d1/commands/+", version=version),
        raw.connect(version),
        raw.PINGREQ,
        raw.GOODBYE,
        b"\x40\x02\0\x07",
    ]


def hostile_stream(chance: random.Random) -> bytes:
    """A session of valid packets in any order, cut short, with some bytes changed; or nothing but noise."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(200))
    version = chance.choice([4, 5])
    will = ("devices/d1/status", b"offline") if chance.random() < 0.5 else None
    out = bytearray(raw.connect(version, will=will) if chance.random() < 0.9 else b"")
    for _ in range(chance.randrange(12)):
        out += chance.choice(valid_packets(version))
    for _ in range(chance.choice([0, 0, 1, 3]) if out else 0):
        out[chance.randrange(len(out))] = chance.randrange(256)
    return bytes(out[: chance.randrange(len(out) + 1)] if chance.random() < 0.3 else out)


async def test_the_door_stands() -> None:
    chance = random.Random(SEED)
    intake = HeldIntake(at_once=True)
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with listening(intake, failed_logins_burst=0, connections_per_s=100_000, receive_maximum=5) as door:
        async with RawClient(door.port) as honest:
            await honest.log_in(raw.connect(username="honest"))
            for number in range(STREAMS):
                async with RawClient(door.port) as client:
                    stream = hostile_stream(chance)
                    cut = chance.randrange(len(stream) + 1)
                    client.send(stream[:cut])
                    await asyncio.sleep(0)
                    client.send(stream[cut:])
                    if number % 20 == 0:
                        honest.send(raw.publish("devices/honest/telemetry", packet_id=number + 1))
                        assert (await honest.read()).kind == PUBACK
            await eventually(lambda: door.stats.accepted == STREAMS + 1)
            honest.send(raw.PINGREQ)
            assert (await honest.read()).kind == PINGRESP
        await eventually(lambda: door.connections == 0)
        stats = door.stats
    assert faults == []
    assert stats.violations
    assert stats.wills
    assert all(packet.device_id in ("d1", "honest") for packet in intake.packets)
    assert not any(packet.topic.startswith("devices/d2/") for packet in intake.packets)


async def test_a_client_with_little_room_is_told_no_more_than_fits() -> None:
    async with listening(HeldIntake()) as door, RawClient(door.port) as client:
        await client.log_in(raw.connect(extra=b"\x27\0\0\0\x64"))
        client.send(raw.publish(first=0x34))
        (goodbye,) = await client.read_to_end()
        assert (goodbye.kind, goodbye.code) == (DISCONNECT, 0x9B)
        assert len(goodbye.body) <= 2


async def test_a_port_that_is_taken_is_a_wrong_setting() -> None:
    async with listening(HeldIntake()) as door:
        with pytest.raises(ConfigError, match=r"listen.port"):
            async with listening(HeldIntake(), port=door.port):
                pass


async def test_a_door_on_every_loopback_address() -> None:
    async with listening(HeldIntake(), host="localhost") as door, RawClient(door.port) as client:
        assert (await client.log_in(raw.connect())).code == 0
