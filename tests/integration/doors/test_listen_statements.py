"""The specifications' statements, one by one, where a client of other people cannot be brought to break them.

Rows are named after the statements of MQTT 5.0 and 3.1.1 (their appendices B), or after the section.
"""

import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from gateway.doors.listen.server import ListenDoor
from tests.doors import raw
from tests.doors.door import listening
from tests.doors.intake import HeldIntake
from tests.doors.raw import CONNACK, DISCONNECT, PINGRESP, PUBACK, SUBACK, UNSUBACK, RawClient

COMMANDS = "devices/d1/commands/+"


@pytest.fixture
async def door() -> AsyncIterator[ListenDoor]:
    async with listening(HeldIntake(at_once=True), max_packet_bytes=4096) as door:
        yield door


def introduction(flags: int, *fields: bytes, version: int = 5, name: bytes = b"MQTT", properties: bytes = b"") -> bytes:
    """A CONNECT of any fields behind its header."""
    head = raw.text(name) + bytes([version, flags]) + b"\0\0"
    return raw.packet(0x10, head + (raw.properties(properties) if version == 5 else b"") + b"".join(fields))


@dataclass(frozen=True)
class Refused:
    """A CONNECT and the code of the CONNACK that answers it; None: the connection is closed without a word."""

    statement: str
    packet: bytes
    code: int | None


USER = (raw.text("d1"), raw.text("correct horse"))

REFUSED = (
    Refused("MQTT5-3.1.0-1 first packet is no CONNECT", raw.publish(), None),
    Refused("MQTT311-3.1.0-1 first packet is no CONNECT", raw.PINGREQ, None),
    Refused("MQTT5-3.1.2-1 protocol name", introduction(0xC2, raw.text("c"), *USER, name=b"MQTX"), None),
    Refused("MQTT5-3.1.2-2 protocol version 6", introduction(0xC2, raw.text("c"), *USER, version=6), 0x84),
    Refused("MQTT311-3.1.2-2 protocol level 3", introduction(0xC2, raw.text("c"), *USER, version=3), 1),
    Refused("MQTT311-3.1.2-2 MQTT 3.1", introduction(0xC2, raw.text("c"), *USER, version=3, name=b"MQIsdp"), 1),
    Refused("MQTT5-3.1.2-3 reserved flag", introduction(0xC3, raw.text("c"), *USER), 0x81),
    Refused("MQTT311-3.1.2-3 reserved flag", introduction(0xC3, raw.text("c"), *USER, version=4), None),
    Refused("MQTT5-3.1.2-11 will qos without a will", introduction(0xCA, raw.text("c"), *USER), 0x81),
    Refused("MQTT5-3.1.2-12 will qos 3", raw.connect(will=("devices/d1/status", b""), will_flags=0x18), 0x81),
    Refused("MQTT311-3.1.2-14 will qos 3", raw.connect(4, will=("devices/d1/status", b""), will_flags=0x18), None),
    Refused("MQTT5-3.1.2-13 will retain without a will", introduction(0xE2, raw.text("c"), *USER), 0x81),
    Refused("MQTT311-3.1.2-22 password without user", introduction(0x42, raw.text("c"), USER[1], version=4), None),
    Refused("MQTT5-3.1.2.9 password without user", introduction(0x42, raw.text("c"), USER[1]), 0x86),
    Refused("MQTT5-3.1.2.11.3 receive maximum 0", raw.connect(extra=b"\x21\0\0"), 0x82),
    Refused("MQTT5-3.1.2.11.3 receive maximum twice", raw.connect(extra=b"\x21\0\1\x21\0\1"), 0x82),
    Refused("MQTT5-3.1.2.11.4 maximum packet size 0", raw.connect(extra=b"\x27\0\0\0\0"), 0x82),
    Refused("MQTT5-3.1.2-24 maximum packet size below our CONNACK", raw.connect(extra=b"\x27\0\0\0\x10"), 0x95),
    Refused("MQTT5-3.1.2.11.6 request response information 2", raw.connect(extra=b"\x19\2"), 0x82),
    Refused("MQTT5-3.1.2.11.7 request problem information 2", raw.connect(extra=b"\x17\2"), 0x82),
    Refused("MQTT5-3.1.2.11.9 authentication method", raw.connect(extra=b"\x15\0\1x"), 0x8C),
    Refused("MQTT5-3.1.2.11.10 authentication data alone", raw.connect(extra=b"\x16\0\1x"), 0x82),
    Refused("MQTT5-2.2.2.2 a property of PUBLISH", raw.connect(extra=b"\x23\0\1"), 0x81),
    Refused("MQTT5-3.1.3-4 client id with U+0000", raw.connect(client_id="a\0b"), 0x81),
    Refused("MQTT5-3.1.3-4 client id not UTF-8", introduction(0xC2, raw.text(b"\xff"), *USER), 0x81),
    Refused("MQTT5-1.5.4-1 a surrogate", introduction(0xC2, raw.text(b"\xed\xa0\x80"), *USER), 0x81),
    Refused("MQTT5-1.5.4-1 an overlong form", introduction(0xC2, raw.text(b"\xc0\xaf"), *USER), 0x81),
    Refused("MQTT311-1.5.3-1 client id not UTF-8", introduction(0xC2, raw.text(b"\xff"), *USER, version=4), None),
    Refused("MQTT311-3.1.3-8 no client id, session kept", raw.connect(4, client_id="", flags=0), 2),
    Refused("MQTT5-3.1.3-11 will topic with a wildcard", raw.connect(will=("devices/d1/+", b"")), 0x90),
    Refused("MQTT5-4.7.3-1 will topic of no length", raw.connect(will=("", b"")), 0x82),
    Refused("MQTT5-3.2.2-12 will qos 2", raw.connect(will=("devices/d1/status", b""), will_flags=0x10), 0x9B),
    Refused("MQTT5-3.1.3 bytes behind the password", introduction(0xC2, raw.text("c"), *USER, b"x"), 0x81),
    Refused("MQTT5-3.1.3 password missing", introduction(0xC2, raw.text("c"), USER[0]), 0x81),
    Refused(
        "MQTT5-1.5.5-1 property length not minimal", raw.packet(0x10, b"\0\4MQTT\5\xc2\0\0\x80\0" + raw.text("c")), 0x81
    ),
    Refused("MQTT5-2.1.4 remaining length of five bytes", b"\x10\x80\x80\x80\x80\1", None),
)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.statement) for row in REFUSED])
async def test_a_connect_that_breaks_a_statement(door: ListenDoor, row: Refused) -> None:
    async with RawClient(door.port) as client:
        client.send(row.packet)
        answers = await client.read_to_end()
    assert [(answer.kind, answer.code) for answer in answers] == ([] if row.code is None else [(CONNACK, row.code)])
    assert door.connections == 0


