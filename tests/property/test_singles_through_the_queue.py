"""Connections and the queue together, against a model: whatever is read, and whoever comes and goes, in any order."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.doors.listen.connection import Connection
from gateway.doors.listen.context import DoorContext
from gateway.intake import Piece, Verdict
from gateway.pipeline.answering import settle
from gateway.pipeline.packets import Packets
from gateway.pipeline.queue import PacketQueue
from gateway.pipeline.settings import BatchSettings
from tests.doors import raw
from tests.doors.wired import Wire, connected, door_of

_ROUNDS = 200
"""Batches after which whatever was sent has long been settled."""

_KINDS = ["one"] * 6 + ["two", "half", "ping", "event", "again", "none", "kept", "gone", "taken over"]
_DOOR = ["turn", "turn", "take", "settle"]

steps = st.lists(st.tuples(st.sampled_from(_KINDS + _DOOR), st.integers(0, 3)), max_size=80)


class QueueIntake:
    """The pipeline's queue as a door sees it; batches are taken and settled when the test says so."""

    def __init__(self, plan: BatchSettings) -> None:
        self.queue = PacketQueue(plan)
        self.submit = self.queue.put
        self.when_ready = self.queue.when_ready
        self.taken: list[Sequence[Piece]] = []  # and not settled yet
        self.payloads: dict[str, list[bytes]] = {}  # taken so far, by device

    def take(self) -> None:
        """Take a batch."""
        pieces = self.queue.take()
        self.taken.append(pieces)
        for packet in Packets(pieces):
            self.payloads.setdefault(packet.device_id, []).append(packet.payload)

    def settle(self) -> None:
        """Settle the batches that were taken."""
        taken, self.taken = self.taken, []
        for pieces in taken:
            settle(pieces, [Verdict(stored=1)] * sum(len(piece.tokens) for piece in pieces))


@dataclass
class Sitting:
    """A device on one connection: what it has sent there."""

    connection: Connection
    wire: Wire
    device_id: str
    version: int
    name: str  # what each of its payloads begins with
    sent: list[bytes] = field(default_factory=list[bytes])
    tokens: list[int] = field(default_factory=list[int])  # of those at QoS 1
    rest: bytes = b""

    def read(self, what: str) -> None:
        """Give the connection a read, unless it wants none."""
        if not self.wire.is_read:
            return
        data, self.rest = self.rest, b""
        if what == "ping":
            data += raw.PINGREQ
        else:
            data += self._publish(what) + (self._publish("one") if what == "two" else b"")
        if what == "half":
            data, self.rest = data[:-3], data[-3:]
        self.connection.data_received(data)

    def _publish(self, what: str) -> bytes:
        payload = f"{self.name} {len(self.sent)}".encode()
        self.sent.append(payload)
        qos = 0 if what == "none" else 1
        if qos:
            self.tokens.append(len(self.sent))
        topic = f"devices/{self.device_id}/{'events' if what == 'event' else 'telemetry'}"
        data = bytearray(raw.publish(topic, payload, len(self.sent), version=self.version, qos=qos))
        data[0] |= {"again": 0x08, "kept": 0x01}.get(what, 0)
        return bytes(data)


class House:
    """Four devices, the connections that they have had, and what must be true of them at any time."""

    def __init__(self, plan: BatchSettings, window: int) -> None:
        self.intake = QueueIntake(plan)
        self.door: DoorContext = door_of(self.intake, receive_maximum=window)
        self.before: list[Sitting] = []
        self.now = [self._sit(number) for number in range(4)]

    def _sit(self, number: int) -> Sitting:
        version = 4 + number % 2
        connection, wire = connected(self.door, f"d{number}", version)
        return Sitting(connection, wire, f"d{number}", version, f"d{number}.{len(self.before)}")

    async def live(self, told: Sequence[tuple[str, int]]) -> None:
        """Do one thing after the other, and let everything that was begun come to its end."""
        try:
            for what, number in told:
                await self._step(what, number)
            await self._finish()
        finally:
            self.door.wheel.stop()

    async def _step(self, what: str, number: int) -> None:
        """Do one thing, and look."""
        sitting = self.now[number]
        if what == "turn":
            await asyncio.sleep(0)
        elif what == "take":
            self.intake.take()
        elif what == "settle":
            self.intake.settle()
        elif what in {"gone", "taken over"}:
            self._check(sitting)
            if what == "gone":
                sitting.connection.connection_lost(None)
            self.before.append(sitting)
            self.now[number] = self._sit(number)
        elif sitting.version == 4 or len(sitting.tokens) - len(sitting.wire.pubacks) < 2:
            sitting.read(what)
        self._check(self.now[number])

    def _check(self, sitting: Sitting) -> None:
        """Nothing is acknowledged that was not taken, and all of it in order."""
        answered = sitting.wire.pubacks
        came = self.came(sitting)
        assert came == sitting.sent[: len(came)]
        assert answered == sitting.tokens[: len(answered)]
        assert not answered or answered[-1] <= len(came)

    def came(self, sitting: Sitting) -> list[bytes]:
        """What was taken of what it sent."""
        mine = sitting.name.encode()
        return [one for one in self.intake.payloads.get(sitting.device_id, []) if one.split()[0] == mine]

    async def _finish(self) -> None:
        for _ in range(_ROUNDS):
            for sitting in self.now:
                if sitting.rest and sitting.wire.is_read:
                    data, sitting.rest = sitting.rest, b""
                    sitting.connection.data_received(data)
            await asyncio.sleep(0)
            self.intake.take()
            self.intake.settle()
            if all(sitting.wire.is_read and self.came(sitting) == sitting.sent for sitting in self.now):
                break


@settings(max_examples=200, deadline=None)
@given(steps, st.integers(2, 12), st.integers(2, 40), st.integers(2, 20))
async def test_whatever_comes_and_goes_everything_is_stored_once_in_order_and_then_acknowledged(
    told: Sequence[tuple[str, int]], window: int, most: int, bound: int
) -> None:
    house = House(BatchSettings(max_readings=most, queue_packets=bound), window)
    await house.live(told)
    for sitting in house.now:
        assert sitting.connection.is_open
        assert sitting.wire.is_read
        assert house.came(sitting) == sitting.sent
        assert sitting.wire.pubacks == sitting.tokens
    for sitting in house.before:
        came = house.came(sitting)
        assert came == sitting.sent[: len(came)]
    assert (house.intake.queue.packets, house.intake.queue.bytes) == (0, 0)


@settings(max_examples=200, deadline=None)
@given(steps, st.integers(2, 12))
async def test_a_device_that_comes_again_does_not_overtake_itself_in_the_queue(
    told: Sequence[tuple[str, int]], window: int
) -> None:
    house = House(BatchSettings(max_readings=1000, queue_packets=1000), window)
    await house.live(told)
    for number, sitting in enumerate(house.now):
        device_id = f"d{number}"
        its = [one for one in house.before if one.device_id == device_id] + [sitting]
        sent = [payload for one in its for payload in one.sent if payload in house.came(one)]
        assert house.intake.payloads.get(device_id, []) == sent
