"""Between the doors and the pipeline: packets in, verdicts out.

An acknowledgement belongs to a batch, not to a packet: the pipeline settles packets only after the transaction that
stored them has committed, so a door never has to know what storing means.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import repeat
from typing import Final, NamedTuple, Protocol, overload, runtime_checkable

from devices.errors import QuarantineReason

NO_ANSWER: Final = 0
"""The token of a packet at QoS 0, whose sender waits for no acknowledgement and does not send it again."""


class Route(IntEnum):
    """What a topic carries."""

    TELEMETRY = 0
    EVENTS = 1
    STATUS = 2
    COMMAND_ACK = 3
    UNKNOWN = 4  # a topic that no route knows: quarantined


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one packet; shown by `careloop devices tail` and told in an MQTT 5 PUBACK."""

    stored: int = 0
    filled: int = 0  # readings that completed a stored one with absent metrics
    duplicates: int = 0
    quarantined: int = 0
    reason: QuarantineReason | None = None  # of the first quarantined reading
    detail: str = ""


class Alike(Sequence[Verdict]):
    """One verdict on many packets: nearly always all of a batch fared alike."""

    __slots__ = ("_count", "verdict")

    def __init__(self, verdict: Verdict, count: int) -> None:
        self.verdict = verdict
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Verdict]: ...
    def __getitem__(self, index: int | slice) -> Verdict | Sequence[Verdict]:
        if isinstance(index, slice):
            return Alike(self.verdict, len(range(self._count)[index]))
        range(self._count)[index]
        return self.verdict

    def __iter__(self) -> Iterator[Verdict]:
        return repeat(self.verdict, self._count)


class Origin(Protocol):
    """Where packets came from: a connection of the listen door, or the subscription."""

    @property
    def keeps_order(self) -> bool:
        """Whether its packets are to be settled in the order of their submission, whatever device they are of."""
        ...

    def settle(self, tokens: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        """Acknowledge packets whose transaction has committed, one verdict each.

        Those of one device come in the order of their submission; those of different devices may overtake each other,
        unless the origin keeps the order.
        """
        ...


@runtime_checkable
class Answering(Protocol):
    """An origin through which something can be said back."""

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send a message at QoS 0; False when nobody is there who has asked for it."""
        ...


class Wrapped:
    """An origin about whose packets there is more to know; everything else is as with the origin itself."""

    __slots__ = ("origin",)

    def __init__(self, origin: Origin) -> None:
        """`origin` is where they came from."""
        self.origin = origin

    @property
    def keeps_order(self) -> bool:
        """As where they came from."""
        return self.origin.keeps_order

    def settle(self, tokens: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        """Acknowledge packets whose transaction has committed."""
        self.origin.settle(tokens, verdicts)

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send a message at QoS 0, where something can be said back."""
        return isinstance(self.origin, Answering) and self.origin.publish(topic, payload)


class Kept(Wrapped):
    """The origin of messages that a broker had kept for whoever subscribes: nobody knows when they were sent."""

    __slots__ = ()


class Counted(Wrapped):
    """The origin of a message that may come again, from quarantine: its readings without a time must get the same ones.

    They are counted from a moment of the message's own, microsecond by microsecond, those of each device for
    themselves.
    """

    __slots__ = ("from_us",)

    def __init__(self, origin: Origin, from_us: int) -> None:
        """`origin` is where it came from; `from_us` is in microseconds since the epoch."""
        super().__init__(origin)
        self.from_us = from_us


class Gathered:
    """The origins of packets that came by themselves, one for each: of a `Mixed` they are the origin together.

    What came of many connections at about the same time goes through the pipeline as one piece, unless it has to be
    taken apart. Each connection keeps its order, and is told of its own packets.
    """

    __slots__ = ("origins",)

    keeps_order = True

    def __init__(self, origins: Sequence[Origin]) -> None:
        """`origins` has an entry for each packet of the piece, in their order."""
        self.origins = origins

    def settle(self, tokens: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        """Acknowledge all packets of the piece."""
        for origin, token, verdict in zip(self.origins, tokens, verdicts, strict=True):
            origin.settle([token], [verdict])


def source_of(origin: Origin) -> Origin:
    """Where packets came from, whatever else is known of them."""
    return origin.origin if isinstance(origin, Wrapped) else origin


class Packet(NamedTuple):
    """One PUBLISH as it arrived, for whoever looks at packets one by one."""

    origin: Origin
    token: int  # the origin's own mark for this packet
    route: Route
    device_id: str  # from the topic; "" when the topic names none
    topic: str
    payload: bytes
    received_s: float  # receipt time on the gateway's clock, epoch seconds
    codec: str  # name of the route's payload codec


class Bunch(NamedTuple):
    """PUBLISHes that one read brought for one topic, in their order; there is at least one.

    Where a device has more than one topic, a PUBLISH on another one ends the bunch: bunches in their order hold the
    device's packets in theirs. Neither list changes once the bunch has been submitted.
    """

    origin: Origin
    route: Route
    device_id: str  # from the topic; "" when the topic names none
    topic: str
    codec: str  # name of the route's payload codec
    received_s: float  # receipt time on the gateway's clock, epoch seconds
    tokens: Sequence[int]  # the origin's own marks, one for each packet; NO_ANSWER at QoS 0
    payloads: Sequence[bytes]  # of the same order


class Mixed(NamedTuple):
    """PUBLISHes for several topics that one read brought one after the other, alike in all but that.

    A broker sends the messages of its clients in turn: bunches of theirs would hold one packet each. So would those of
    devices at a door of ours that send a packet at a time; their origin is a `Gathered`. The fields stand where a bunch
    has them; every list has an entry for each packet.
    """

    origin: Origin
    route: Route
    device_ids: Sequence[str]
    topics: Sequence[str]
    codec: str
    received_s: float
    tokens: Sequence[int]
    payloads: Sequence[bytes]


Piece = Bunch | Mixed


class Intake(Protocol):
    """The pipeline, as a door sees it."""

    def submit(self, pieces: Sequence[Piece]) -> bool:
        """Take packets, always; False asks the door to stop reading until `when_ready` calls back."""
        ...

    def when_ready(self, resume: Callable[[], None], *, little: bool = False) -> None:
        """Call `resume` once, in the event loop, when there is room again; for a `little`, as soon as there is any."""
        ...
