"""A broker throws away commands for devices without a session: who is heard again is told again, until it answers."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
import pytest
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from devices.commands import queries
from devices.commands.model import CommandAnswer, CommandState, NewCommand
from devices.commands.queries import Outgoing, put_command, take_answers, take_outgoing
from gateway.commands.broker import BrokerWay
from gateway.commands.sender import AGAIN_S, Broker, CommandSender, Seats, Ways
from gateway.commands.settings import CommandSettings
from gateway.intake import Bunch, Route, Verdict
from gateway.pipeline.packets import Packets
from gateway.pipeline.taps import Taps
from tests.ingest.rig import Door, HandClock
from tests.integration.test_commands_broker import settings
from tests.services.mosquitto import Mosquitto
from tests.services.patience import PATIENCE_S

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]
REST = NewCommand("c-1", "default", "d-1", "rest", "person:ann", HandClock().at_s, HandClock().at_s + 86_400)


@dataclass
class Listed:
    """A broker that takes everything and keeps nothing."""

    taken: list[str] = field(default_factory=list[str])

    async def publish(self, commands: Sequence[Outgoing], now_s: float) -> list[str]:
        """Take them."""
        self.taken += [command.command_id for command in commands]
        return [command.command_id for command in commands]


@dataclass
class House:
    """A sender at work, and a pipeline's taps."""

    pool: Pool
    sender: CommandSender | None = None
    taps: Taps = field(default_factory=Taps)
    at_s: float = 0.0

    def hear(self, device_id: str = "d-1") -> None:
        """A reading of the device comes."""
        bunch = Bunch(Door(), Route.TELEMETRY, device_id, "t", "json", 0.0, [1], [b"{}"])
        self.taps.tell(Packets([bunch]), [Verdict()])

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.01)

    async def tries(self) -> int:
        """How often the command was handed over."""
        async with self.pool.connection() as conn:
            row = await (await conn.execute("SELECT tries FROM device_command")).fetchone()
        return 0 if row is None else int(row[0])

    async def until_tries(self, wanted: int) -> None:
        """Wait until it was handed over so often, and that is written down."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.tries() != wanted:  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.01)


@pytest.fixture
async def pool(plain_database_url: str) -> AsyncIterator[Pool]:
    """A database with a command for a device."""
    opened: Pool = AsyncConnectionPool(plain_database_url, min_size=1, max_size=2, open=False)
    async with opened:
        async with opened.connection() as conn:
            await conn.execute(
                "INSERT INTO device (tenant_id, device_id, partition, source) VALUES ('default', 'd-1', 0, 'import')"
            )
            await put_command(conn, REST)
        yield opened


@asynccontextmanager
async def at_work(pool: Pool, broker: Broker | None, seats: Seats | None = None) -> AsyncGenerator[House]:
    """A gateway's sender, from its start to its end."""
    house = House(pool)

    async def connect() -> AsyncConnection[TupleRow]:
        assert isinstance(pool.conninfo, str)
        return await AsyncConnection.connect(pool.conninfo, autocommit=True)

    sender = CommandSender(
        pool,
        connect,
        HandClock(),
        structlog.get_logger(),
        tenant_id="default",
        settings=CommandSettings(),
        monotonic=lambda: house.at_s,
    )
    house.sender = sender
    task = asyncio.create_task(sender.run(Ways(seats, broker, house.taps)))
    try:
        yield house
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_who_had_no_session_at_the_broker_gets_the_command_when_it_is_heard(
    mosquitto: Mosquitto, pool: Pool
) -> None:
    async with at_work(pool, BrokerWay(settings(mosquitto.port))) as house:
        await house.until_tries(1)  # the broker has taken it, and thrown it away
        async with aiomqtt.Client(mosquitto.host, mosquitto.port, identifier="d-1") as device:
            await device.subscribe("devices/d-1/commands/+", qos=1)
            house.at_s = AGAIN_S
            house.hear()
            async with asyncio.timeout(PATIENCE_S):
                message = await anext(aiter(device.messages))
        assert str(message.topic) == "devices/d-1/commands/c-1"


async def test_it_is_told_ever_less_often_and_no_more_once_it_has_answered(
    pool: Pool,
) -> None:
    broker = Listed()
    async with at_work(pool, broker) as house:
        await house.until_tries(1)
        house.hear()  # at once after it: the answer may be on its way
        house.hear("d-2")
        for tries, at_s in ((2, AGAIN_S), (3, 3 * AGAIN_S), (4, 7 * AGAIN_S)):
            house.at_s = at_s - 1
            house.hear()
            house.at_s = at_s
            assert await house.tries() == tries - 1
            house.hear()
            await house.until_tries(tries)
        assert broker.taken == ["c-1"] * 4
        async with house.pool.connection() as conn:
            await take_answers(conn, [CommandAnswer("d-1", "c-1", CommandState.DONE, "")], HandClock().at_s)
        house.at_s = 100 * AGAIN_S
        house.hear()
        await house.until(lambda: not house.taps.seeks)
    assert broker.taken == ["c-1"] * 4


async def test_what_was_published_before_a_restart_is_told_again_too(
    pool: Pool,
) -> None:
    async with at_work(pool, Listed()) as house:
        await house.until_tries(1)
    again = Listed()
    async with at_work(pool, again) as house:
        await house.until(lambda: house.taps.seeks)
        house.at_s = AGAIN_S
        house.hear()
        await house.until(lambda: again.taken == ["c-1"])


@dataclass
class Attentive:
    """A device at the listen door; its acknowledgement comes while the sender looks at it once more."""

    heard: list[str] = field(default_factory=list[str])

    def is_connected(self, device_id: str) -> bool:
        """It is."""
        return device_id == "d-1"

    def send_command(self, device_id: str, command_id: str, payload: bytes, expires_in_s: int | None = None) -> bool:
        """Hear it."""
        del device_id, payload, expires_in_s
        self.heard.append(command_id)
        return True


async def test_what_is_acknowledged_while_it_is_looked_at_again_does_not_come_twice(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, looks = Attentive(), 0
    async with at_work(pool, None, device) as house:
        sender = house.sender
        assert sender is not None

        async def take(*arguments: Any) -> list[Outgoing]:
            nonlocal looks
            found = await take_outgoing(*arguments)
            looks += 1
            if looks == 2:
                assert [each.command_id for each in found] == ["c-1"]  # nobody has written down that it has it
                sender.delivered("d-1", "c-1")
            return found

        monkeypatch.setattr(queries, "take_outgoing", take)
        await house.until(lambda: looks == 1)
        await house.until_tries(1)
        sender.hears("d-1")
        await house.until(lambda: looks == 2)
        sender.hears("d-1")  # and once more, when it is written down
        await house.until(lambda: looks == 3)
    assert device.heard == ["c-1"]
