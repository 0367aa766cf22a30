"""What a dialect adds to a codec: it knows topics, may remember, may speak of several devices, and may answer.

A codec sees payloads of one device, each for itself. Some of the field's formats need more: Sparkplug names its metrics
once, in a birth, and then by number; a ThingsBoard gateway tells of all its devices in one message and asks questions.
Such a codec is a `Dialect` besides: what comes on its routes is translated by `translate`.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeGuard

import msgspec

from devices.payloads.codec import Bad, Codec, DecodedEvent, DecodedReading


class Message(NamedTuple):
    """One message, with what was found around it."""

    topic: str
    payload: bytes
    device_id: str  # from the topic, else the connection's device; "" where neither names one
    received_us: int  # microseconds since the epoch, the gateway's clock
    is_replay: bool = False  # from quarantine: out of its order, so that it says nothing about gaps


class DecodedStatus(msgspec.Struct, frozen=True, gc=False):
    """A device came, or went; `ts_us` is None for the time of receipt."""

    status: Literal["online", "offline"]
    ts_us: int | None = None


class Said(msgspec.Struct, frozen=True, gc=False):
    """What a message says of one device.

    `via` is the device that spoke for it where the payload, not the topic, names the device: whether it may is looked
    up. "" where nobody logged in, as on a broker, whose rules then decide.
    """

    device_id: str
    readings: Sequence[DecodedReading] = ()
    events: Sequence[DecodedEvent] = ()
    status: DecodedStatus | None = None
    via: str = ""


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A message to send back by the door through which this one came, at QoS 0."""

    topic: str
    payload: bytes


class Recall(msgspec.Struct, frozen=True, gc=False):
    """What quarantine holds for `no_birth` on this topic can be read now.

    That is what came after `since_death_of` was last offline (what is older belongs to an earlier life), and not after
    the message that explains it.
    """

    device_id: str
    topic: str
    since_death_of: str
    until_us: int


class Translation(msgspec.Struct, frozen=True, gc=False):
    """What came of one message: what it says of whom, what could not be read, and what it leads to."""

    said: Sequence[Said] = ()
    bad: Sequence[Bad] = ()
    replies: Sequence[Reply] = ()
    recalls: Sequence[Recall] = ()


class Dialect(Codec, Protocol):
    """A codec that translates whole messages; it never raises.

    `decode_readings` and `decode_events` say what a payload alone lets know.
    """

    topics: Sequence[str]
    """Patterns of its own topics, for a route that names none: see `gateway/doors/routes.py`."""

    answers: Sequence[str]
    """Patterns of topics on which it may send something to a device, which a device may therefore subscribe to."""

    def translate(self, message: Message) -> Translation:
        """What a message says; called once for each, in the order of arrival."""
        ...


def is_dialect(codec: Codec) -> TypeGuard[Dialect]:
    """Whether a codec has the capability of a dialect."""
    return callable(getattr(codec, "translate", None))
