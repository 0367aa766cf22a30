"""After a pause a subscription connects anew: at once, not too often, and only where that may bring something."""

import random

import pytest
from structlog.testing import capture_logs

from gateway.doors.settings import SubscribeSettings
from gateway.doors.subscribe.renewal import IN_VAIN, MANY, NOT_TAKEN
from gateway.doors.subscribe.retry import delay_s
from gateway.intake import Verdict
from tests.doors import raw
from tests.doors.broker import WELCOME, Guest, scripted, suback
from tests.doors.intake import HeldIntake, eventually
from tests.doors.subscription import TELEMETRY, new_subscription, subscribed

NEVER = 3600.0
OFTEN = 60  # enough for a look to fall between two messages
REFUSED = raw.packet(0x20, b"\0\x87\0")
KEEPS_NO_SESSION = b"\x11\0\0\0\0"


@pytest.fixture(params=["paho", "fast"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine of the door, under the same laws."""
    return request.param


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is due is done before the next message."""
    monkeypatch.setattr("gateway.doors.subscribe.renewal.LOOK_S", 0.0)
    monkeypatch.setattr("gateway.doors.subscribe.fast_connection.LOOK_S", 0.001)


class Broker:
    """Lets everybody in, and sends what the test asks for."""

    def __init__(self, properties: bytes = b"") -> None:
        self.guests: list[Guest] = []
        self.here: Guest | None = None  # whoever has not said goodbye
        self.acknowledged = 0
        self._properties = properties

    async def serve(self, guest: Guest) -> None:
        """One connection."""
        await guest.let_in(self._properties)
        await self.listen(guest)

    async def listen(self, guest: Guest) -> None:
        """Until it says goodbye."""
        self.guests.append(guest)
        self.here = guest
        while (answer := await guest.read()).kind != raw.DISCONNECT:
            self.acknowledged += answer.kind == raw.PUBACK
        self.here = None if self.here is guest else self.here

    async def send(self, intake: HeldIntake, qos: int = 1) -> None:
        """A message on the newest connection, which arrives, if it is not left meanwhile."""
        await eventually(lambda: self.here is not None)
        assert self.here is not None
        known, guests = len(intake.packets), len(self.guests)
        packet_id = known + 1 if qos else 0
        self.here.send(raw.publish(TELEMETRY, b"{}", packet_id, qos=qos))
        await eventually(lambda: len(intake.packets) > known or len(self.guests) > guests)


async def pause(broker: Broker, intake: HeldIntake, qos: int = 1) -> None:
    """A message for which there is room, but for no other one until it is acknowledged.

    By then the thread of paho's engine has mostly seen that, too.
    """
    intake.is_full = True
    guests, acknowledged = len(broker.guests), broker.acknowledged
    await broker.send(intake, qos)
    intake.settle()
    if qos:
        await eventually(lambda: broker.acknowledged > acknowledged or len(broker.guests) > guests)
    intake.make_room()


async def test_it_connects_anew_at_once_and_not_again_for_a_while(engine: str) -> None:
    """A broker keeps little for who is away: Mosquitto 1,000 messages, unless it is told otherwise."""
    intake, broker = HeldIntake(), Broker()
    with capture_logs() as logs:
        async with (
            scripted(broker.serve) as port,
            subscribed(
                intake, port, engine=engine, protocol="5", reconnect_min=NEVER, reconnect_max=NEVER
            ) as subscription,
        ):
            await eventually(lambda: broker.guests)
            for _ in range(1000):
                if len(broker.guests) == 1:
                    await pause(broker, intake)
            await eventually(lambda: subscription.healthy)
            await eventually(lambda: subscription.stats.unsettled == 0 < broker.acknowledged)
            for _ in range(10):
                await pause(broker, intake)
            assert (len(broker.guests), subscription.stats.connected, subscription.stats.lost) == (2, 2, 0)
    assert [entry["event"] for entry in logs if entry["event"] != "subscribe.ready"] == ["subscribe.renewed"]


@pytest.mark.parametrize(("qos", "properties"), [(0, b""), (1, KEEPS_NO_SESSION)])
async def test_it_stays_where_what_comes_meanwhile_would_be_lost(engine: str, qos: int, properties: bytes) -> None:
    intake, broker = HeldIntake(), Broker(properties)
    async with (
        scripted(broker.serve) as port,
        subscribed(intake, port, engine=engine, protocol="5") as subscription,
    ):
        await eventually(lambda: broker.guests)
        for _ in range(OFTEN):
            await pause(broker, intake, qos)
        assert (len(broker.guests), subscription.stats.connected) == (1, 1)


async def test_it_connects_anew_until_a_connection_begins_with_nothing_that_was_sent_before(engine: str) -> None:
    """A broker that gave up more than it can send at once gives up the rest again; that came at a restart only."""
    intake, broker = HeldIntake(at_once=True), Broker()
    sent_before = b"".join(raw.publish(TELEMETRY, b"again", number, first=0x3A) for number in range(1, MANY + 1))

    async def serve(guest: Guest) -> None:
        await guest.let_in()
        if len(broker.guests) < 3:
            guest.send(sent_before)
        await broker.listen(guest)

    async with (
        scripted(serve) as port,
        subscribed(intake, port, engine=engine, protocol="5") as subscription,
    ):
        await eventually(lambda: len(broker.guests) == 4)
        for _ in range(OFTEN):
            await broker.send(intake)
        broker.guests[-1].send(sent_before)  # after something new
        await eventually(lambda: broker.acknowledged == 4 * MANY + OFTEN)
        assert (len(broker.guests), subscription.stats.lost, subscription.stats.redelivered) == (4, 0, 4 * MANY)


async def test_a_broker_that_does_not_take_acknowledgements_is_told(engine: str) -> None:
    """It made careloop connect anew for ever, and nothing said so."""
    intake, broker = HeldIntake(verdict=Verdict(duplicates=1)), Broker()
    again = b"".join(raw.publish(TELEMETRY, b"again", number, first=0x3A) for number in range(1, MANY + 1))

    async def serve(guest: Guest) -> None:
        await guest.let_in()
        guest.send(again if len(broker.guests) < IN_VAIN + 3 else b"")
        await broker.listen(guest)

    async with scripted(serve) as port, subscribed(intake, port, engine=engine, protocol="5") as subscription:
        for _ in range(IN_VAIN + 2):
            await eventually(lambda: len(intake.held) == MANY)
            assert (subscription.trouble, subscription.healthy) == (None, True)
            intake.settle()
        await eventually(lambda: (subscription.trouble, subscription.healthy) == (NOT_TAKEN, False))
        await eventually(lambda: len(intake.held) == MANY)
        intake.settle()
        await eventually(lambda: (subscription.trouble, subscription.healthy) == (None, True))


async def test_a_connection_that_was_left_for_another_one_ends_the_row_of_failures(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After hours without a fault the first connection that failed was waited after as if it were the sixth."""
    failures: list[int] = []

    def remember(settings: SubscribeSettings, count: int, jitter: random.Random) -> float:
        failures.append(count)
        return delay_s(settings, count, jitter)

    monkeypatch.setattr(f"gateway.doors.subscribe.{engine}_engine.delay_s", remember)
    intake, broker = HeldIntake(at_once=True), Broker()
    callers = 0

    async def serve(guest: Guest) -> None:
        nonlocal callers
        callers += 1
        if callers in {1, 2, 3, 5}:
            await guest.read()
            guest.send(REFUSED)
            return
        await guest.let_in()
        if callers == 4:
            guest.send(b"".join(raw.publish(TELEMETRY, b"{}", number, first=0x3A) for number in range(1, MANY + 1)))
        await broker.listen(guest)

    async with scripted(serve) as port, subscribed(intake, port, engine=engine, protocol="5"):
        await eventually(lambda: callers == 6)
        assert failures == [1, 2, 3, 1]


async def test_it_waits_for_the_answer_to_subscribe(engine: str) -> None:
    """What a broker had queued comes before it, with pauses between; who left then would never get there."""
    intake, broker, asked = HeldIntake(), Broker(), list[raw.Answer]()

    async def serve(guest: Guest) -> None:
        await guest.read()
        guest.send(WELCOME)
        asked.append(await guest.read())
        await broker.listen(guest)

    async with scripted(serve) as port:
        subscription = new_subscription(
            intake, port, engine=engine, protocol="5", receive_maximum=1, connect_timeout=NEVER
        )
        await subscription.start()
        try:
            await eventually(lambda: broker.guests)
            for packet_id in range(1, 2 * OFTEN, 2):  # two receive maxima: no more is read until they are settled
                broker.guests[0].send(*(raw.publish(TELEMETRY, b"{}", each) for each in (packet_id, packet_id + 1)))
                await eventually(lambda: len(intake.held) == 2)
                intake.settle()
                await eventually(lambda: broker.acknowledged == len(intake.packets))
            assert (len(broker.guests), subscription.healthy) == (1, False)
            broker.guests[0].send(suback(asked[0], 4))
            await eventually(lambda: len(broker.guests) == 2)
        finally:
            await subscription.stop()
    assert subscription.stats.lost == 0
