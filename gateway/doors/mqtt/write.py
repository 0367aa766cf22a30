"""Packets that the server sends, and acknowledgements of either side, as bytes (MQTT 3.1.1 and 5, chapter 3)."""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.doors.mqtt.codes import MQTT_5, RETURN_CODES, PacketType, Property, ReasonCode

PINGRESP: Final = bytes([PacketType.PINGRESP << 4, 0])
_LONGEST_REASON: Final = 240
_ROOM_FOR_WORDS: Final = 256
_PUBACK_WORD: Final = 0x4002
_PUBACK_HEAD: Final = _PUBACK_WORD.to_bytes(2, "big")


def variable(value: int) -> bytes:
    """A variable byte integer."""
    out = bytearray()
    while True:
        value, low = divmod(value, 0x80)
        out.append(low | 0x80 if value else low)
        if not value:
            return bytes(out)


def text(value: str) -> bytes:
    """A UTF-8 string with its length in front."""
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def packet(first: int, body: bytes) -> bytes:
    """A packet: its first byte, its length, its body."""
    return bytes([first]) + variable(len(body)) + body


def _reason_string(reason: str) -> bytes:
    if not reason:
        return b""
    clean = reason.replace("\0", "").encode("utf-8", "replace")[:_LONGEST_REASON].decode("utf-8", "ignore")
    return bytes([Property.REASON_STRING]) + text(clean)


def has_room_for_words(max_packet_bytes: int | None) -> bool:
    """Whether a client can take a packet that bears a reason in words; None is a client without a limit."""
    return max_packet_bytes is None or max_packet_bytes >= _ROOM_FOR_WORDS


def connack_properties(
    *,
    receive_maximum: int,
    max_packet_bytes: int,
    topic_alias_maximum: int,
    session_expiry_s: int | None = None,
    server_keep_alive_s: int | None = None,
    assigned_client_id: str | None = None,
) -> bytes:
    """The properties with which an MQTT 5 client is told what this endpoint offers; None where it need not be told."""
    out = bytearray()
    if session_expiry_s is not None:
        out += struct.pack(">BI", Property.SESSION_EXPIRY, session_expiry_s)
    if receive_maximum < 65_535:
        out += struct.pack(">BH", Property.RECEIVE_MAXIMUM, receive_maximum)
    out += bytes([Property.MAXIMUM_QOS, 1])
    out += struct.pack(">BI", Property.MAXIMUM_PACKET_SIZE, max_packet_bytes)
    if assigned_client_id is not None:
        out += bytes([Property.ASSIGNED_CLIENT_ID]) + text(assigned_client_id)
    out += struct.pack(">BH", Property.TOPIC_ALIAS_MAXIMUM, topic_alias_maximum)
    out += bytes([Property.SUBSCRIPTION_IDENTIFIERS_AVAILABLE, 0, Property.SHARED_SUBSCRIPTION_AVAILABLE, 0])
    if server_keep_alive_s is not None:
        out += struct.pack(">BH", Property.SERVER_KEEP_ALIVE, server_keep_alive_s)
    return bytes(out)


def connack(version: int, properties: bytes = b"") -> bytes:
    """The client is in; no session of an earlier connection is ever present."""
    if version != MQTT_5:
        return bytes([PacketType.CONNACK << 4, 2, 0, 0])
    return packet(PacketType.CONNACK << 4, b"\0\0" + variable(len(properties)) + properties)


def connack_refusal(version: int, code: ReasonCode, reason: str = "") -> bytes:
    """The client is not let in; empty where its version has no word for why."""
    if version < MQTT_5:
        return_code = RETURN_CODES.get(code)
        return b"" if return_code is None else bytes([PacketType.CONNACK << 4, 2, 0, return_code])
    properties = _reason_string(reason)
    return packet(PacketType.CONNACK << 4, bytes([0, code]) + variable(len(properties)) + properties)


def pubacks(packet_ids: Sequence[int]) -> bytes:
    """One PUBACK for each packet identifier, in order, as one piece."""
    if len(packet_ids) == 1:
        return _PUBACK_HEAD + packet_ids[0].to_bytes(2, "big")
    words = [_PUBACK_WORD] * (2 * len(packet_ids))
    words[1::2] = packet_ids
    return struct.pack(f">{len(words)}H", *words)


def puback(packet_id: int, code: ReasonCode, reason: str) -> bytes:
    """An MQTT 5 PUBACK that says more than success."""
    head = packet_id.to_bytes(2, "big") + bytes([code])
    properties = _reason_string(reason)
    return packet(PacketType.PUBACK << 4, head + variable(len(properties)) + properties if properties else head)


def suback(version: int, packet_id: int, codes: Iterable[int]) -> bytes:
    """The answer to each filter of a SUBSCRIBE: the granted QoS, or why not."""
    properties = b"\0" if version == MQTT_5 else b""
    return packet(PacketType.SUBACK << 4, packet_id.to_bytes(2, "big") + properties + bytes(codes))


def unsuback(version: int, packet_id: int, codes: Iterable[int]) -> bytes:
    """The answer to an UNSUBSCRIBE; 3.1.1 has no codes."""
    body = packet_id.to_bytes(2, "big")
    if version == MQTT_5:
        body += b"\0" + bytes(codes)
    return packet(PacketType.UNSUBACK << 4, body)


def publish(version: int, topic: str, payload: bytes, packet_id: int, expires_in_s: int | None = None) -> bytes:
    """A message to the client, at QoS 1, or at QoS 0 where `packet_id` is 0; only MQTT 5 can be told of an expiry."""
    body = text(topic)
    if packet_id:
        body += packet_id.to_bytes(2, "big")
    if version == MQTT_5:
        body += b"\0" if expires_in_s is None else struct.pack(">BBI", 5, Property.MESSAGE_EXPIRY, expires_in_s)
    return packet(PacketType.PUBLISH << 4 | (2 if packet_id else 0), body + payload)


def disconnect(code: ReasonCode, reason: str = "") -> bytes:
    """An MQTT 5 DISCONNECT."""
    properties = _reason_string(reason)
    return packet(PacketType.DISCONNECT << 4, bytes([code]) + variable(len(properties)) + properties)
