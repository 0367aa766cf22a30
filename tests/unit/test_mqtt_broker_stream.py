"""What our client reads of a broker, and what it does not bear."""

import pytest

from gateway.doors.mqtt.answers import Connack, Dismissal, FromBroker, Pingresp, Suback, say
from gateway.doors.mqtt.broker_stream import BrokerStream
from gateway.doors.mqtt.codes import ReasonCode
from gateway.doors.mqtt.packets import Violation
from tests.doors import raw
from tests.doors.publishes import Publish, unfold

WELCOME = b"\x20\x03\0\0\0"


def feed(*packets: bytes, version: int = 5) -> list[FromBroker | Publish]:
    """What comes after a CONNACK."""
    found = BrokerStream(version).feed(b"".join((WELCOME if version == 5 else b"\x20\x02\0\0", *packets)))
    return unfold(found[1:])


def violation(*packets: bytes, version: int = 5) -> ReasonCode:
    last = feed(*packets, version=version)[-1]
    assert isinstance(last, Violation), last
    return last.code


def test_connack_tells_what_counts_instead_of_ours() -> None:
    told = b"\x13\0\x0a" + b"\x27\0\0\x10\0" + b"\x22\0\x0a" + b"\x24\x01" + b"\x1f" + raw.text("hello")
    packet = raw.packet(0x20, b"\x01\0" + raw.properties(told))
    assert BrokerStream(5).feed(packet) == [
        Connack(session_present=True, code=0, detail="hello", keep_alive_s=10, max_packet_bytes=4096)
    ]


def test_a_broker_of_the_past_refuses_the_version_in_its_own_words() -> None:
    expected = [Connack(session_present=False, code=ReasonCode.UNSUPPORTED_PROTOCOL_VERSION)]
    assert BrokerStream(5).feed(b"\x20\x02\0\x01") == expected
    assert BrokerStream(5).feed(b"\x20\x03\0\x84\0") == expected


@pytest.mark.parametrize(("code", "words"), [(4, "Bad user name or password"), (5, "Not authorized")])
def test_return_codes_of_3_1_1_are_told_as_reason_codes(code: int, words: str) -> None:
    (connack,) = BrokerStream(4).feed(bytes([0x20, 2, 0, code]))
    assert isinstance(connack, Connack)
    assert say(connack.code) == words


def test_answers() -> None:
    gone = raw.packet(0xE0, b"\x9d" + raw.properties(b"\x1c" + raw.text("other.example")))
    assert feed(b"\xd0\0", b"\x90\x06\0\x07\0\x01\x87\0", gone) == [
        Pingresp(),
        Suback(7, b"\x01\x87\0"),
        Dismissal(0x9D, "other.example"),
    ]
    assert say(0x9D, "other.example") == "Server moved (other.example)"
    assert say(0xEE) == "reason code 0xee"


def test_what_was_sent_before_is_counted() -> None:
    stream = BrokerStream(5)
    stream.feed(WELCOME)
    again = raw.publish("a", b"x", 7, first=0x3A, extra=b"\x01\x01")
    assert unfold(stream.feed(again + raw.publish("a", b"y", 8))) == [Publish("a", 7, b"x"), Publish("a", 8, b"y")]
    assert stream.redelivered == 1


def test_a_message_is_taken_with_whatever_topic_the_broker_let_pass() -> None:
    found = feed(
        raw.publish(b"a/\xff", packet_id=1), raw.publish(b"a/\0", packet_id=2), raw.publish("a/#", packet_id=3)
    )
    assert [packet.topic for packet in found if isinstance(packet, Publish)] == ["a/\ufffd", "a/\ufffd", "a/#"]


def test_what_a_message_says_besides_its_topic_is_not_judged() -> None:
    extra = b"\x26" + raw.text(b"\xff") + raw.text(b"\0")
    assert feed(raw.publish("a", b"x", extra=extra)) == [Publish("a", 1, b"x")]


def test_many_topics_are_forgotten_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.doors.mqtt.broker_stream._REMEMBERED_TOPICS", 10)
    names = [f"t/{number}" for number in range(25)]
    found = feed(*(raw.publish(name) for name in [*names, *names]))
    assert [packet.topic for packet in found if isinstance(packet, Publish)] == [*names, *names]


def test_no_topic_alias_was_offered() -> None:
    assert violation(raw.publish("", extra=b"\x23\0\x01")) is ReasonCode.TOPIC_ALIAS_INVALID


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (WELCOME, ReasonCode.PROTOCOL_ERROR),
        (raw.publish(qos=2), ReasonCode.QOS_NOT_SUPPORTED),
        (raw.publish(packet_id=0), ReasonCode.PROTOCOL_ERROR),
        (raw.publish(packet_id=0, first=0x3A), ReasonCode.PROTOCOL_ERROR),
        (raw.publish(first=0x36), ReasonCode.MALFORMED_PACKET),
        (raw.packet(0x3A, b"\0\x09a"), ReasonCode.MALFORMED_PACKET),
        (raw.connect(), ReasonCode.PROTOCOL_ERROR),
        (b"\xf0\0", ReasonCode.PROTOCOL_ERROR),
        (b"\xd1\0", ReasonCode.MALFORMED_PACKET),
        (b"\xd0\x01x", ReasonCode.MALFORMED_PACKET),
        (b"\x90\x03\0\x01\0", ReasonCode.PROTOCOL_ERROR),
        (b"\x90\x04\0\0\0\x01", ReasonCode.PROTOCOL_ERROR),
    ],
)
def test_what_is_not_borne(packet: bytes, code: ReasonCode) -> None:
    assert violation(packet) is code


def test_before_connack_nothing_else_may_come() -> None:
    (found,) = BrokerStream(5).feed(raw.publish())
    assert isinstance(found, Violation)
    assert violation(b"\xe0\0", version=4) is ReasonCode.PROTOCOL_ERROR
