"""Whatever a broker sends and however it is cut into reads, its client reads the same packets and never raises."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.doors.mqtt.answers import Connack, FromBroker
from gateway.doors.mqtt.broker_stream import BrokerStream
from gateway.doors.mqtt.cut import cut_publishes
from gateway.doors.mqtt.native import CutMixed, load_cutter_of_mixed
from gateway.doors.mqtt.packets import Violation
from tests.doors import raw
from tests.doors.publishes import Publish, unfold

CONNACK = {4: b"\x20\x02\0\0", 5: b"\x20\x09\0\0\x06\x21\0\x14\x13\0\x1e"}
REST = [
    b"\xd0\0",
    b"\x90\x03\0\x01\x01",
    b"\x90\x04\0\x01\0\x01",
    b"\xe0\0",
    b"\xe0\x01\x8e",
    b"\x20\x02\0\0",
    b"\xb0\x02\0\x01",
]

Other = FromBroker | Publish
versions = st.sampled_from([4, 5])


@st.composite
def messages(draw: st.DrawFn, version: int) -> tuple[bytes, Publish]:
    """A PUBLISH as the broker sends it, and as it should be read."""
    topic = draw(st.sampled_from(["devices/d1/telemetry", "devices/d2/events", "ä/ö", "x" * 300]))
    payload = draw(st.binary(max_size=300))
    qos = draw(st.sampled_from([0, 1, 1, 1]))
    packet_id = draw(st.integers(1, 65_535)) if qos else 0
    first = 0x30 | qos << 1 | draw(st.sampled_from([0, 8] if qos else [0])) | draw(st.sampled_from([0, 1]))
    extra = draw(st.sampled_from([b"", b"\x01\x01", b"\x26\0\1k\0\1v", b"\x03" + raw.text("t" * 200)]))
    sent = raw.publish(topic, payload, packet_id, version=version, qos=qos, first=first, extra=extra)
    return sent, Publish(topic, packet_id, payload)


@st.composite
def streams(draw: st.DrawFn) -> tuple[int, bytes]:
    """A CONNACK and packets, of which some bytes may have been changed."""
    version = draw(versions)
    packets = st.one_of(messages(version).map(lambda message: message[0]), st.sampled_from(REST))
    out = bytearray(CONNACK[version] + b"".join(draw(st.lists(packets, max_size=12))))
    for at, value in draw(st.lists(st.tuples(st.integers(0, len(out) - 1), st.integers(0, 255)), max_size=2)):
        out[at] = value
    return version, bytes(out)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({min(place, len(data)) for place in cuts})
    return [data[start:stop] for start, stop in zip([0, *at], [*at, len(data)], strict=True)]


def feed_all(version: int, pieces: list[bytes], cutter: CutMixed | None = None) -> tuple[list[Other], int]:
    stream = BrokerStream(version, cutter)
    return unfold(packet for piece in pieces for packet in stream.feed(piece)), stream.redelivered


@pytest.fixture(scope="module")
def cutter() -> CutMixed:
    """The compiled loop."""
    found = load_cutter_of_mixed()
    assert found is not None, (
        "there is no compiled parser: scripts/build_native.py makes it, and needs a C compiler (cc)"
    )
    return found


@settings(max_examples=500)
@given(streams(), st.integers(0, 400))
def test_the_compiled_loop_finds_what_the_loop_in_python_finds(
    cutter: CutMixed, sent: tuple[int, bytes], position: int
) -> None:
    version, data = sent
    rest = data[position:]
    assert cutter(rest, len(rest), version) == cut_publishes(rest, len(rest), version)


@given(st.binary(max_size=40), st.lists(st.sampled_from([0x30, 0x32, 0x3A, 0x80, 0, 1, 4, 8, 127, 128]), max_size=40))
def test_the_loops_agree_on_anything(cutter: CutMixed, garbage: bytes, likely: list[int]) -> None:
    for data in (garbage, bytes(likely), b"\x32" + garbage, b"\x30\x05\0\x01a" + bytes(likely)):
        for version in (4, 5):
            assert cutter(data, len(data), version) == cut_publishes(data, len(data), version)


def test_the_compiled_loop_takes_any_number(cutter: CutMixed) -> None:
    sent = [(f"devices/d{number}/telemetry", number % 65_535 + 1, b"x" * (number % 200)) for number in range(3000)]
    data = CONNACK[5] + b"".join(raw.publish(topic, payload, packet_id) for topic, packet_id, payload in sent)
    pieces = cut(data, [7, 150_000, 150_001])
    found, _ = feed_all(5, pieces, cutter)
    assert found[1:] == [Publish(*one) for one in sent]
    assert found == feed_all(5, pieces)[0]


@settings(max_examples=300)
@given(streams(), st.lists(st.integers(0, 4_000), max_size=12))
def test_any_cut_gives_the_same_packets(sent: tuple[int, bytes], cuts: list[int]) -> None:
    version, data = sent
    assert feed_all(version, cut(data, cuts)) == feed_all(version, [data])


@given(streams())
def test_single_bytes_give_the_same_packets(sent: tuple[int, bytes]) -> None:
    version, data = sent
    assert feed_all(version, [data[at : at + 1] for at in range(len(data))]) == feed_all(version, [data])


@given(st.data(), versions, st.lists(st.integers(0, 4_000), max_size=12))
def test_every_message_is_read_as_it_was_sent(data: st.DataObject, version: int, cuts: list[int]) -> None:
    sent = data.draw(st.lists(messages(version), max_size=12))
    found, redelivered = feed_all(version, cut(CONNACK[version] + b"".join(packet for packet, _ in sent), cuts))
    assert isinstance(found[0], Connack)
    assert found[1:] == [message for _, message in sent]
    assert redelivered == sum(packet[0] & 8 > 0 for packet, _ in sent)


@settings(max_examples=300)
@given(st.binary(max_size=400), versions, st.booleans(), st.lists(st.integers(0, 400)))
def test_any_bytes_are_borne(garbage: bytes, version: int, let_in: bool, cuts: list[int]) -> None:
    data = (CONNACK[version] if let_in else b"") + garbage
    found, _ = feed_all(version, cut(data, cuts))
    assert not any(isinstance(packet, Violation) for packet in found[:-1])
    assert found == feed_all(version, [data])[0]
