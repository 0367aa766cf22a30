"""Telemetry that comes one PUBLISH a read, as devices send it: gathered over a turn of the loop, and handed on at once.

A piece for each of them would cost the pipeline more than what is in it. So what many connections bring in one turn
becomes one piece: see `Gathered`. A connection's packets keep their order: before it brings anything in another way,
or leaves, what it has here is handed on.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Protocol

from devices.clock import Clock
from gateway.doors.listen.counters import ListenCounters
from gateway.doors.mqtt import write
from gateway.doors.mqtt.codes import MQTT_5
from gateway.intake import Bunch, Gathered, Intake, Mixed, Origin, Route

LARGEST_SINGLE: Final = 1024
"""Bytes of the largest packet that is gathered."""

_MOST: Final = 1024
"""Packets that are handed on before the turn is over, so that the pipeline is never far above its bounds."""

_AT_QOS_1: Final = 0x32
"""The first byte of a PUBLISH that is neither sent again nor to be kept."""

_LONGEST_OF_ONE_BYTE: Final = 129
"""Bytes of the longest packet of whose length one byte tells."""


class Sender(Origin, Protocol):
    """A connection whose packets are gathered."""

    @property
    def is_open(self) -> bool:
        """Whether its device is in."""
        ...

    def hand_on(self, bunches: Sequence[Bunch]) -> None:
        """Hand packets to the pipeline, or keep them while it has no room."""
        ...

    def wait_for_room(self) -> None:
        """Bring no more until the pipeline has room."""
        ...


class Gate(Protocol):
    """Whether the pipeline has room."""

    is_shut: bool


@dataclass(slots=True)
class Gathering:
    """The packets in one codec of a turn of the loop."""

    codec: str
    origins: list[Sender] = field(default_factory=list[Sender])
    device_ids: list[str] = field(default_factory=list[str])
    topics: list[str] = field(default_factory=list[str])
    packet_ids: list[int] = field(default_factory=list[int])
    payloads: list[bytes] = field(default_factory=list[bytes])

    def take(self, received_s: float) -> Mixed:
        """All of them as one piece."""
        origins, device_ids, topics = self.origins, self.device_ids, self.topics
        packet_ids, payloads = self.packet_ids, self.payloads
        self.origins, self.device_ids, self.topics, self.packet_ids, self.payloads = [], [], [], [], []
        return Mixed(
            Gathered(origins), Route.TELEMETRY, device_ids, topics, self.codec, received_s, packet_ids, payloads
        )


class Plain:
    """How the packets of a connection look that are gathered: PUBLISHes at QoS 1 on one topic."""

    __slots__ = ("_device_id", "_gathering", "_has_properties", "_head", "_rest", "topic")

    def __init__(self, topic: str, device_id: str, version: int, gathering: Gathering) -> None:
        self.topic = topic
        self._device_id = device_id
        self._gathering = gathering
        self._head = write.text(topic)
        self._has_properties = version == MQTT_5
        self._rest = len(self._head) + 2 + self._has_properties  # up to the payload, behind the length

    def add(self, sender: Sender, data: bytes) -> int:
        """Gather what was read, if it is one such packet and whole; the bytes of its payload, or -1 where it is not."""
        size = len(data)
        if size <= _LONGEST_OF_ONE_BYTE:
            start = 2
            if size < start or data[1] != size - 2:
                return -1
        else:
            start = 3
            if size > LARGEST_SINGLE or data[1] != (size - 3 & 0x7F | 0x80) or data[2] != size - 3 >> 7:
                return -1
        payload = start + self._rest
        if data[0] != _AT_QOS_1 or payload > size or not data.startswith(self._head, start):
            return -1
        at = start + len(self._head)
        packet_id = data[at] << 8 | data[at + 1]
        if not packet_id or (self._has_properties and data[payload - 1]):
            return -1
        gathering = self._gathering
        gathering.origins.append(sender)
        gathering.device_ids.append(self._device_id)
        gathering.topics.append(self.topic)
        gathering.packet_ids.append(packet_id)
        gathering.payloads.append(data[payload:])
        return size - payload


class Singles:
    """What has been gathered in this turn of the loop, of all connections."""

    def __init__(self, intake: Intake, gate: Gate, clock: Clock, counters: ListenCounters) -> None:
        self._intake = intake
        self._gate = gate
        self._clock = clock
        self._counters = counters
        self._gatherings: dict[str, Gathering] = {}
        self._received_s = 0.0
        self._count = 0
        self.turn = 0  # counts how often something was handed on

    def plain(self, topic: str, device_id: str, version: int, codec: str) -> Plain:
        """Have the packets of a connection gathered that come on a topic."""
        gathering = self._gatherings.get(codec)
        if gathering is None:
            gathering = self._gatherings[codec] = Gathering(codec)
        return Plain(topic, device_id, version, gathering)

    def added(self) -> None:
        """A packet has been gathered."""
        if not self._count:
            self._received_s = self._clock.now_s()
            asyncio.get_running_loop().call_soon(self.hand_on)
        self._count += 1
        if self._count >= _MOST:
            self.hand_on()

    def hand_on(self) -> None:
        """Hand to the pipeline what has been gathered."""
        if not self._count:
            return
        self._count = 0
        self.turn += 1
        senders = [sender for each in self._gatherings.values() for sender in each.origins]
        pieces = [each.take(self._received_s) for each in self._gatherings.values() if each.origins]
        for piece in pieces:
            self._counters.published += len(piece.payloads)
            self._counters.published_bytes += sum(map(len, piece.payloads))
        if self._gate.is_shut:
            for sender, bunch in zip(senders, chain.from_iterable(map(_apart, pieces)), strict=True):
                sender.hand_on([bunch])
        elif not self._intake.submit(pieces):
            for sender in reversed(senders):
                if sender.is_open:  # whoever leaves waits for nothing
                    sender.wait_for_room()
                    break


def _apart(piece: Mixed) -> Iterator[Bunch]:
    """Its packets one by one, each to be handed on, or kept, by its own connection."""
    gathered, route, device_ids, topics, codec, received_s, tokens, payloads = piece
    assert isinstance(gathered, Gathered)
    for origin, device_id, topic, token, payload in zip(
        gathered.origins, device_ids, topics, tokens, payloads, strict=True
    ):
        yield Bunch(origin, route, device_id, topic, codec, received_s, [token], [payload])
