"""The broker, or our client of it, dies in the middle: what was not stored comes again."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doors import raw
from tests.doors.intake import HeldIntake, eventually
from tests.doors.subscription import TELEMETRY, publish, subscribed
from tests.services.mosquitto import Mosquitto
from tests.services.patience import PATIENCE_S
from tests.services.streams import serving

ROOT = Path(__file__).parent.parent.parent

# A client that settles the first ten packets and then only says what it receives.
CLIENT = """
import asyncio, sys
from tests.doors import raw
from tests.doors.intake import HeldIntake, eventually
from tests.doors.subscription import subscribed

async def main():
    intake = HeldIntake()
    async with subscribed(intake, int(sys.argv[1]), engine=sys.argv[2]) as subscription:
        await eventually(lambda: len(intake.packets) >= 10)
        intake.settle(10)
        await eventually(lambda: subscription.stats.acknowledged == 10 and len(intake.packets) == 100)
        print("received", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(params=["paho", "fast"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine of the door, under the same laws."""
    return request.param


async def test_what_a_killed_client_had_not_settled_comes_again(mosquitto: Mosquitto, engine: str) -> None:
    async with subscribed(HeldIntake(), mosquitto.port, engine=engine):
        pass  # the session exists
    publish(mosquitto, *(str(number) for number in range(100)))
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, str(mosquitto.port), engine, cwd=ROOT, stdout=subprocess.PIPE
    )
    assert client.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        while b"received" not in await client.stdout.readline():
            pass
    await eventually(lambda: mosquitto.log.count("Received PUBACK from careloop-gateway") == 10)
    client.kill()
    await client.communicate()
    intake = HeldIntake(at_once=True)
    async with subscribed(intake, mosquitto.port, engine=engine):
        await eventually(lambda: len(intake.packets) == 90)
    assert intake.payloads == [b"%d" % number for number in range(10, 100)]


async def test_after_a_restart_of_the_broker_the_subscription_resumes(mosquitto: Mosquitto, engine: str) -> None:
    intake = HeldIntake()
    async with subscribed(intake, mosquitto.port, engine=engine) as subscription:
        publish(mosquitto, "1", "2", "3")
        await eventually(lambda: len(intake.packets) == 3)
        intake.settle(1)
        await eventually(lambda: "Received PUBACK from careloop-gateway" in mosquitto.log)
        mosquitto.stop()
        await eventually(lambda: not subscription.healthy)
        mosquitto.start()
        await eventually(lambda: subscription.healthy)
        publish(mosquitto, "4")
        await eventually(lambda: len(intake.packets) == 6)
        assert intake.payloads == [b"1", b"2", b"3", b"2", b"3", b"4"]
        intake.settle()


async def test_after_a_crash_of_the_broker_the_subscription_resumes(mosquitto: Mosquitto, engine: str) -> None:
    intake = HeldIntake(at_once=True)
    async with subscribed(intake, mosquitto.port, engine=engine) as subscription:
        publish(mosquitto, "1")
        await eventually(lambda: intake.payloads == [b"1"])
        mosquitto.kill()
        await eventually(lambda: not subscription.healthy)
        mosquitto.start()
        await eventually(lambda: subscription.healthy)
        publish(mosquitto, "2")
        await eventually(lambda: intake.payloads[-1] == b"2")


class SlowQueue:
    """A broker of the test's own: it has a queue for us, which comes slowly, and its answer to SUBSCRIBE last."""

    def __init__(self, messages: int) -> None:
        self.connections = 0
        self._messages = messages

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        await self._packet(reader)  # CONNECT
        writer.write(b"\x20\x03\x01\x00\x00")  # CONNACK: there is a session
        subscribe = await self._packet(reader)
        for number in range(1, self._messages + 1):
            writer.write(raw.publish(TELEMETRY, b"%d" % number, number))
            await writer.drain()
            await asyncio.sleep(0.22)
        body = subscribe[:2] + b"\0" + b"\1" * self._count_filters(subscribe)
        writer.write(raw.packet(0x90, body))
        while await reader.read(4096):
            pass

    async def _packet(self, reader: asyncio.StreamReader) -> bytes:
        _first, size = await reader.readexactly(2)
        if size >= 0x80:
            size = size - 0x80 + (await reader.readexactly(1))[0] * 128
        return await reader.readexactly(size)

    @staticmethod
    def _count_filters(subscribe: bytes) -> int:
        at, count = 3 + subscribe[2], 0
        while at < len(subscribe):
            at, count = at + 3 + int.from_bytes(subscribe[at : at + 2], "big"), count + 1
        return count


async def test_a_long_queue_before_the_brokers_answer_does_not_end_the_connection(engine: str) -> None:
    """The paho engine used to give up, and was sent the whole queue again, and gave up again, for ever."""
    broker, intake = SlowQueue(25), HeldIntake(at_once=True)
    async with serving(broker.serve) as port, subscribed(intake, port, engine=engine, connect_timeout=5):
        assert broker.connections == 1
    assert intake.payloads == [b"%d" % number for number in range(1, 26)]
