"""What the packet stream reads, and what it refuses, with the reason that the specification names."""

import struct

import pytest

from gateway.doors.mqtt.codes import ReasonCode
from gateway.doors.mqtt.packets import (
    Connect,
    Disconnect,
    Incoming,
    Pingreq,
    Puback,
    Subscribe,
    Unsubscribe,
    Violation,
    Will,
)
from gateway.doors.mqtt.stream import TOPIC_ALIAS_MAXIMUM, PacketStream
from tests.doors import raw
from tests.doors.publishes import Publish, unfold

LARGEST = 10_000


def feed(*packets: bytes, version: int = 5) -> list[Incoming | Publish]:
    """What comes after a CONNECT of this version."""
    found = PacketStream(LARGEST).feed(b"".join((raw.connect(version), *packets)))
    assert isinstance(found[0], Connect)
    return unfold(found[1:])


def violation(*packets: bytes, version: int = 5) -> ReasonCode:
    last = feed(*packets, version=version)[-1]
    assert isinstance(last, Violation), last
    return last.code


def first(packet: bytes) -> Incoming:
    return PacketStream(LARGEST).feed(packet)[0]


@pytest.mark.parametrize("version", [4, 5])
def test_a_connect_is_read_whole(version: int) -> None:
    packet = raw.connect(
        version,
        "me",
        keep_alive=30,
        will=("devices/d1/status", b"offline"),
        will_flags=0x28,
        extra=b"\x11\0\0\0\x0a\x21\0\x05",
    )
    assert first(packet) == Connect(
        version=version,
        client_id="me",
        clean_start=True,
        keep_alive_s=30,
        username="d1",
        password=b"correct horse",
        will=Will("devices/d1/status", b"offline"),
        session_expiry_s=10 if version == 5 else 0,
        receive_maximum=5 if version == 5 else 65_535,
    )


def test_a_connect_does_not_show_its_password() -> None:
    assert "horse" not in repr(first(raw.connect()))


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_publish_is_read_whole(version: int, qos: int) -> None:
    packet = raw.publish(payload=b"\0\xff", packet_id=7, version=version, qos=qos)
    assert feed(packet, packet, version=version) == [Publish("devices/d1/telemetry", 7 * qos, b"\0\xff")] * 2


def test_properties_of_a_publish_are_passed_over() -> None:
    extra = b"\x01\x01" + b"\x02\0\0\0\x05" + b"\x03" + raw.text("a/b") + (b"\x26" + raw.text("k") + raw.text("v")) * 2
    assert feed(raw.publish(payload=b"x", extra=extra)) == [Publish("devices/d1/telemetry", 1, b"x")]


def test_a_topic_alias_stands_for_the_topic_it_was_last_given() -> None:
    found = feed(
        raw.publish("a", extra=b"\x23\0\x01"),
        raw.publish("", extra=b"\x23\0\x01"),
        raw.publish("b", extra=b"\x23\0\x01"),
        raw.publish("", extra=b"\x23\0\x01"),
    )
    assert [publish.topic for publish in found if isinstance(publish, Publish)] == ["a", "a", "b", "b"]


def test_the_other_packets_are_read() -> None:
    assert feed(
        raw.subscribe("a/+", "b", packet_id=2, qos=2),
        raw.unsubscribe("a/+", packet_id=3),
        b"\x40\x02\0\x09",
        b"\x40\x04\0\x09\x80\0",
        raw.PINGREQ,
        b"\xe0\x01\x04",
    ) == [
        Subscribe(2, (("a/+", 2), ("b", 2))),
        Unsubscribe(3, ("a/+",)),
        Puback(9),
        Puback(9),
        Pingreq(),
        Disconnect(with_will=True),
    ]