@dataclass(frozen=True)
class Broken:
    """A packet that ends the connection: DISCONNECT with this code in MQTT 5, without a word in 3.1.1."""

    statement: str
    packet: bytes
    code: int
    versions: tuple[int, ...] = (5,)


def both(statement: str, packet_5: bytes, packet_311: bytes, code: int) -> tuple[Broken, Broken]:
    """The same in both versions."""
    return Broken(f"MQTT5-{statement}", packet_5, code), Broken(f"MQTT311-{statement}", packet_311, code, (4,))


SUBSCRIPTION = struct.pack(">H", 7) + b"\0" + raw.text(COMMANDS)
SUBSCRIPTION_311 = struct.pack(">H", 7) + raw.text(COMMANDS)

BROKEN = (
    *both("3.1.0-2 second CONNECT", raw.connect(), raw.connect(4), 0x82),
    *both("3.3.1-4 qos 3", raw.publish(first=0x36), raw.publish(first=0x36, version=4), 0x81),
    *both("3.3.1-2 dup at qos 0", raw.publish(first=0x38, qos=0), raw.publish(first=0x38, qos=0, version=4), 0x81),
    *both("3.2.2-11 qos 2", raw.publish(first=0x34), raw.publish(first=0x34, version=4), 0x9B),
    *both("2.2.1-2 packet id 0", raw.publish(packet_id=0), raw.publish(packet_id=0, version=4), 0x82),
    *both("3.3.2-2 wildcard", raw.publish("devices/d1/#"), raw.publish("devices/d1/#", version=4), 0x90),
    *both("3.3.2-1 topic not UTF-8", raw.publish(b"\xff"), raw.publish(b"\xff", version=4), 0x81),
    *both("1.5.4-2 topic with U+0000", raw.publish("a\0"), raw.publish("a\0", version=4), 0x81),
    *both("4.7.3-1 topic of no length", raw.publish(""), raw.publish("", version=4), 0x82),
    Broken("MQTT5-3.3.2-8 topic alias 0", raw.publish(extra=b"\x23\0\0"), 0x94),
    Broken("MQTT5-3.3.2-9 topic alias above the maximum", raw.publish(extra=b"\x23\0\x11"), 0x94),
    Broken("MQTT5-3.3.2.3.4 topic alias unknown", raw.publish("", extra=b"\x23\0\x02"), 0x82),
    Broken("MQTT5-3.3.2.3.2 payload format 2", raw.publish(extra=b"\x01\x02"), 0x82),
    Broken("MQTT5-3.3.2-14 response topic with a wildcard", raw.publish(extra=b"\x08\0\1#"), 0x90),
    Broken("MQTT5-3.3.4-6 subscription identifier", raw.publish(extra=b"\x0b\1"), 0x82),
    Broken("MQTT5-2.2.2.2 property of CONNECT", raw.publish(extra=b"\x11\0\0\0\1"), 0x81),
    Broken("MQTT5-2.2.2.2 property twice", raw.publish(extra=b"\x02\0\0\0\1\x02\0\0\0\1"), 0x82),
    Broken("MQTT5-1.5.7-1 user property not UTF-8", raw.publish(extra=b"\x26\0\1k\0\1\xff"), 0x81),
    Broken("MQTT5-3.1.2-25 packet above the maximum", raw.publish(payload=bytes(5000)), 0x95),
    *both("2.1.3-1 reserved flags of SUBSCRIBE", b"\x80" + raw.subscribe(COMMANDS)[1:], b"\x80\x05\0\1\0\0\0", 0x81),
    *both("3.8.3-2 no topic filter", raw.packet(0x82, b"\0\1\0"), raw.packet(0x82, b"\0\1"), 0x82),
    *both("3.8.3-4 qos 3", raw.packet(0x82, SUBSCRIPTION + b"\3"), raw.packet(0x82, SUBSCRIPTION_311 + b"\3"), 0x82),
    Broken("MQTT5-3.8.3-5 reserved option", raw.packet(0x82, SUBSCRIPTION + b"\x41"), 0x81),
    Broken("MQTT5-3.8.3.1 retain handling 3", raw.packet(0x82, SUBSCRIPTION + b"\x31"), 0x82),
    Broken(
        "MQTT5-3.8.3-4 no local on a shared subscription",
        raw.packet(0x82, b"\0\7\0" + raw.text("$share/a/b") + b"\x05"),
        0x82,
    ),
    Broken("MQTT5-3.2.2.3.12 subscription identifier", raw.subscribe(COMMANDS, extra=b"\x0b\1"), 0xA1),
    *both(
        "3.8.3-1 filter not UTF-8",
        raw.subscribe(b"\xff".decode("latin-1")).replace(b"\xc3\xbf", b"\xff\xff"),
        raw.packet(0x82, b"\0\1\0\1\xff\1"),
        0x81,
    ),
    *both(
        "2.2.1-3 SUBSCRIBE with id 0",
        raw.subscribe(COMMANDS, packet_id=0),
        raw.subscribe(COMMANDS, packet_id=0, version=4),
        0x82,
    ),
    *both("3.10.3-2 UNSUBSCRIBE without a filter", raw.packet(0xA2, b"\0\1\0"), raw.packet(0xA2, b"\0\1"), 0x82),
    *both(
        "3.10.1-1 reserved flags of UNSUBSCRIBE", raw.packet(0xA0, b"\0\1\0\0\1a"), raw.packet(0xA0, b"\0\1\0\1a"), 0x81
    ),
    *both("3.12 PINGREQ with a body", b"\xc0\1\0", b"\xc0\1\0", 0x81),
    *both("2.1.2 packet type 0", b"\0\0", b"\0\0", 0x81),
    *both("2.1.2 CONNACK from a client", b"\x20\2\0\0", b"\x20\2\0\0", 0x82),
    *both("4.3.3 PUBREL without QoS 2", b"\x62\2\0\1", b"\x62\2\0\1", 0x82),
    Broken("MQTT5-3.15 AUTH without a method in CONNECT", b"\xf0\0", 0x82),
    Broken("MQTT311-2.2.1 packet type 15", b"\xf0\0", 0x82, (4,)),
    Broken("MQTT5-3.14.2.2.2 session expiry out of nothing", b"\xe0\x07\0\x05\x11\0\0\0\x09", 0x82),
    Broken("MQTT5-3.14.1-1 reserved flags of DISCONNECT", b"\xe1\0", 0x81),
    Broken("MQTT5-3.14.2.1 a server's reason", b"\xe0\1\x8b", 0x81),
    Broken("MQTT5-3.4.2.1 PUBACK with an unknown reason", b"\x40\3\0\1\x55", 0x82),
    *both("2.1.4 remaining length of five bytes", b"\x32\x80\x80\x80\x80\1", b"\x32\x80\x80\x80\x80\1", 0x81),
    Broken("MQTT5-1.5.5-1 remaining length not minimal", b"\xc0\x80\0", 0x81),
)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.statement) for row in BROKEN])
async def test_a_packet_that_breaks_a_statement_ends_the_connection(door: ListenDoor, row: Broken) -> None:
    (version,) = row.versions
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect(version))
        client.send(row.packet, raw.PINGREQ)
        answers = await client.read_to_end()
    expected = [(DISCONNECT, row.code)] if version == 5 else []
    assert [(answer.kind, answer.code) for answer in answers] == expected
    assert sum(door.stats.violations.values()) == 1


