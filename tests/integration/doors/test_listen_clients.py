"""Clients that were not written here, against the listen door."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest

from devices.errors import QuarantineReason
from gateway.database.provisioned import Provisioned
from gateway.doors.listen.server import ListenDoor
from gateway.intake import Route, Verdict
from tests.doors.door import PASSWORD, listening
from tests.doors.intake import HeldIntake, eventually
from tests.doors.paho import PahoDevice
from tests.services.patience import PATIENCE_S

VERSIONS = pytest.mark.parametrize("version", [4, 5])
AIOMQTT = {4: aiomqtt.ProtocolVersion.V311, 5: aiomqtt.ProtocolVersion.V5}


@pytest.fixture
def intake() -> HeldIntake:
    return HeldIntake()


@pytest.fixture
async def door(intake: HeldIntake) -> AsyncIterator[ListenDoor]:
    async with listening(intake, receive_maximum=100) as door:
        yield door
        intake.settle()


@VERSIONS
async def test_paho_hears_of_its_packets_when_they_are_settled(
    door: ListenDoor, intake: HeldIntake, version: int
) -> None:
    with PahoDevice(version).running(door.port) as device:
        await eventually(lambda: device.connected == ["Success"])
        sent = [device.publish(b"%d" % number) for number in range(5)]
        await eventually(lambda: len(intake.held) == 5)
        assert device.acknowledged == []
        intake.settle(3)
        await eventually(lambda: len(device.acknowledged) == 3)
        intake.settle()
        await eventually(lambda: len(device.acknowledged) == 5)
        assert [mid for mid, _, _ in device.acknowledged] == sent
        assert intake.payloads == [b"0", b"1", b"2", b"3", b"4"]
        device.client.disconnect()
        await eventually(lambda: door.connections == 0)


@VERSIONS
async def test_paho_hears_why_it_is_not_let_in(door: ListenDoor, version: int) -> None:
    with PahoDevice(version, password="wrong").running(door.port) as device:
        await eventually(lambda: device.connected == ["Bad user name or password"])
    with PahoDevice(version, username="").running(door.port) as device:
        await eventually(lambda: device.connected == ["Not authorized"])


async def test_paho_reads_the_reason_of_a_quarantine_and_of_a_refusal(door: ListenDoor, intake: HeldIntake) -> None:
    with PahoDevice(5).running(door.port) as device:
        await eventually(lambda: device.connected)
        bad = device.publish(b"bad")
        foreign = device.publish(b"{}", "devices/d2/telemetry")
        await eventually(lambda: intake.held)
        intake.settle(verdict=Verdict(quarantined=1, reason=QuarantineReason.MALFORMED, detail="not JSON"))
        await eventually(lambda: len(device.acknowledged) == 2)
        assert device.acknowledged == [
            (bad, "Success", "quarantined: malformed: not JSON"),
            (foreign, "Not authorized", ""),
        ]


async def test_paho_is_cut_off_for_another_devices_topic_under_3_1_1(door: ListenDoor, intake: HeldIntake) -> None:
    with PahoDevice(4).running(door.port) as device:
        await eventually(lambda: device.connected)
        device.publish(b"{}", "devices/d2/telemetry")
        await eventually(lambda: device.ended)
    assert intake.packets == []


@VERSIONS
async def test_a_paho_that_is_gone_leaves_its_will(door: ListenDoor, intake: HeldIntake, version: int) -> None:
    device = PahoDevice(version)
    device.client.will_set("devices/d1/status", "offline", qos=1, retain=True)
    with device.running(door.port):
        await eventually(lambda: device.connected)
    await eventually(lambda: intake.payloads == [b"offline"])
    assert intake.packets[0].route is Route.STATUS


async def test_a_second_paho_takes_over(door: ListenDoor) -> None:
    with PahoDevice(5).running(door.port) as old:
        await eventually(lambda: old.connected)
        with PahoDevice(5, client_id="second").running(door.port) as new:
            await eventually(lambda: old.ended == ["Session taken over"])
            await eventually(lambda: new.connected)
            assert door.connections == 1


@VERSIONS
async def test_paho_sends_again_what_was_not_acknowledged(door: ListenDoor, intake: HeldIntake, version: int) -> None:
    device = PahoDevice(version, comes_back=True)
    with device.running(door.port):
        await eventually(lambda: device.connected)
        device.publish(b"once")
        await eventually(lambda: intake.held)
        door.disconnect("d1")
        await eventually(lambda: device.ended)
        intake.settle()  # committed, but nobody is there to hear it
        await eventually(lambda: len(intake.packets) == 2)
        assert device.acknowledged == []
        intake.settle()
        await eventually(lambda: device.acknowledged)
    assert intake.payloads == [b"once", b"once"]


@VERSIONS
async def test_paho_receives_its_commands_only(door: ListenDoor, version: int) -> None:
    with PahoDevice(version).running(door.port) as device:
        await eventually(lambda: device.connected)
        device.client.subscribe([("devices/d1/commands/+", 1), ("devices/+/telemetry", 1)])
        await eventually(lambda: len(device.granted) == 2)
        assert device.granted == ["Granted QoS 1", "Not authorized" if version == 5 else "Unspecified error"]
        assert door.send_command("d1", "c-7", b'{"do":"rest"}')
        await eventually(lambda: device.received == [("devices/d1/commands/c-7", b'{"do":"rest"}')])


@VERSIONS
async def test_paho_stays_while_it_pings(door: ListenDoor, version: int) -> None:
    with PahoDevice(version).running(door.port, keep_alive=3) as device:
        await eventually(lambda: device.connected)
        silent = PahoDevice(version, username="d2", client_id="silent")
        with silent.running(door.port, keep_alive=3):
            await eventually(lambda: silent.connected)
            threading.Thread(target=silent.client.loop_stop).start()  # reads and pings no more
            await eventually(lambda: door.stats.timeouts == 1)
        assert door.is_connected("d1")
        assert device.ended == []


@VERSIONS
async def test_aiomqtt_publishes_and_receives(intake: HeldIntake, version: int) -> None:
    intake = HeldIntake(at_once=True)
    async with (
        listening(intake) as door,
        aiomqtt.Client(
            "127.0.0.1", door.port, username="d1", password=PASSWORD, protocol=AIOMQTT[version], timeout=30
        ) as client,
    ):
        for number in range(20):
            await client.publish("devices/d1/telemetry", b"%d" % number, qos=1)
        await client.publish("devices/d1/status", "online", qos=0, retain=True)
        await client.subscribe("devices/d1/commands/+", qos=1)
        assert door.send_command("d1", "c-1", b"wake")
        async with asyncio.timeout(120):
            message = await anext(aiter(client.messages))
        assert (str(message.topic), message.payload) == ("devices/d1/commands/c-1", b"wake")
        await eventually(lambda: len(intake.packets) == 21)
        assert intake.packets[-1].route is Route.STATUS


@pytest.fixture(params=["mqttv311", "mqttv5"])
def address(request: pytest.FixtureRequest, door: ListenDoor) -> list[str]:
    return ["-V", request.param, "-h", "127.0.0.1", "-p", str(door.port), "-u", "d1"]


async def run(program: Path, *arguments: str, given: bytes = b"") -> tuple[int | None, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, errors = await process.communicate(given)
    return process.returncode, out, errors


async def test_mosquitto_pub_ends_when_its_message_is_settled(
    door: ListenDoor, intake: HeldIntake, provisioned: Provisioned, address: list[str]
) -> None:
    reading = json.dumps({"metrics": {"heart_rate": 61}})
    publishing = asyncio.create_task(
        run(provisioned.mosquitto_pub, *address, "-P", PASSWORD, "-q", "1", "-t", "devices/d1/telemetry", "-m", reading)
    )
    await eventually(lambda: intake.held)
    assert not publishing.done()
    intake.settle()
    code, _, errors = await publishing
    assert (code, errors) == (0, b"")
    assert intake.payloads == [reading.encode()]


@pytest.mark.parametrize("receive_maximum", [5, 1000])
async def test_mosquitto_pub_sends_thousands_of_lines_within_the_receive_maximum(
    provisioned: Provisioned, receive_maximum: int
) -> None:
    intake = HeldIntake(at_once=True)
    async with listening(intake, receive_maximum=receive_maximum) as door:
        lines = [b'{"metrics":{"n":%d}}' % number for number in range(3000)]
        code, _, errors = await run(
            provisioned.mosquitto_pub,
            *("-V", "mqttv5", "-h", "127.0.0.1", "-p", str(door.port), "-u", "d1", "-P", PASSWORD),
            *("-q", "1", "-t", "devices/d1/telemetry", "-l"),
            given=b"\n".join(lines) + b"\n",
        )
        assert (code, errors) == (0, b"")
        assert intake.payloads == lines
        assert door.stats.violations == {}


async def test_mosquitto_pub_says_why_it_is_not_let_in(provisioned: Provisioned, address: list[str]) -> None:
    code, _, errors = await run(
        provisioned.mosquitto_pub, *address, "-P", "wrong", "-t", "devices/d1/status", "-m", "x"
    )
    assert code != 0
    assert b"bad user name or password" in errors.lower()


async def test_mosquitto_sub_receives_the_devices_commands(
    door: ListenDoor, provisioned: Provisioned, address: list[str]
) -> None:
    subscribing = asyncio.create_task(
        run(
            provisioned.mosquitto_sub,
            *address,
            "-P",
            PASSWORD,
            "-q",
            "1",
            "-t",
            "devices/d1/commands/+",
            "-C",
            "1",
            "-v",
        )
    )
    await eventually(lambda: door.send_command("d1", "c-9", b"rinse"))
    code, out, _ = await subscribing
    assert (code, out) == (0, b"devices/d1/commands/c-9 rinse\n")


async def test_mosquitto_pub_brings_properties_and_a_will(
    door: ListenDoor, intake: HeldIntake, provisioned: Provisioned
) -> None:
    arguments = ["-V", "mqttv5", "-h", "127.0.0.1", "-p", str(door.port), "-u", "d1", "-P", PASSWORD, "-x", "3600"]
    arguments += ["-D", "publish", "topic-alias", "2", "-D", "publish", "content-type", "application/json"]
    arguments += ["-D", "publish", "user-property", "firmware", "1.2", "-D", "connect", "receive-maximum", "5"]
    arguments += ["--will-topic", "devices/d1/status", "--will-payload", "offline", "--will-qos", "1"]
    publishing = asyncio.create_task(
        run(provisioned.mosquitto_pub, *arguments, "-q", "1", "-t", "devices/d1/telemetry", "-m", "{}", "--repeat", "2")
    )
    for count in (1, 2):
        await eventually(lambda: len(intake.packets) == count)  # noqa: B023 - awaited within the turn
        intake.settle()
    assert (await publishing)[0] == 0
    assert intake.payloads == [b"{}", b"{}"]  # and no will: it has left in good order
    assert {packet.topic for packet in intake.packets} == {"devices/d1/telemetry"}


async def test_mosquittos_clients_are_told_what_they_may_not(
    door: ListenDoor, intake: HeldIntake, provisioned: Provisioned, address: list[str]
) -> None:
    words = [*address, "-P", PASSWORD]
    _, _, errors = await run(provisioned.mosquitto_sub, *words, "-t", "devices/d2/commands/+", "-C", "1")
    assert b"All subscription requests were denied" in errors
    if "mqttv5" in address:  # 3.1.1 has no word for it
        _, _, errors = await run(provisioned.mosquitto_pub, *words, "-q", "2", "-t", "devices/d1/telemetry", "-m", "{}")
        assert b"QoS not supported" in errors
    assert intake.packets == []
