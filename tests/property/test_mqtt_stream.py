"""Whatever the bytes and however they are cut into reads, the stream gives the same packets and never raises."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.doors.mqtt.native import CutRuns, load_cutter_of_runs
from gateway.doors.mqtt.packets import Incoming, Violation
from gateway.doors.mqtt.stream import PacketStream
from tests.doors import raw
from tests.doors.publishes import Publish, unfold

LARGEST = 2_000

topics = st.sampled_from(["devices/d1/telemetry", "devices/d2/events", "a", "", "a/+", "ä/ö", b"\xff"])
extras = st.sampled_from([b"", b"\x01\x01", b"\x23\0\x01", b"\x23\0\x11", b"\x26\0\1k\0\1v", b"\x02\0"])


@st.composite
def publishes(draw: st.DrawFn, version: int) -> bytes:
    return raw.publish(
        draw(topics),
        draw(st.binary(max_size=300)),
        draw(st.integers(1, 65_535)),
        version=version,
        qos=draw(st.sampled_from([0, 1, 1, 1])),
        extra=draw(extras) if version == 5 else b"",
    )


def packets(version: int) -> st.SearchStrategy[bytes]:
    rest = [raw.PINGREQ, raw.GOODBYE, b"\x40\x02\0\1", raw.unsubscribe("a", version=version)]
    rest += [raw.subscribe(topic_filter, version=version) for topic_filter in ("a/+", "b", "#")]
    return st.one_of(publishes(version), publishes(version), st.sampled_from(rest))


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A CONNECT and packets, of which some bytes may have been changed."""
    version = draw(st.sampled_from([4, 5]))
    out = bytearray(raw.connect(version) + b"".join(draw(st.lists(packets(version), max_size=12))))
    for at, value in draw(st.lists(st.tuples(st.integers(0, len(out) - 1), st.integers(0, 255)), max_size=2)):
        out[at] = value
    return bytes(out)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({min(place, len(data)) for place in cuts})
    return [data[start:stop] for start, stop in zip([0, *at], [*at, len(data)], strict=True)]


def feed_all(pieces: list[bytes], cutter: CutRuns | None = None, largest: int = LARGEST) -> list[Incoming | Publish]:
    stream = PacketStream(largest, cutter)
    return unfold(packet for piece in pieces for packet in stream.feed(piece))


@settings(max_examples=300)
@given(streams(), st.lists(st.integers(0, 4_000), max_size=12))
def test_any_cut_gives_the_same_packets(data: bytes, cuts: list[int]) -> None:
    assert feed_all(cut(data, cuts)) == feed_all([data])


@given(streams())
def test_single_bytes_give_the_same_packets(data: bytes) -> None:
    assert feed_all([data[at : at + 1] for at in range(len(data))]) == feed_all([data])


@pytest.fixture(scope="module")
def cutter() -> CutRuns:
    """The compiled loop."""
    found = load_cutter_of_runs()
    assert found is not None, (
        "there is no compiled parser: scripts/build_native.py makes it, and needs a C compiler (cc)"
    )
    return found


@settings(max_examples=400)
@given(streams(), st.lists(st.integers(0, 4_000), max_size=4), st.sampled_from([40, 300, LARGEST]))
def test_the_compiled_loop_reads_what_python_reads(cutter: CutRuns, data: bytes, cuts: list[int], largest: int) -> None:
    pieces = cut(data, cuts)
    assert feed_all(pieces, cutter, largest) == feed_all(pieces, None, largest)


@given(st.binary(max_size=40), st.lists(st.sampled_from([0x30, 0x32, 0x3A, 0x80, 0, 1, 4, 8, 127, 128]), max_size=40))
def test_the_compiled_loop_bears_anything(cutter: CutRuns, garbage: bytes, likely: list[int]) -> None:
    for version in (4, 5):
        for data in (garbage, bytes(likely), b"\x32" + garbage, b"\x30\x05\0\x01a" + bytes(likely)):
            before = raw.connect(version) + raw.publish("a", b"1", 1, version=version)
            assert feed_all([before, data], cutter) == feed_all([before, data])


def test_the_compiled_loop_keeps_runs_of_a_topic_together(cutter: CutRuns) -> None:
    packets = [raw.publish(topic, b"x", number, version=4) for number, topic in enumerate("aabba", 1)]
    data = b"".join(packets)
    runs = [(b"a", [1, 2], [b"x"] * 2), (b"b", [3, 4], [b"x"] * 2), (b"a", [5], [b"x"])]
    assert cutter(data, len(data), 4, LARGEST) == (runs, len(data))
    assert cutter(data, len(data) - 1, 4, LARGEST) == (runs[:2], len(data) - len(packets[-1]))


@settings(max_examples=300)
@given(st.binary(max_size=400), st.sampled_from([b"", raw.connect(4), raw.connect(5)]), st.lists(st.integers(0, 400)))
def test_any_bytes_are_borne(garbage: bytes, before: bytes, cuts: list[int]) -> None:
    found = feed_all(cut(before + garbage, cuts))
    assert not any(isinstance(packet, Violation) for packet in found[:-1])
    assert found == feed_all([before + garbage])