@dataclass(frozen=True)
class Borne:
    """A packet that is unusual and allowed, and what is answered; then the connection goes on."""

    statement: str
    packet: bytes
    kind: int
    body: bytes
    version: int = 5


BORNE = (
    Borne("MQTT5-1.5.4-3 a byte order mark", raw.publish("devices/d1/\ufeff"), PUBACK, b"\0\1"),
    Borne("MQTT5-3.3.1-1 dup at qos 1", raw.publish(first=0x3A), PUBACK, b"\0\1"),
    Borne("MQTT5-3.3.1.3 retain", raw.publish(first=0x33), PUBACK, b"\0\1"),
    Borne("MQTT5-3.3.2-18 user properties, twice the same", raw.publish(extra=b"\x26\0\1k\0\1v" * 2), PUBACK, b"\0\1"),
    Borne("MQTT5-4.7.2-1 a topic with $", raw.publish("$SYS/broker"), PUBACK, b"\0\1"),
    Borne("MQTT5-4.7.3 a topic of slashes", raw.publish("///"), PUBACK, b"\0\1"),
    Borne("MQTT311-4.7.2-1 a topic with $", raw.publish("$SYS/broker", version=4), PUBACK, b"\0\1", 4),
    Borne("MQTT5-3.8.4-6 several filters, each answered", raw.subscribe(COMMANDS, "#"), SUBACK, b"\0\1\0\1\x87"),
    Borne("MQTT5-3.9.3 filter of no length", raw.subscribe(""), SUBACK, b"\0\1\0\x8f"),
    Borne("MQTT5-4.7.1-1 filter with # in its midst", raw.subscribe("a/#/b"), SUBACK, b"\0\1\0\x8f"),
    Borne("MQTT5-4.7.1-2 filter with + beside text", raw.subscribe("a+"), SUBACK, b"\0\1\0\x8f"),
    Borne("MQTT5-3.9.3 shared", raw.subscribe("$share/g/a"), SUBACK, b"\0\1\0\x9e"),
    Borne("MQTT311-3.9.3 refused", raw.subscribe("#", version=4), SUBACK, b"\0\1\x80", 4),
    Borne("MQTT5-3.2.2-10 qos 2 asked, 1 granted", raw.subscribe(COMMANDS, qos=2), SUBACK, b"\0\1\0\1"),
    Borne("MQTT5-3.8.3-1 options of a subscription", raw.packet(0x82, SUBSCRIPTION + b"\x2d"), SUBACK, b"\0\7\0\1"),
    Borne("MQTT5-3.11.3 not subscribed", raw.unsubscribe(COMMANDS), UNSUBACK, b"\0\1\0\x11"),
    Borne("MQTT311-3.10.4-5 not subscribed", raw.unsubscribe(COMMANDS, version=4), UNSUBACK, b"\0\1", 4),
    Borne("MQTT5-4.4 PUBACK of what was not sent", b"\x40\2\0\7" + raw.PINGREQ, PINGRESP, b""),
    Borne("MQTT311-3.12.4-1 ping", raw.PINGREQ, PINGRESP, b"", 4),
)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.statement) for row in BORNE])
async def test_what_is_unusual_and_allowed_is_answered(door: ListenDoor, row: Borne) -> None:
    async with RawClient(door.port) as client:
        await client.log_in(raw.connect(row.version))
        client.send(row.packet)
        answer = await client.read()
        assert (answer.kind, answer.body) == (row.kind, row.body)
        client.send(raw.PINGREQ)
        assert (await client.read()).kind == PINGRESP
    assert door.stats.violations == {}
