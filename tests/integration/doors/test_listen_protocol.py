"""The listen door, packet by packet."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from devices.errors import QuarantineReason
from gateway.doors.listen.server import ListenDoor
from gateway.intake import Route, Verdict
from tests.doors import raw
from tests.doors.door import OnePassword, listening
from tests.doors.intake import HeldIntake, eventually
from tests.doors.raw import CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBLISH, SUBACK, UNSUBACK, RawClient


@pytest.fixture
def intake() -> HeldIntake:
    return HeldIntake()


@pytest.fixture
async def door(intake: HeldIntake) -> AsyncIterator[ListenDoor]:
    async with listening(intake, receive_maximum=10, max_packet_bytes=2048, max_keep_alive=100) as door:
        yield door
        intake.settle()


# -- who is let in ---------------------------------------------------------------------------------------------------


async def test_a_v5_client_is_told_what_is_offered(door: ListenDoor) -> None:
    async with RawClient(door.port) as client:
        connack = await client.log_in(raw.connect(client_id="", extra=b"\x11\0\0\0\x09", keep_alive=0))
        assert connack.code == 0
        assert connack.body[0] == 0  # no session present
        properties = connack.body[3:]
        assert properties.startswith(b"\x11\0\0\0\0" + b"\x21\0\x0a" + b"\x24\x01" + b"\x27\0\0\x08\0" + b"\x12")
        assert b"\x22\0\x10" in properties  # topic aliases
        assert b"\x29\0\x2a\0" in properties  # no subscription identifiers, no shared subscriptions
        assert properties.endswith(b"\x13\0\x64")  # server keep-alive
        assert door.connections == 1
        assert door.is_connected("d1")


async def test_a_3_1_1_client_is_let_in(door: ListenDoor) -> None:
    async with RawClient(door.port) as client:
        assert (await client.log_in(raw.connect(4))).body == b"\0\0"


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (raw.connect(5, password="wrong"), 0x86),
        (raw.connect(4, password="wrong"), 4),
        (raw.connect(5, username=None, password=None), 0x87),
        (raw.connect(4, username=None, password=None), 5),
        (raw.connect(4, client_id="", flags=0), 2),
        (raw.connect(5, client_id="x" * 300), 0x85),
        (raw.connect(5, extra=b"\x15\0\x05SCRAM"), 0x8C),
        (raw.connect(5, will=("devices/d2/status", b"offline")), 0x87),
        (raw.connect(4, will=("devices/d2/status", b"offline")), 5),
        (raw.connect(4, will=("somewhere", b"offline")), 5),
        (raw.connect(5, will=("devices/d1/status", b""), will_flags=0x10), 0x9B),
        (raw.connect(3), 1),
        (raw.connect(6), 0x84),
        (raw.connect(5, flags=0x03), 0x81),
        (raw.connect(5, extra=b"\x21\0\0"), 0x82),
    ],
)
async def test_who_is_refused_hears_why(door: ListenDoor, packet: bytes, code: int) -> None:
    async with RawClient(door.port) as client:
        client.send(packet)
        answers = await client.read_to_end()
    assert [(answer.kind, answer.code) for answer in answers] == [(CONNACK, code)]
    assert door.connections == 0
    assert sum(door.stats.refused.values()) + sum(door.stats.violations.values()) == 1


async def test_what_is_not_mqtt_hears_nothing(door: ListenDoor) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", bytes(100)):
        async with RawClient(door.port) as client:
            client.send(garbage)
            assert await client.read_to_end() == []
    assert door.stats.violations == {"protocol_error": 3}


async def test_who_does_not_introduce_itself_is_shown_out(intake: HeldIntake) -> None:
    async with listening(intake, connect_timeout=0.1) as door, RawClient(door.port) as client:
        client.send(raw.connect()[:10])
        assert await client.read_to_end() == []
        assert door.stats.timeouts == 1


async def test_too_many_failed_logins_are_not_looked_at_where_looking_takes_long(intake: HeldIntake) -> None:
    authenticator = OnePassword(slow=True)
    async with listening(intake, authenticator, failed_logins_burst=2) as door:
        for _ in range(2):
            async with RawClient(door.port) as client:
                assert (await client.log_in(raw.connect(password="wrong"))).code == 0x86
        for packet, code in ((raw.connect(), 0x9F), (raw.connect(4), 3)):
            async with RawClient(door.port) as client:
                assert (await client.log_in(packet)).code == code
        assert len(authenticator.asked) == 2


async def test_who_knows_its_password_is_let_in_however_often_others_have_guessed(intake: HeldIntake) -> None:
    async with listening(intake, failed_logins_burst=2) as door:
        for expected in (0x86, 0x86, 0x9F, 0x9F):
            async with RawClient(door.port) as guesser:
                assert (await guesser.log_in(raw.connect(password="guess"))).code == expected
        async with RawClient(door.port) as owner:  # from the same address, with a name that is guessed at
            assert (await owner.log_in(raw.connect())).code == 0


async def test_a_device_behind_the_same_address_is_not_held_up_by_a_guesser(intake: HeldIntake) -> None:
    async with listening(intake, failed_logins_burst=2) as door, RawClient(door.port) as client:
        await client.log_in(raw.connect(username="honest"))
        for _ in range(3):
            async with RawClient(door.port) as guesser:
                guesser.send(raw.connect(username="victim", password="guess"))
                await guesser.read_to_end()
        async with RawClient(door.port) as again:
            assert (await again.log_in(raw.connect(username="honest"))).code == 0


async def test_above_the_limit_of_connections_devices_hear_that_the_server_is_busy(intake: HeldIntake) -> None:
    async with listening(intake, max_connections=1) as door, RawClient(door.port) as client:
        await client.log_in(raw.connect())
        for version, code in ((5, 0x89), (4, 3)):
            async with RawClient(door.port) as second:
                assert (await second.log_in(raw.connect(version, username="d2"))).code == code
        assert door.stats.turned_away == 2
        client.send(raw.PINGREQ)
        assert (await client.read()).kind == PINGRESP
        async with RawClient(door.port) as again:  # takes its own seat over
            assert (await again.log_in(raw.connect())).code == 0


async def test_a_slow_login_holds_what_follows_it(intake: HeldIntake) -> None:
    async with listening(intake, OnePassword(slow=True)) as door, RawClient(door.port) as client:
        client.send(raw.connect(), raw.publish(payload=b"1"), raw.publish(payload=b"2", packet_id=2))
        assert (await client.read()).code == 0
        await eventually(lambda: intake.payloads == [b"1", b"2"])
        intake.settle()
        assert [(await client.read()).packet_id for _ in range(2)] == [1, 2]
        async with RawClient(door.port) as stranger:
            assert (await stranger.log_in(raw.connect(password="wrong"))).code == 0x86


# -- publishing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
async def test_acknowledgements_wait_for_settle_and_keep_their_order(
    door: ListenDoor, intake: HeldIntake, version: int
) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect(version))
        client.send(*(raw.publish(payload=b"%d" % number, packet_id=number, version=version) for number in (9, 3, 7)))
        await eventually(lambda: len(intake.packets) == 3)
        client.send(raw.PINGREQ)
        assert (await client.read()).kind == PINGRESP  # and nothing before it
        intake.settle(2)
        client.send(raw.PINGREQ)
        answers = [await client.read() for _ in range(3)]
        assert [answer.kind for answer in answers] == [PUBACK, PUBACK, PINGRESP]
        assert [answer.packet_id for answer in answers[:2]] == [9, 3]
        assert answers[0].body == answers[0].body[:2]  # success is said in two bytes
        intake.settle()
        assert (await client.read()).packet_id == 7
    packet = intake.packets[0]
    assert (packet.route, packet.device_id, packet.topic) == (Route.TELEMETRY, "d1", "devices/d1/telemetry")
    assert (packet.payload, packet.codec) == (b"9", "json")
    assert door.stats.acknowledged == 3


async def test_qos_0_goes_the_same_road_without_an_answer(door: ListenDoor, intake: HeldIntake) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect())
        client.send(raw.publish(qos=0, payload=b"0"), raw.publish(payload=b"1"))
        await eventually(lambda: intake.payloads == [b"0", b"1"])
        intake.settle()
        assert (await client.read()).packet_id == 1
        assert door.stats.acknowledged == 1


async def test_a_quarantined_packet_is_a_success_with_a_reason(door: ListenDoor, intake: HeldIntake) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect())
        client.send(raw.publish())
        await eventually(lambda: intake.held)
        intake.settle(verdict=Verdict(quarantined=1, reason=QuarantineReason.MALFORMED, detail="not JSON"))
        answer = await client.read()
        assert answer.code == 0
        assert answer.body.endswith(b"quarantined: malformed: not JSON")
        assert door.stats.quarantined == 1


async def test_a_client_may_ask_for_no_reasons(door: ListenDoor, intake: HeldIntake) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect(extra=b"\x17\0"))
        client.send(raw.publish())
        await eventually(lambda: intake.held)
        intake.settle(verdict=Verdict(quarantined=1, reason=QuarantineReason.MALFORMED))
        assert len((await client.read()).body) == 2


async def test_another_devices_topic_is_refused_in_its_turn(door: ListenDoor, intake: HeldIntake) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect())
        foreign = "devices/d2/telemetry"
        client.send(
            raw.publish(packet_id=1),
            raw.publish(foreign, packet_id=2),
            raw.publish("devices/d2/anything", packet_id=3),
            raw.publish(foreign, qos=0),
            raw.publish(packet_id=4),
        )
        await eventually(lambda: len(intake.packets) == 2)
        intake.settle()
        answers = [await client.read() for _ in range(4)]
        assert [(answer.packet_id, answer.code) for answer in answers] == [(1, 0), (2, 0x87), (3, 0x87), (4, 0)]
    assert {packet.topic for packet in intake.packets} == {"devices/d1/telemetry"}
    assert door.stats.foreign_topics == 3


async def test_another_devices_topic_ends_a_3_1_1_connection(door: ListenDoor, intake: HeldIntake) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect(4))
        client.send(raw.publish(version=4, payload=b"mine"), raw.publish("devices/d2/telemetry", version=4))
        assert await client.read_to_end() == []
    assert intake.payloads == [b"mine"]


async def test_a_topic_that_no_route_knows_is_passed_on_as_unknown(door: ListenDoor, intake: HeldIntake) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect())
        client.send(raw.publish("v1/telemetry"), raw.publish("devices/d1/whatever", packet_id=2))
        await eventually(lambda: len(intake.packets) == 2)
    assert {(packet.route, packet.device_id) for packet in intake.packets} == {(Route.UNKNOWN, "d1")}


async def test_many_topics_of_one_device_are_borne(intake: HeldIntake) -> None:
    intake = HeldIntake(at_once=True)
    async with listening(intake) as door, RawClient(door.port) as client:
        await client.log_in(raw.connect())
        client.send(*(raw.publish(f"devices/d1/commands/c{number}/ack", qos=0) for number in range(500)))
        await eventually(lambda: len(intake.packets) == 500)
        assert {packet.route for packet in intake.packets} == {Route.COMMAND_ACK}


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (raw.publish(first=0x34), 0x9B),
        (raw.publish("devices/+/telemetry"), 0x90),
        (raw.publish("", extra=b"\x23\0\x11"), 0x94),
        (raw.publish(payload=bytes(3000)), 0x95),
        (raw.connect(), 0x82),
        (b"\xc1\0", 0x81),
        (raw.subscribe("a", extra=b"\x0b\x01"), 0xA1),
        (b"\xe0\x07\0\x05\x11\0\0\0\x09", 0x82),
    ],
)
async def test_a_violation_ends_a_v5_connection_with_its_reason(
    door: ListenDoor, intake: HeldIntake, packet: bytes, code: int
) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect())
        client.send(raw.publish(payload=b"before"), packet, raw.publish(payload=b"after"))
        answers = await client.read_to_end()
    assert [(answer.kind, answer.code) for answer in answers] == [(DISCONNECT, code)]
    assert intake.payloads == [b"before"]
    assert sum(door.stats.violations.values()) == 1


@pytest.mark.parametrize("packet", [raw.publish(first=0x34, version=4), b"\xc1\0", raw.connect(4)])
async def test_a_violation_ends_a_3_1_1_connection_without_a_word(door: ListenDoor, packet: bytes) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect(4))
        client.send(packet)
        assert await client.read_to_end() == []


async def test_the_reason_reaches_a_client_that_is_still_sending(door: ListenDoor) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect())
        client.send(raw.publish(payload=bytes(4_000_000)))
        assert [answer.code for answer in await client.read_to_end()] == [0x95]


async def test_halves_of_packets_are_put_together(door: ListenDoor, intake: HeldIntake) -> None:
    async with RawClient(door.port) as client:
        whole = raw.connect() + raw.publish(payload=b"x" * 300) + raw.publish(payload=b"y" * 300)
        for at in range(0, len(whole), 7):
            client.send(whole[at : at + 7])
            await asyncio.sleep(0)
        await eventually(lambda: intake.payloads == [b"x" * 300, b"y" * 300])


# -- back-pressure ---------------------------------------------------------------------------------------------------


async def test_more_than_the_receive_maximum_ends_the_connection(door: ListenDoor, intake: HeldIntake) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect())
        client.send(*(raw.publish(packet_id=number) for number in range(1, 11)))
        await eventually(lambda: len(intake.held) == 10)
        client.send(raw.PINGREQ)
        assert (await client.read()).kind == PINGRESP
        client.send(raw.publish(packet_id=11))
        assert [(answer.kind, answer.code) for answer in await client.read_to_end()] == [(DISCONNECT, 0x93)]


async def test_acknowledgements_make_room_for_more(door: ListenDoor, intake: HeldIntake) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect())
        for turn in range(5):
            client.send(*(raw.publish(packet_id=number) for number in range(1, 11)))
            await eventually(lambda: len(intake.held) == 10)
            intake.settle()
            assert [(await client.read()).packet_id for _ in range(10)] == list(range(1, 11)), turn


@pytest.mark.parametrize(("version", "qos"), [(4, 1), (4, 0), (5, 0)])
async def test_a_device_that_floods_is_not_read_until_it_is_settled(
    door: ListenDoor, intake: HeldIntake, version: int, qos: int
) -> None:
    async with RawClient(door.port) as client, RawClient(door.port) as other:
        await client.log_in(raw.connect(version))
        flood = [raw.publish(packet_id=number, version=version, qos=qos) for number in range(1, 12)]
        client.send(*flood)
        await eventually(lambda: door.stats.held == 1)
        client.send(raw.publish(payload=b"more", version=version, qos=qos))
        await other.log_in(raw.connect(username="d2"))  # another device is served meanwhile
        other.send(raw.publish("devices/d2/telemetry", payload=b"other"))
        await eventually(lambda: b"other" in intake.payloads)
        assert b"more" not in intake.payloads
        intake.settle()
        await eventually(lambda: b"more" in intake.payloads)


async def test_a_full_pipeline_stops_the_reading_until_there_is_room(intake: HeldIntake) -> None:
    async with listening(intake) as door, RawClient(door.port) as client, RawClient(door.port) as other:
        await client.log_in(raw.connect())
        await other.log_in(raw.connect(username="d2"))
        intake.is_full = True
        client.send(raw.publish(payload=b"1"))
        other.send(raw.publish("devices/d2/telemetry", payload=b"2"))
        await eventually(lambda: door.stats.held == 2)
        client.send(raw.publish(payload=b"3", packet_id=2), raw.PINGREQ)
        intake.settle(1)
        assert (await client.read()).kind == PUBACK  # acknowledgements leave all the same
        assert len(intake.packets) == 1  # the other one is kept with its connection
        intake.make_room()
        assert (await client.read()).kind == PINGRESP
        await eventually(lambda: b"3" in intake.payloads)
        intake.settle()


async def test_a_device_that_does_not_read_its_acknowledgements_is_not_read(intake: HeldIntake) -> None:
    intake = HeldIntake(at_once=True, verdict=Verdict(quarantined=1, detail="x" * 220))  # much to be read
    async with listening(intake, receive_maximum=65_535) as door, RawClient(door.port) as client:
        await client.log_in(raw.connect())
        client._reader._transport.pause_reading()  # type: ignore[attr-defined]
        batch = b"".join(raw.publish(packet_id=number, payload=b"") for number in range(1, 1001))
        while not door.stats.held:
            client.send(batch)
            await asyncio.sleep(0.001)
            assert len(intake.packets) < 500_000


# -- keeping alive, leaving, being replaced --------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
async def test_a_keep_alive_that_is_missed_ends_the_connection(
    door: ListenDoor, intake: HeldIntake, version: int
) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect(version, keep_alive=1, will=("devices/d1/status", b"offline")))
        client.send(raw.publish(version=version)[:9])  # half a packet is no sign of life
        answers = await client.read_to_end()
    assert [(answer.kind, answer.code) for answer in answers] == ([(DISCONNECT, 0x8D)] if version == 5 else [])
    assert intake.payloads == [b"offline"]
    assert door.stats.timeouts == 1


async def test_time_in_which_we_did_not_listen_is_nobodys_silence(intake: HeldIntake) -> None:
    async with listening(intake) as door, RawClient(door.port) as client, RawClient(door.port) as silent:
        await client.log_in(raw.connect(keep_alive=2))
        intake.is_full = True
        client.send(raw.publish())
        await eventually(lambda: door.stats.held)
        await silent.log_in(raw.connect(username="d2", keep_alive=2))  # measures more than the keep-alive of the first
        assert [answer.code for answer in await silent.read_to_end()] == [0x8D]
        client.send(raw.PINGREQ)
        intake.make_room()
        assert (await client.read()).kind == PINGRESP
        intake.settle()


@pytest.mark.parametrize(
    ("goodbye", "is_published"),
    [(raw.GOODBYE, False), (b"\xe0\x01\x04", True), (b"\xc1\0", True), (None, True)],
    ids=["normal", "with will", "violation", "vanished"],
)
async def test_a_will_is_published_unless_the_device_leaves_in_order(
    door: ListenDoor, intake: HeldIntake, goodbye: bytes | None, is_published: bool
) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect(will=("devices/d1/status", b"offline"), will_flags=0x20))
        if goodbye is None:
            client.vanish()
        else:
            client.send(goodbye)
        await eventually(lambda: door.connections == 0)
    assert [(packet.route, packet.payload) for packet in intake.packets] == [(Route.STATUS, b"offline")] * is_published
    assert door.stats.wills == is_published


@pytest.mark.parametrize("client_id", ["client", "another"])
async def test_a_device_that_comes_again_takes_over(door: ListenDoor, intake: HeldIntake, client_id: str) -> None:
    async with RawClient(door.port) as old, RawClient(door.port) as new:
        await old.log_in(raw.connect(will=("devices/d1/status", b"offline")))
        old.send(raw.publish(payload=b"old"))
        await eventually(lambda: intake.held)
        new.send(raw.connect(client_id=client_id), raw.publish("devices/d1/status", payload=b"online", packet_id=5))
        assert (await new.read()).code == 0
        assert [(answer.kind, answer.code) for answer in await old.read_to_end()] == [(DISCONNECT, 0x8E)]
        await eventually(lambda: len(intake.packets) == 3)
        assert intake.payloads == [b"old", b"offline", b"online"]  # the will comes before the newcomer's birth
        intake.settle()
        assert (await new.read()).packet_id == 5  # nothing of the old connection
        assert door.is_connected("d1")
        assert door.stats.taken_over == 1


async def test_devices_with_one_client_id_do_not_push_each_other_out(door: ListenDoor) -> None:
    async with RawClient(door.port) as first, RawClient(door.port) as second:
        await first.log_in(raw.connect(client_id="factory default"))
        await second.log_in(raw.connect(client_id="factory default", username="d2"))
        first.send(raw.PINGREQ)
        assert (await first.read()).kind == PINGRESP
        assert door.connections == 2


async def test_a_revoked_device_is_cut_off(door: ListenDoor) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect())
        door.disconnect("d1")
        door.disconnect("nobody")
        assert [(answer.kind, answer.code) for answer in await client.read_to_end()] == [(DISCONNECT, 0x87)]


async def test_stopping_waits_for_what_was_read(intake: HeldIntake) -> None:
    async with listening(intake) as door, RawClient(door.port) as client, RawClient(door.port) as old:
        await client.log_in(raw.connect(will=("devices/d1/status", b"offline")))
        await old.log_in(raw.connect(4, username="d2"))
        client.send(raw.publish())
        await eventually(lambda: intake.held)
        stopping = asyncio.create_task(door.stop())
        assert await old.read_to_end() == []
        assert not door.healthy
        assert not stopping.done()
        intake.settle()
        answers = await client.read_to_end()
        assert [(answer.kind, answer.code) for answer in answers] == [(PUBACK, 0), (DISCONNECT, 0x8B)]
        await stopping
    assert len(intake.packets) == 1  # our shutdown is nobody's last will


# -- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
async def test_a_device_receives_its_own_commands(door: ListenDoor, version: int) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect(version))
        assert not door.send_command("d1", "c-1", b"too early")
        client.send(raw.subscribe("devices/d1/commands/+", "devices/d2/commands/+", version=version))
        suback = await client.read()
        assert (suback.kind, suback.body[-2:]) == (SUBACK, b"\x01\x87" if version == 5 else b"\x01\x80")
        assert door.send_command("d1", "c-7", b"off")
        command = await client.read()
        assert (command.kind, command.flags) == (PUBLISH, 2)
        assert (
            command.body == raw.text("devices/d1/commands/c-7") + b"\0\x01" + (b"\0" if version == 5 else b"") + b"off"
        )
        client.send(b"\x40\x02\0\x01", raw.unsubscribe("devices/d1/commands/+", version=version))
        unsuback = await client.read()
        assert (unsuback.kind, unsuback.body) == (UNSUBACK, b"\0\x01" + (b"\0\0" if version == 5 else b""))
        assert not door.send_command("d1", "c-8", b"")
        assert not door.send_command("d2", "c-8", b"")


async def test_commands_respect_what_the_client_can_take(door: ListenDoor) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect(extra=b"\x21\0\x01\x27\0\0\0\x64"))  # one at a time, 100 bytes
        client.send(raw.subscribe("devices/d1/commands/+"))
        await client.read()
        assert not door.send_command("d1", "c-1", bytes(100))
        assert door.send_command("d1", "c-1", b"")
        assert not door.send_command("d1", "c-2", b"")
        command = await client.read()
        client.send(b"\x40\x02" + command.body[25:27], raw.PINGREQ)
        assert (await client.read()).kind == PINGRESP
        assert door.send_command("d1", "c-2", b"")
