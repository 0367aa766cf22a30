"""The packet parser under any bytes: it never raises, never loops, and holds no more than a packet may have."""

import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.doors.mqtt.broker_stream import BrokerStream
from gateway.doors.mqtt.framing import Framing
from gateway.doors.mqtt.packets import Violation
from gateway.doors.mqtt.stream import LARGEST_CONNECT, PacketStream
from tests.doors import raw
from tests.doors.hostile import CONNECTS, conversations

LARGEST = 3_000
ROOM = 4_096
"""Bytes that a bytearray may have allotted beyond what is in it."""


def held_bytes(stream: Framing[Any]) -> int:
    """What a stream keeps of a packet that is not complete."""
    return sys.getsizeof(stream._held)  # pyright: ignore[reportPrivateUsage] - what must stay small


LENGTHS = st.one_of(
    st.integers(0, 268_435_455).map(raw.varint), st.binary(min_size=1, max_size=5), st.just(b"\xff\xff\xff\xff\x7f")
)


def check(make: Callable[[], Framing[Any]], largest: int, data: bytes, cuts: list[int]) -> None:
    """Feed `data` in pieces: at most one Violation, which is the last word, and never much held."""
    stream, violations = make(), 0
    at = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    for start, stop in pairwise(at):
        found = stream.feed(data[start:stop])
        assert violations == 0 or found == []
        violations += sum(isinstance(packet, Violation) for packet in found)
        assert violations <= 1
        assert not any(isinstance(packet, Violation) for packet in found[:-1])
        assert held_bytes(stream) <= 2 * largest + ROOM
    if violations:
        assert stream.feed(raw.PINGREQ * 100) == []


@settings(max_examples=300)
@given(conversations(), st.lists(st.integers(0, 10_000), max_size=8))
def test_mutated_conversations(data: bytes, cuts: list[int]) -> None:
    check(lambda: PacketStream(LARGEST), LARGEST, data, cuts)


@settings(max_examples=200)
@given(st.binary(max_size=2_000), st.sampled_from([b"", *CONNECTS]), st.lists(st.integers(0, 4_000), max_size=8))
def test_noise(noise: bytes, before: bytes, cuts: list[int]) -> None:
    check(lambda: PacketStream(LARGEST), LARGEST, before + noise, cuts)


@settings(max_examples=200)
@given(st.integers(0, 255), LENGTHS, st.integers(0, 200), st.booleans(), st.lists(st.integers(0, 6_000), max_size=5))
@example(first=0x32, length=b"\xff\xff\xff\x7f", twenties=200, is_in=True, cuts=[3, 4])
@example(first=0x10, length=b"\xff\xff\x07", twenties=200, is_in=False, cuts=[1, 2, 3])
def test_huge_remaining_lengths_hold_nothing(
    first: int, length: bytes, twenties: int, is_in: bool, cuts: list[int]
) -> None:
    body = bytes([first]) + length + bytes(twenties * 20)
    largest = LARGEST if is_in else LARGEST_CONNECT
    check(lambda: PacketStream(largest), largest, (CONNECTS[0] if is_in else b"") + body, cuts)


@settings(max_examples=200)
@given(st.binary(max_size=1_000), st.sampled_from([4, 5]), st.booleans(), st.lists(st.integers(0, 2_000), max_size=8))
def test_what_a_broker_sends(noise: bytes, version: int, is_in: bool, cuts: list[int]) -> None:
    connack = b"\x20\x02\0\0" if version == 4 else b"\x20\x03\0\0\0"
    data = (connack if is_in else b"") + noise
    check(lambda: BrokerStream(version), len(data), data, cuts)


class Counting(PacketStream):
    """Counts how often it begins to parse."""

    __slots__ = ("begun",)

    def _split(self, data: bytes, found: Any) -> int:
        self.begun += 1
        return super()._split(data, found)


def test_a_large_packet_is_put_together_before_it_is_parsed() -> None:
    stream = Counting(1_000_000)
    stream.begun = 0
    stream.feed(raw.connect(4))
    packet = raw.publish(payload=bytes(200_000), version=4)
    found = [one for at in range(0, len(packet), 100) for one in stream.feed(packet[at : at + 100])]
    assert len(found) == 1
    assert stream.begun <= 3
