"""Packets that come one a read go a shorter way than others: in the same order, and nothing else becomes of them."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.doors.listen.connection import Connection
from gateway.doors.listen.singles import LARGEST_SINGLE, Gathering, Plain, Sender
from gateway.doors.mqtt.packets import Publishes
from gateway.doors.mqtt.stream import PacketStream
from gateway.intake import Bunch, Gathered, Mixed, Packet, Piece, Route, Verdict
from gateway.pipeline.answering import settle
from gateway.pipeline.packets import Packets
from gateway.pipeline.queue import PacketQueue
from gateway.pipeline.settings import BatchSettings
from tests.doors import raw
from tests.doors.intake import HeldIntake
from tests.doors.wired import connected, door_of
from tests.ingest.rig import Door

TOPIC = "devices/d1/telemetry"
NOBODY = cast("Sender", object())

versions = st.sampled_from([4, 5])


@st.composite
def reads(draw: st.DrawFn, version: int) -> bytes:
    """About a PUBLISH, some bytes of which may have been changed, or be missing, or be too many."""
    topic = draw(st.sampled_from([TOPIC, TOPIC, TOPIC, "devices/d1/events", ""]))
    extra = draw(st.sampled_from([b"", b"", b"", b"\x01\x01", b"\x23\0\x01"])) if version == 5 else b""
    qos = draw(st.sampled_from([0, 1, 1, 1, 2]))
    payload = b"x" * draw(st.one_of(st.integers(0, 300), st.integers(900, 1100)))
    data = bytearray(raw.publish(topic, payload, draw(st.integers(0, 9)), version=version, qos=qos, extra=extra))
    for at, value in draw(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255)), max_size=1)):
        data[at % len(data)] = value
    more = draw(st.integers(-3, 3))
    return bytes(data[:more] if more < 0 else data + b"\xc0\0"[:more])


@settings(max_examples=500)
@given(versions.flatmap(lambda version: st.tuples(st.just(version), reads(version))))
def test_what_goes_the_short_way_is_what_the_long_way_finds(case: tuple[int, bytes]) -> None:
    version, data = case
    gathering = Gathering("json")
    size = Plain(TOPIC, "d1", version, gathering).add(NOBODY, data)
    assert (size >= 0) == bool(gathering.payloads)
    if size >= 0:
        stream = PacketStream(1_000_000)
        stream.feed(raw.connect(version))
        assert stream.feed(data) == [Publishes(TOPIC, gathering.packet_ids, gathering.payloads)]
        assert stream.is_between
        assert size == len(gathering.payloads[0])


@st.composite
def right_reads(draw: st.DrawFn, version: int) -> bytes:
    """A PUBLISH or two, or something else, with nothing wrong in it."""
    topic = draw(st.sampled_from([*[TOPIC] * 10, "devices/d1/events", "devices/d2/telemetry"]))
    first, second = [
        raw.publish(topic, b"%d" % number, number, version=version, qos=draw(st.sampled_from([*[1] * 9, 0])))
        for number in draw(st.tuples(st.integers(1, 99), st.integers(1, 99)))
    ]
    return draw(st.sampled_from([first, first, first, first + second, raw.PINGREQ + first]))


histories = versions.flatmap(
    lambda version: st.tuples(
        st.just(version),
        st.lists(st.one_of(*[right_reads(version)] * 12, reads(version), st.integers(0, 3)), min_size=5, max_size=30),
    )
)


@settings(max_examples=200, deadline=None)
@given(histories, st.sampled_from([1, 2, 3, 1000]))
async def test_a_device_and_an_operator_see_no_difference_between_the_ways(
    history: tuple[int, Sequence[bytes | int]], window: int
) -> None:
    with patch.object(Connection, "get_used_to"):
        long_way = await _seen(*history, window)
    assert await _seen(*history, window) == long_way


async def _seen(version: int, history: Sequence[bytes | int], window: int) -> list[object]:
    """What comes of reads, and of so many packets being settled between them: packets, answers and counters."""
    intake = HeldIntake()
    door = door_of(intake, receive_maximum=window)
    connection, wire = connected(door, "d1", version)
    for what in history:
        if isinstance(what, bytes):
            connection.data_received(what)
        else:
            await asyncio.sleep(0)
            intake.settle(what)
    await asyncio.sleep(0)
    intake.settle()
    door.wheel.stop()
    packets = [packet._replace(origin=NOBODY, received_s=0.0) for packet in intake.packets]
    return [packets, bytes(wire.written), wire.is_read, connection.is_open, door.counters]


@pytest.mark.parametrize("version", [4, 5])
def test_plain_packets_of_any_length_go_the_short_way(version: int) -> None:
    gathering = Gathering("json")
    plain = Plain(TOPIC, "d1", version, gathering)
    least = len(raw.publish(TOPIC, b"", version=version))
    for size in range(LARGEST_SINGLE - least):
        data = raw.publish(TOPIC, b"x" * size, 7, version=version)
        assert (plain.add(NOBODY, data) >= 0) == (len(data) <= LARGEST_SINGLE)
    assert gathering.payloads == [b"x" * size for size in range(LARGEST_SINGLE - least)][: len(gathering.payloads)]


steps = st.lists(
    st.tuples(
        st.integers(0, 2),  # who
        st.sampled_from(["one", "one", "one", "two", "half", "ping", "other topic", "turn", "settle", "full", "room"]),
    ),
    max_size=60,
)


class _Sent:
    """What one device sends, and has sent."""

    def __init__(self, number: int, door: Any) -> None:
        self.connection, self.wire = connected(door, f"d{number}")
        self.device_id = f"d{number}"
        self.payloads: list[bytes] = []
        self._rest = b""

    def read(self, what: str) -> None:
        """Give the connection a read."""
        if not self.wire.is_read:
            return
        data, self._rest = self._rest, b""
        if what == "ping":
            data += raw.PINGREQ
        else:
            data += b"".join(
                self._publish("events" if what == "other topic" else "telemetry") for _ in range(1 + (what == "two"))
            )
        if what == "half":
            data, self._rest = data[:-3], data[-3:]
        self.connection.data_received(data)

    def end(self) -> None:
        """Give it what is missing of the last packet."""
        if self._rest:
            self.connection.data_received(self._rest)

    def _publish(self, kind: str) -> bytes:
        self.payloads.append(b"%d" % len(self.payloads))
        return raw.publish(f"devices/{self.device_id}/{kind}", self.payloads[-1], len(self.payloads), version=4)


@given(steps)
async def test_any_mixture_of_reads_is_handed_on_once_and_in_order(told: Sequence[tuple[int, str]]) -> None:
    intake = HeldIntake()
    door = door_of(intake)
    devices = [_Sent(number, door) for number in range(3)]
    for number, what in told:
        if what == "turn":
            await asyncio.sleep(0)
        elif what == "settle":
            intake.settle()
        elif what == "full":
            intake.is_full = True
        elif what == "room":
            intake.make_room()
        else:
            devices[number].read(what)
    while not all(device.wire.is_read for device in devices):
        intake.make_room()
        intake.settle()
        await asyncio.sleep(0)
    for device in devices:
        device.end()
    await asyncio.sleep(0)
    intake.settle()
    door.wheel.stop()
    for device in devices:
        mine = [packet.payload for packet in intake.packets if packet.device_id == device.device_id]
        assert mine == device.payloads
        assert device.wire.pubacks == list(range(1, len(mine) + 1))
    assert door.counters.published == len(intake.packets)


async def test_what_comes_singly_in_a_turn_of_the_loop_is_one_piece() -> None:
    submitted: list[Sequence[Piece]] = []
    intake = HeldIntake()
    door = door_of(intake)
    devices = [_Sent(number, door) for number in range(5)]
    for device in devices:
        device.read("one")  # after which the door knows what to expect
    intake.submit = lambda pieces: bool(submitted.append(pieces)) or True
    for device in devices:
        device.read("one")
    assert not submitted
    await asyncio.sleep(0)
    ((piece,),) = submitted
    assert isinstance(piece, Mixed)
    assert piece.device_ids == [device.device_id for device in devices]
    settle([piece], [Verdict(stored=1)] * 5)
    assert [device.wire.pubacks for device in devices] == [[2]] * 5


async def test_what_a_device_sent_last_is_handed_on_when_its_connection_ends_in_the_same_turn() -> None:
    intake = HeldIntake()
    door = door_of(intake)
    connection, _ = connected(door, "d1", will=("devices/d1/status", b"offline"))
    for number in range(1, 3):
        connection.data_received(raw.publish(TOPIC, b"%d" % number, number, version=4))
    connection.connection_lost(None)
    assert intake.payloads == [b"1", b"2", b"offline"]


async def test_a_device_that_comes_again_does_not_overtake_itself() -> None:
    intake = HeldIntake()
    door = door_of(intake)
    first, _ = connected(door, "d1")
    for number in range(1, 3):
        first.data_received(raw.publish(TOPIC, b"%d" % number, number, version=4))
    second, _ = connected(door, "d1")
    second.data_received(raw.publish(TOPIC, b"3", 1, version=4))
    assert intake.payloads == [b"1", b"2", b"3"]


async def test_a_storm_of_single_packets_fills_the_queue_no_further_than_a_hand() -> None:
    """Who has filled it is not read any more, and the others keep what they bring."""
    intake = HeldIntake()
    door = door_of(intake)
    devices = [_Sent(number, door) for number in range(3)]
    for device in devices:
        device.read("one")
    intake.is_full = True
    for device in devices:
        device.read("one")
    await asyncio.sleep(0)
    assert [device.wire.is_read for device in devices] == [True, True, False]
    assert door.valve.is_shut
    devices[0].read("one")
    assert not devices[0].wire.is_read
    assert len(intake.packets) == 6
    intake.make_room()
    assert len(intake.packets) == 7


async def test_a_pipeline_that_is_filled_as_a_device_leaves_holds_one_back_that_stays() -> None:
    intake = HeldIntake()
    door = door_of(intake)
    stays, leaves = [_Sent(number, door) for number in range(2)]
    for device in (stays, leaves):
        device.read("one")
    intake.is_full = True
    for device in (stays, leaves):
        device.read("one")
    leaves.connection.connection_lost(None)
    assert door.valve.is_shut
    assert not stays.wire.is_read
    intake.make_room()
    assert stays.wire.is_read


async def test_a_device_that_comes_again_does_not_overtake_in_the_queue_what_was_gathered_of_it() -> None:
    queue = PacketQueue(BatchSettings())
    before, again = Door(), Door()
    queue.put(_gathered([before], [0]))
    queue.put(_bunches([again], [0]))
    assert [packet.origin for packet in Packets(queue.take())] == [before, again]


@pytest.mark.parametrize("floods", [1, 2, 3])
async def test_however_many_flood_a_packet_at_a_time_who_is_calm_is_in_the_next_batch(floods: int) -> None:
    queue, doors = PacketQueue(BatchSettings(max_readings=200)), [Door() for _ in range(4)]
    for _ in range(500):
        queue.put(_gathered(doors, range(floods)))
    queue.put(_gathered(doors, range(floods, 4)))
    assert {packet.origin for packet in Packets(queue.take())} == {*doors}


async def test_a_backlog_that_all_have_alike_stays_together_in_the_queue() -> None:
    queue, doors = PacketQueue(BatchSettings(max_readings=200)), [Door() for _ in range(4)]
    for _ in range(100):
        queue.put(_gathered(doors, range(4)))
    assert all(isinstance(piece, Mixed) for piece in queue.take())


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.booleans()), max_size=12),
    st.integers(1, 20),
)
async def test_gathered_or_not_packets_leave_the_queue_once_and_in_the_order_of_their_connection(
    told: Sequence[tuple[Sequence[int], bool]], most: int
) -> None:
    queue = PacketQueue(BatchSettings(max_readings=most, queue_packets=30))
    doors = [Door() for _ in range(4)]
    sent: dict[object, list[int]] = {}
    for numbers, is_gathered in told:
        for number in numbers:
            sent.setdefault(doors[number], []).append(0)
        queue.put(_gathered(doors, numbers) if is_gathered else _bunches(doors, numbers))
    found: list[Packet] = []
    while queue.packets:
        before = queue.packets
        pieces = queue.take()
        found += Packets(pieces)
        assert 0 < before - queue.packets <= most
        settle(pieces, [Verdict(stored=1)] * (before - queue.packets))
    assert queue.bytes == 0
    for door in doors:
        tokens = list(range(1, len(sent.get(door, [])) + 1))
        assert [packet.token for packet in found if packet.origin is door] == tokens
        assert [token for token, _ in door.settled] == tokens


def _gathered(doors: Sequence[Door], numbers: Sequence[int]) -> list[Piece]:
    origins, names = [doors[number] for number in numbers], [f"d{number}" for number in numbers]
    tokens = [origin.next_token() for origin in origins]
    return [Mixed(Gathered(origins), Route.TELEMETRY, names, names, "json", 0.0, tokens, [b"{}"] * len(tokens))]


def _bunches(doors: Sequence[Door], numbers: Sequence[int]) -> list[Piece]:
    pieces: list[Piece] = []
    for number in numbers:
        door, name = doors[number], f"d{number}"
        pieces.append(Bunch(door, Route.TELEMETRY, name, name, "json", 0.0, [door.next_token()], [b"{}"]))
    return pieces
