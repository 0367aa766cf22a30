"""What a broker answers its client, from the bytes (MQTT 3.1.1 and 5, chapter 3)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.doors.mqtt import properties
from gateway.doors.mqtt.codes import MQTT_5, PacketType, Property, ReasonCode
from gateway.doors.mqtt.fields import Fields, malformed, protocol_error
from gateway.doors.mqtt.packets import Messages, Publishes, Retained, Violation

_SERVER_UNAVAILABLE: Final = 0x88
_SAID_BY_BROKERS: Final = {
    0x80: "Unspecified error",
    0x83: "Implementation specific error",
    _SERVER_UNAVAILABLE: "Server unavailable",
    0x8A: "Banned",
    0x91: "Packet identifier in use",
    0x96: "Message rate too high",
    0x98: "Administrative action",
    0x99: "Payload format invalid",
    0x9A: "Retain not supported",
    0x9C: "Use another server",
    0x9D: "Server moved",
    0xA0: "Maximum connect time",
    0xA2: "Wildcard subscriptions not supported",
}
"""Reason codes that our own endpoint has no use for (MQTT 5, section 2.4)."""

_FROM_RETURN_CODE: Final = {
    1: ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
    2: ReasonCode.CLIENT_ID_NOT_VALID,
    3: _SERVER_UNAVAILABLE,
    4: ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    5: ReasonCode.NOT_AUTHORIZED,
}
_BARE_CONNACK: Final = 2


@dataclass(frozen=True, slots=True)
class Connack:
    """The broker lets the client in, or not; `code` is a reason code under 3.1.1 too."""

    session_present: bool
    code: int
    detail: str = ""
    keep_alive_s: int | None = None  # the broker's, which counts instead of ours
    max_packet_bytes: int | None = None
    session_expiry_s: int | None = None  # the broker's, which counts instead of ours


@dataclass(frozen=True, slots=True)
class Suback:
    """For each filter of a SUBSCRIBE the granted QoS, or why not."""

    packet_id: int
    codes: bytes
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Pingresp:
    """The broker is alive."""


@dataclass(frozen=True, slots=True)
class Dismissal:
    """The broker ends the connection, and says why."""

    code: int
    detail: str = ""


Answer = Connack | Suback | Pingresp | Dismissal
FromBroker = Messages | Retained | Publishes | Answer | Violation


def say(code: int, detail: str = "") -> str:
    """A reason code in words, with what the broker adds to it."""
    try:
        words = ReasonCode(code).name.replace("_", " ").capitalize().replace("Qos", "QoS")
    except ValueError:
        words = _SAID_BY_BROKERS.get(code, f"reason code 0x{code:02x}")
    return f"{words} ({detail})" if detail else words


def _parse_connack(fields: Fields, version: int) -> Connack:
    is_bare = fields.left == _BARE_CONNACK  # how a broker that knows only 3.1.1 refuses MQTT 5
    flags, code = fields.byte(), fields.byte()
    if flags & 0xFE:
        detail = "reserved flags of CONNACK are set"
        raise malformed(detail)
    if is_bare:
        return Connack(bool(flags), _FROM_RETURN_CODE.get(code, code))
    given = properties.take_properties(fields, properties.CONNACK) if version == MQTT_5 else properties.NONE
    _at_end(fields)
    return Connack(
        session_present=bool(flags),
        code=code,
        detail=_detail(given),
        keep_alive_s=given.numbers.get(Property.SERVER_KEEP_ALIVE),
        max_packet_bytes=given.numbers.get(Property.MAXIMUM_PACKET_SIZE),
        session_expiry_s=given.numbers.get(Property.SESSION_EXPIRY),
    )


def _parse_suback(fields: Fields, version: int) -> Suback:
    packet_id = fields.packet_id()
    given = properties.take_properties(fields, properties.SUBACK) if version == MQTT_5 else properties.NONE
    codes = fields.data[fields.position : fields.end]
    if not codes:
        detail = "SUBACK without a reason code"
        raise protocol_error(detail)
    return Suback(packet_id, codes, _detail(given))


def _parse_pingresp(fields: Fields, _version: int) -> Pingresp:
    _at_end(fields)
    return Pingresp()


def _parse_disconnect(fields: Fields, version: int) -> Dismissal:
    if version != MQTT_5:
        detail = "DISCONNECT from a broker of MQTT 3.1.1"
        raise protocol_error(detail)
    code = fields.byte() if fields.left else 0
    given = properties.take_properties(fields, properties.SERVER_DISCONNECT) if fields.left else properties.NONE
    _at_end(fields)
    return Dismissal(code, _detail(given))


def _detail(given: properties.Properties) -> str:
    """What the broker adds in words: why, and where else to go."""
    texts = (given.texts.get(Property.REASON_STRING), given.texts.get(Property.SERVER_REFERENCE))
    return ", ".join(text for text in texts if text)


def _at_end(fields: Fields) -> None:
    if fields.left:
        detail = "bytes after the last field of a packet"
        raise malformed(detail)


PARSERS: Final[Mapping[int, Callable[[Fields, int], Answer]]] = {
    PacketType.CONNACK: _parse_connack,
    PacketType.SUBACK: _parse_suback,
    PacketType.PINGRESP: _parse_pingresp,
    PacketType.DISCONNECT: _parse_disconnect,
}