def test_a_normal_disconnect_wants_no_will() -> None:
    assert feed(raw.GOODBYE) == feed(b"\xe0\x02\0\0") == [Disconnect(with_will=False)]


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        pytest.param(raw.connect(3), ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, id="version 3"),
        pytest.param(raw.connect(6), ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, id="version 6"),
        pytest.param(
            raw.packet(0x10, raw.text("MQIsdp") + b"\3"), ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, id="MQTT 3.1"
        ),
        pytest.param(raw.packet(0x10, raw.text("HTTP") + b"\5"), ReasonCode.MALFORMED_PACKET, id="another protocol"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", ReasonCode.PROTOCOL_ERROR, id="HTTP"),
        pytest.param(b"\x16\x03\x01\x02\0", ReasonCode.PROTOCOL_ERROR, id="TLS on a plain port"),
        pytest.param(raw.PINGREQ, ReasonCode.PROTOCOL_ERROR, id="not CONNECT first"),
        pytest.param(raw.connect(flags=0x03), ReasonCode.MALFORMED_PACKET, id="reserved flag"),
        pytest.param(raw.connect(flags=0x08), ReasonCode.MALFORMED_PACKET, id="will QoS without will"),
        pytest.param(raw.connect(flags=0x20), ReasonCode.MALFORMED_PACKET, id="will retain without will"),
        pytest.param(raw.connect(will=("t", b""), will_flags=0x18), ReasonCode.MALFORMED_PACKET, id="will QoS 3"),
        pytest.param(raw.connect(will=("t", b""), will_flags=0x10), ReasonCode.QOS_NOT_SUPPORTED, id="will QoS 2"),
        pytest.param(raw.connect(will=("t/#", b"")), ReasonCode.TOPIC_NAME_INVALID, id="will with wildcard"),
        pytest.param(raw.connect(4, username=None), ReasonCode.MALFORMED_PACKET, id="3.1.1: password without user"),
        pytest.param(raw.connect(client_id="a\0"), ReasonCode.MALFORMED_PACKET, id="U+0000 in client id"),
        pytest.param(raw.connect(extra=b"\x21\0\0"), ReasonCode.PROTOCOL_ERROR, id="receive maximum 0"),
        pytest.param(raw.connect(extra=b"\x27\0\0\0\0"), ReasonCode.PROTOCOL_ERROR, id="packet size 0"),
        pytest.param(raw.connect(extra=b"\x17\x02"), ReasonCode.PROTOCOL_ERROR, id="a switch that is 2"),
        pytest.param(raw.connect(extra=b"\x21\0\1\x21\0\1"), ReasonCode.PROTOCOL_ERROR, id="property twice"),
        pytest.param(raw.connect(extra=b"\x16\0\1x"), ReasonCode.PROTOCOL_ERROR, id="data without method"),
        pytest.param(raw.connect(extra=b"\x23\0\1"), ReasonCode.MALFORMED_PACKET, id="another packet's property"),
        pytest.param(raw.connect(extra=b"\x7f"), ReasonCode.MALFORMED_PACKET, id="unknown property"),
        pytest.param(
            raw.connect()[:1] + b"\x7f" + raw.connect()[2:] + bytes(200), ReasonCode.MALFORMED_PACKET, id="trailing"
        ),
        pytest.param(b"\x10\xff\xff\xff\x7f", ReasonCode.PACKET_TOO_LARGE, id="CONNECT of 256 MB"),
        pytest.param(b"\x10\xff\xff\xff\xff", ReasonCode.MALFORMED_PACKET, id="remaining length of 5 bytes"),
    ],
)
def test_a_wrong_first_packet_is_refused(packet: bytes, code: ReasonCode) -> None:
    found = first(packet)
    assert isinstance(found, Violation)
    assert found.code == code


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        pytest.param(raw.connect(), ReasonCode.PROTOCOL_ERROR, id="a second CONNECT"),
        pytest.param(b"\x00\x00", ReasonCode.MALFORMED_PACKET, id="type 0"),
        pytest.param(b"\x20\x02\0\0", ReasonCode.PROTOCOL_ERROR, id="a server's packet"),
        pytest.param(b"\xf0\x00", ReasonCode.PROTOCOL_ERROR, id="AUTH"),
        pytest.param(b"\x62\x02\0\1", ReasonCode.PROTOCOL_ERROR, id="PUBREL"),
        pytest.param(b"\xc1\x00", ReasonCode.MALFORMED_PACKET, id="PINGREQ with flags"),
        pytest.param(b"\xc0\x01x", ReasonCode.MALFORMED_PACKET, id="PINGREQ with a body"),
        pytest.param(b"\x80" + raw.subscribe("a")[1:], ReasonCode.MALFORMED_PACKET, id="SUBSCRIBE without its flag"),
        pytest.param(raw.publish(first=0x36), ReasonCode.MALFORMED_PACKET, id="QoS 3"),
        pytest.param(raw.publish(first=0x34), ReasonCode.QOS_NOT_SUPPORTED, id="QoS 2"),
        pytest.param(raw.publish(qos=0, first=0x38), ReasonCode.MALFORMED_PACKET, id="DUP at QoS 0"),
        pytest.param(raw.publish(packet_id=0), ReasonCode.PROTOCOL_ERROR, id="packet id 0"),
        pytest.param(raw.publish("a/+"), ReasonCode.TOPIC_NAME_INVALID, id="wildcard in topic"),
        pytest.param(raw.publish(""), ReasonCode.PROTOCOL_ERROR, id="empty topic"),
        pytest.param(raw.publish("", extra=b"\x23\0\1"), ReasonCode.PROTOCOL_ERROR, id="alias not given before"),
        pytest.param(raw.publish("a", extra=b"\x23\0\0"), ReasonCode.TOPIC_ALIAS_INVALID, id="alias 0"),
        pytest.param(
            raw.publish("a", extra=struct.pack(">BH", 0x23, TOPIC_ALIAS_MAXIMUM + 1)),
            ReasonCode.TOPIC_ALIAS_INVALID,
            id="alias above the maximum",
        ),
        pytest.param(raw.publish("a", extra=b"\x0b\1"), ReasonCode.PROTOCOL_ERROR, id="subscription id from a client"),
        pytest.param(raw.publish("a", extra=b"\x0b\x80\0"), ReasonCode.MALFORMED_PACKET, id="varint not shortest"),
        pytest.param(raw.publish("a", extra=b"\x01\x02"), ReasonCode.PROTOCOL_ERROR, id="payload format 2"),
        pytest.param(raw.publish("a", extra=b"\x01\x01\x01\x01"), ReasonCode.PROTOCOL_ERROR, id="payload format twice"),
        pytest.param(
            raw.publish("a", extra=b"\x08" + raw.text("x/#")), ReasonCode.TOPIC_NAME_INVALID, id="response topic"
        ),
        pytest.param(raw.publish("a", extra=b"\x02\0"), ReasonCode.MALFORMED_PACKET, id="property cut short"),
        pytest.param(raw.publish(b"\xff"), ReasonCode.MALFORMED_PACKET, id="not UTF-8"),
        pytest.param(raw.publish(b"a\0"), ReasonCode.MALFORMED_PACKET, id="U+0000"),
        pytest.param(raw.publish(b"\xed\xa0\x80"), ReasonCode.MALFORMED_PACKET, id="a surrogate"),
        pytest.param(raw.publish(b"\xc0\xaf"), ReasonCode.MALFORMED_PACKET, id="overlong"),
        pytest.param(b"\x32\x00", ReasonCode.MALFORMED_PACKET, id="PUBLISH without anything"),
        pytest.param(b"\x32\x03\x00\x09a", ReasonCode.MALFORMED_PACKET, id="topic past the end"),
        pytest.param(
            raw.packet(0x32, raw.text("a") + b"\0\1\x09\x01"), ReasonCode.MALFORMED_PACKET, id="properties past the end"
        ),
        pytest.param(raw.publish(payload=bytes(LARGEST)), ReasonCode.PACKET_TOO_LARGE, id="too large"),
        pytest.param(b"\x32\xff\xff\xff\x7f", ReasonCode.PACKET_TOO_LARGE, id="too large, by its header alone"),
        pytest.param(b"\x32\x80\x80\x80\x80\x01", ReasonCode.MALFORMED_PACKET, id="remaining length of 5 bytes"),
        pytest.param(b"\xc0\x80\x00", ReasonCode.MALFORMED_PACKET, id="remaining length not shortest"),
        pytest.param(b"\x82\x03\0\1\0", ReasonCode.PROTOCOL_ERROR, id="SUBSCRIBE without a filter"),
        pytest.param(raw.subscribe("a", packet_id=0), ReasonCode.PROTOCOL_ERROR, id="SUBSCRIBE with packet id 0"),
        pytest.param(raw.subscribe("a", qos=3), ReasonCode.PROTOCOL_ERROR, id="SUBSCRIBE at QoS 3"),
        pytest.param(raw.subscribe("a", qos=0x41), ReasonCode.MALFORMED_PACKET, id="reserved subscription option"),
        pytest.param(raw.subscribe("a", qos=0x31), ReasonCode.PROTOCOL_ERROR, id="retain handling 3"),
        pytest.param(raw.subscribe("$share/g/a", qos=0x05), ReasonCode.PROTOCOL_ERROR, id="no local, shared"),
        pytest.param(
            raw.subscribe("a", extra=b"\x0b\1"), ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, id="subscription id"
        ),
        pytest.param(b"\xa2\x03\0\1\0", ReasonCode.PROTOCOL_ERROR, id="UNSUBSCRIBE without a filter"),
        pytest.param(b"\x40\x03\0\1\x92", ReasonCode.PROTOCOL_ERROR, id="PUBACK with another packet's code"),
        pytest.param(b"\xe0\x01\x8b", ReasonCode.MALFORMED_PACKET, id="DISCONNECT with a server's code"),
        pytest.param(b"\xe0\x01\x42", ReasonCode.MALFORMED_PACKET, id="DISCONNECT with a reserved code"),
    ],
)
def test_a_wrong_packet_is_refused(packet: bytes, code: ReasonCode) -> None:
    assert violation(packet) == code


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        pytest.param(raw.subscribe("a", version=4, qos=4), ReasonCode.MALFORMED_PACKET, id="MQTT 5's options"),
        pytest.param(b"\xe0\x01\0", ReasonCode.MALFORMED_PACKET, id="MQTT 5's DISCONNECT"),
        pytest.param(raw.publish("", version=4), ReasonCode.PROTOCOL_ERROR, id="empty topic"),
        pytest.param(b"\x30\x00", ReasonCode.MALFORMED_PACKET, id="PUBLISH without anything"),
        pytest.param(b"\x30\x01\x00", ReasonCode.MALFORMED_PACKET, id="PUBLISH of one byte"),
    ],
)
def test_3_1_1_is_read_by_its_own_rules(packet: bytes, code: ReasonCode) -> None:
    assert violation(packet, version=4) == code


def test_what_came_before_a_violation_is_kept_and_nothing_after_it_is_read() -> None:
    stream = PacketStream(LARGEST)
    found = stream.feed(raw.connect() + raw.PINGREQ + b"\0\0" + raw.PINGREQ)
    assert found[1] == Pingreq()
    assert isinstance(found[2], Violation)
    assert len(found) == 3
    assert stream.feed(raw.PINGREQ) == []


def test_the_largest_packet_allowed_is_taken() -> None:
    overhead = len(raw.publish(payload=bytes(1000))) - 1000
    assert len(feed(raw.publish(payload=bytes(LARGEST - overhead)))) == 1
    assert violation(raw.publish(payload=bytes(LARGEST - overhead + 1))) == ReasonCode.PACKET_TOO_LARGE


def test_a_stream_remembers_a_bounded_number_of_topics() -> None:
    stream = PacketStream(LARGEST)
    stream.feed(raw.connect(4))
    for number in range(1000):
        (found,) = unfold(stream.feed(raw.publish(f"devices/d1/{number}", version=4)))
        assert found == Publish(f"devices/d1/{number}", 1, b"{}")
    assert len(stream._topics) < 100  # pyright: ignore[reportPrivateUsage] - what must stay small
