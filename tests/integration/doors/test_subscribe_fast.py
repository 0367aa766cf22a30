"""What our own client says to a broker, byte by byte, and what it makes of brokers that behave strangely."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.doors.routes import Route, RoutePattern, RouteRule, Routes
from gateway.doors.subscribe.choose import Subscription
from tests.doors import raw
from tests.doors.broker import CONNECT, PINGREQ, SUBSCRIBE, WELCOME, Guest, scripted, suback
from tests.doors.intake import HeldIntake, eventually
from tests.doors.subscription import TELEMETRY, new_subscription, subscribed


@pytest.fixture
def intake() -> HeldIntake:
    return HeldIntake()


@asynccontextmanager
async def started(intake: HeldIntake, port: int, **settings: Any) -> AsyncGenerator[Subscription]:
    """A subscription that may not get far, for the length of a `with`."""
    subscription = new_subscription(intake, port, engine="fast", **settings)
    await subscription.start()
    try:
        yield subscription
    finally:
        await subscription.stop()


async def forever(guest: Guest) -> None:
    """Answer pings until the client leaves."""
    await guest.pubacks(1_000_000)


async def test_what_connect_and_subscribe_say(intake: HeldIntake) -> None:
    heard: list[raw.Answer] = []

    async def serve(guest: Guest) -> None:
        heard.append(await guest.read())
        guest.send(WELCOME)
        heard.append(await guest.grant())
        heard.append(await guest.read())

    settings: dict[str, Any] = {
        "receive_maximum": 300,
        "session_expiry": 60,
        "keep_alive": 20,
        "username": "me",
        "password": "secret",
    }
    async with scripted(serve) as port, subscribed(intake, port, engine="fast", **settings):
        pass
    connect, subscribe, goodbye = heard
    told = raw.properties(b"\x11\0\0\0\x3c\x21\x01\x2c")
    names = raw.text("careloop-gateway") + raw.text("me") + raw.text("secret")
    assert connect == raw.Answer(CONNECT, 0, raw.text("MQTT") + b"\x05\xc0\0\x14" + told + names)  # goes on a session
    filters = ["devices/+/telemetry", "devices/+/events", "devices/+/status", "devices/+/commands/+/ack"]
    asked = b"".join(raw.text(topic_filter) + b"\x11" for topic_filter in filters)  # QoS 1, retained if new
    assert subscribe == raw.Answer(SUBSCRIBE, 2, b"\0\x01\0" + asked)
    assert goodbye == raw.Answer(raw.DISCONNECT, 0, b"")  # bare: the session's expiry stays as it was asked for


async def test_acknowledgements_leave_joined_and_in_order_after_their_commit(intake: HeldIntake) -> None:
    first, rest = asyncio.Event(), asyncio.Event()
    found: list[list[int]] = []

    async def serve(guest: Guest) -> None:
        await guest.let_in()
        ids = [9, 3, 65_535, 4, 12]
        guest.send(*(raw.publish(TELEMETRY, b"%d" % packet_id, packet_id) for packet_id in ids))
        guest.send(raw.publish(TELEMETRY, b"0", qos=0), raw.publish(TELEMETRY, b"13", 13))
        found.append(await guest.pubacks(2))
        first.set()
        found.append(await guest.pubacks(4))
        rest.set()
        await forever(guest)

    async with scripted(serve) as port, subscribed(intake, port, engine="fast") as subscription:
        await eventually(lambda: len(intake.packets) == 7)
        assert subscription.stats.acknowledged == 0
        intake.settle(2)
        await asyncio.wait_for(first.wait(), 120)
        assert subscription.stats.acknowledged == 2
        intake.settle()
        await asyncio.wait_for(rest.wait(), 120)
    assert found == [[9, 3], [65_535, 4, 12, 13]]


async def test_many_routes_are_subscribed_a_few_at_a_time(intake: HeldIntake) -> None:
    sizes: list[int] = []

    async def serve(guest: Guest) -> None:
        assert (await guest.read()).kind == CONNECT
        guest.send(WELCOME)
        for _ in range(3):
            subscribe = await guest.grant()
            sizes.append(subscribe.body.count(b"tele/"))
        await forever(guest)

    more = [RouteRule(RoutePattern.parse(f"tele/{n}/{{device_id}}"), Route.TELEMETRY, "json") for n in range(16)]
    async with (
        scripted(serve) as port,
        subscribed(intake, port, Routes(more), engine="fast") as subscription,
    ):
        assert (sizes, subscription.stats.connected) == ([8, 8, 0], 1)


@pytest.mark.parametrize("keep_alive", [30, 1])
async def test_the_brokers_keep_alive_counts_instead_of_ours(intake: HeldIntake, keep_alive: int) -> None:
    pinged = asyncio.Event()

    async def serve(guest: Guest) -> None:
        await guest.let_in(b"\x13\0\x01")
        assert (await guest.read()).kind == PINGREQ
        pinged.set()
        guest.send(b"\xd0\0")
        await forever(guest)

    async with scripted(serve) as port, subscribed(intake, port, engine="fast", keep_alive=keep_alive):
        await asyncio.wait_for(pinged.wait(), 120)


async def test_a_broker_that_answers_no_pings_is_lost(intake: HeldIntake) -> None:
    async def serve(guest: Guest) -> None:
        await guest.let_in()
        while True:
            await guest.read()

    with capture_logs() as logs:
        async with scripted(serve) as port, subscribed(intake, port, engine="fast", keep_alive=1) as subscription:
            await eventually(lambda: subscription.stats.lost >= 1)
    assert "the broker does not answer pings" in reasons(logs)


async def test_a_broker_that_does_not_answer_connect_or_subscribe_is_lost(intake: HeldIntake) -> None:
    guests = 0

    async def serve(guest: Guest) -> None:
        nonlocal guests
        guests += 1
        await guest.read()
        if guests > 1:
            guest.send(WELCOME)
        await guest.read_to_end()

    with capture_logs() as logs:
        async with scripted(serve) as port, started(intake, port, connect_timeout=0.2) as subscription:
            await eventually(lambda: subscription.stats.lost >= 2)
            assert not subscription.healthy
    assert reasons(logs)[:2] == ["the broker did not answer in time"] * 2


async def test_what_was_queued_may_come_before_the_answer_to_subscribe(intake: HeldIntake) -> None:
    """The queue is longer than the pipeline has room for, and takes longer than the connect timeout."""
    intake.is_full = True

    async def serve(guest: Guest) -> None:
        assert (await guest.read()).kind == CONNECT
        guest.send(WELCOME)
        subscribe = await guest.read()
        for packet_id in range(1, 41):
            guest.send(raw.publish(TELEMETRY, b"%d" % packet_id, packet_id))
            await asyncio.sleep(0.09)
        guest.send(suback(subscribe, 4))
        await guest.pubacks(40)
        await forever(guest)

    async with scripted(serve) as port, started(intake, port, connect_timeout=3) as subscription:
        await eventually(lambda: subscription.healthy)
        assert (subscription.stats.lost, len(intake.packets)) == (0, 40)
        intake.settle()
        intake.make_room()
        await eventually(lambda: subscription.stats.acknowledged == 40)


async def test_the_broker_says_why_it_ends(intake: HeldIntake) -> None:
    async def serve(guest: Guest) -> None:
        await guest.let_in()
        guest.send(raw.publish(TELEMETRY, b"1", 1))
        guest.send(raw.packet(0xE0, b"\x8b" + raw.properties(b"\x1f" + raw.text("maintenance"))))

    with capture_logs() as logs:
        async with scripted(serve) as port, started(intake, port) as subscription:
            await eventually(lambda: subscription.stats.lost >= 1)
            assert intake.payloads[0] == b"1"
            intake.settle(1)
            assert (subscription.stats.acknowledged, subscription.stats.too_late) == (0, 1)
    assert reasons(logs)[0] == "the broker ended: Server shutting down (maintenance)"


async def test_a_broker_that_breaks_the_protocol_is_told_so(intake: HeldIntake) -> None:
    answers: list[raw.Answer] = []

    async def serve(guest: Guest) -> None:
        await guest.let_in()
        guest.send(raw.publish("", extra=b"\x23\0\x01"))
        answers.extend(await guest.read_to_end())

    async with scripted(serve) as port, started(intake, port) as subscription:
        await eventually(lambda: subscription.stats.lost >= 1 and answers)
    assert (answers[0].kind, answers[0].code) == (raw.DISCONNECT, 0x94)
    assert intake.packets == []


async def test_a_broker_that_takes_only_small_packets_is_not_sent_large_ones(intake: HeldIntake) -> None:
    answers: list[raw.Answer] = []

    async def serve(guest: Guest) -> None:
        await guest.read()
        guest.send(raw.packet(0x20, b"\0\0" + raw.properties(b"\x27\0\0\0\x40")))
        answers.extend(await guest.read_to_end())

    with capture_logs() as logs:
        async with scripted(serve) as port, started(intake, port) as subscription:
            await eventually(lambda: subscription.stats.lost >= 1)
    assert reasons(logs)[0].startswith("not subscribed: the broker takes 64 bytes")
    assert not any(answer.kind == SUBSCRIBE for answer in answers)


async def test_a_broker_that_closes_without_a_word_may_be_one_of_the_past(intake: HeldIntake) -> None:
    versions: list[int] = []

    async def serve(guest: Guest) -> None:
        versions.append((await guest.read()).body[6])
        if versions in ([5, 4], [5, 4, 5]):
            guest.send(b"\x20\x02\0\0" if versions[-1] == 4 else WELCOME)
            subscribe = await guest.read()
            granted = suback(subscribe, 4)
            guest.send(granted if versions[-1] == 5 else raw.packet(0x90, subscribe.body[:2] + b"\x01" * 4))

    async with scripted(serve) as port, started(intake, port):
        await eventually(lambda: len(versions) == 4)
    assert versions == [5, 4, 5, 5]


async def test_no_more_is_fetched_while_twice_the_receive_maximum_is_unsettled(intake: HeldIntake) -> None:
    """Connections that break again and again, while nothing can be stored, do not fill the memory."""
    guests = 0

    async def serve(guest: Guest) -> None:
        nonlocal guests
        guests += 1
        await guest.let_in()
        guest.send(*(raw.publish(TELEMETRY, b"{}", packet_id) for packet_id in range(1, 6)))
        if guests > 2:
            await guest.pubacks(5)
            await forever(guest)

    async with scripted(serve) as port, started(intake, port, receive_maximum=5, keep_alive=3) as subscription:
        await eventually(lambda: subscription.stats.lost == 2)
        assert (guests, subscription.stats.unsettled, subscription.healthy) == (2, 10, False)
        intake.settle()
        await eventually(lambda: len(intake.packets) == 15)
        intake.settle()
        await eventually(lambda: subscription.stats.acknowledged == 5)
        assert (guests, subscription.stats.too_late) == (3, 10)


async def test_when_it_leaves_the_broker_closes_and_has_read_what_was_acknowledged(
    intake: HeldIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It closed by itself, with messages unread: the broker's system threw the last acknowledgements away."""
    monkeypatch.setattr("gateway.doors.subscribe.fast_connection._LINGER_S", 600.0)
    heard: list[int] = []
    may_close = asyncio.Event()
    intake.is_full = True

    async def serve(guest: Guest) -> None:
        await guest.let_in()
        guest.send(raw.publish(TELEMETRY, b"1", 1))
        heard.append((await guest.read()).kind)
        guest.send(*(raw.publish(TELEMETRY, b"2" * 1000, packet_id) for packet_id in range(2, 200)))
        heard.append((await guest.read()).kind)
        await may_close.wait()

    async with scripted(serve) as port, subscribed(intake, port, engine="fast") as subscription:
        await eventually(lambda: intake.held)
        intake.settle()
        stopping = asyncio.create_task(subscription.stop())
        await eventually(lambda: heard == [raw.PUBACK, raw.DISCONNECT])
        assert not stopping.done()
        may_close.set()
        await stopping
    assert intake.payloads == [b"1"]


@pytest.mark.parametrize("until", [0, 1])
async def test_stopping_while_the_broker_is_silent(intake: HeldIntake, until: int) -> None:
    guests: list[Guest] = []

    async def serve(guest: Guest) -> None:
        guests.append(guest)
        await guest.read_to_end()

    async with scripted(serve) as port, started(intake, port) as subscription:
        await eventually(lambda: len(guests) >= until)
    assert subscription.stats.lost == 0
    assert not any(task.get_name() == "careloop-subscribe" for task in asyncio.all_tasks())


def reasons(logs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Why connections were lost, in order."""
    return [str(entry["reason"]) for entry in logs if entry["event"] == "subscribe.lost"]
