"""The packets that a client may send, once parsed."""

from dataclasses import dataclass
from typing import NamedTuple

from gateway.doors.mqtt.codes import ReasonCode


class Publishes(NamedTuple):
    """Messages on one topic that follow each other, at least one; a packet identifier is 0 at QoS 0.

    The topic is valid UTF-8 without wildcards, aliases are resolved.
    """

    topic: str
    packet_ids: list[int]
    payloads: list[bytes]


class Retained(NamedTuple):
    """A message that a broker had kept, and gives to whoever subscribes."""

    topic: str
    packet_id: int  # 0 at QoS 0
    payload: bytes


class Messages(NamedTuple):
    """Messages on any topics that follow each other, at least one; every list has an entry for each."""

    topics: list[str]
    packet_ids: list[int]
    payloads: list[bytes]


@dataclass(frozen=True, slots=True)
class Will:
    """What to publish for a client that vanishes."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Connect:
    """A client introduces itself; fields that only MQTT 5 has bear that version's defaults under 3.1.1."""

    version: int
    client_id: str
    clean_start: bool
    keep_alive_s: int
    username: str | None
    password: bytes | None
    will: Will | None
    session_expiry_s: int = 0
    receive_maximum: int = 65_535
    max_packet_bytes: int | None = None
    wants_reasons: bool = True
    authentication_method: str | None = None

    def __repr__(self) -> str:
        """Without the password."""
        return f"Connect(version={self.version}, client_id={self.client_id!r}, username={self.username!r})"


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Topic filters with the QoS asked for each."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Topic filters that the client no longer wants."""

    packet_id: int
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Puback:
    """The client has received a message of ours."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Pingreq:
    """The client is alive."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The client leaves in good order; `with_will` when it wants its will published all the same."""

    with_will: bool
    session_expiry_s: int | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """What the client sent is not MQTT, or not what this endpoint allows; nothing after it is read."""

    code: ReasonCode
    detail: str


Incoming = Publishes | Connect | Subscribe | Unsubscribe | Puback | Pingreq | Disconnect | Violation
