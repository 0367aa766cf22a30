"""Packets that a client sends to its broker, as bytes (MQTT 3.1.1 and 5, chapter 3)."""

import struct
from collections.abc import Sequence
from typing import Final

from gateway.doors.mqtt.codes import MQTT_5, PacketType, Property
from gateway.doors.mqtt.write import packet, text, variable

PINGREQ: Final = bytes([PacketType.PINGREQ << 4, 0])
DISCONNECT: Final = bytes([PacketType.DISCONNECT << 4, 0])
"""A goodbye in good order; the session stays as long as CONNECT has asked for."""

_USERNAME: Final = 0x80
_PASSWORD: Final = 0x40
_RETAINED_IF_NEW: Final = 0x10  # retain handling 1: retained messages come with the first SUBSCRIBE only


def connect(
    version: int,
    client_id: str,
    keep_alive_s: int,
    credentials: tuple[str, str] | None,
    *,
    session_expiry_s: int,
    receive_maximum: int,
) -> bytes:
    """A CONNECT that goes on with an earlier session, with user name and password where there are any.

    3.1.1 has no words for the session's expiry and the receive maximum. The topic alias maximum is 0 by not being told.
    """
    flags = _USERNAME | _PASSWORD if credentials else 0
    body = text("MQTT") + struct.pack(">BBH", version, flags, keep_alive_s)
    if version == MQTT_5:
        told = struct.pack(
            ">BIBH", Property.SESSION_EXPIRY, session_expiry_s, Property.RECEIVE_MAXIMUM, receive_maximum
        )
        body += variable(len(told)) + told
    body += text(client_id)
    for credential in credentials or ():
        body += text(credential)
    return packet(PacketType.CONNECT << 4, body)


def subscribe(version: int, packet_id: int, topic_filters: Sequence[str]) -> bytes:
    """A SUBSCRIBE at QoS 1."""
    options = 1 | (_RETAINED_IF_NEW if version == MQTT_5 else 0)
    body = packet_id.to_bytes(2, "big") + (b"\0" if version == MQTT_5 else b"")
    body += b"".join(text(topic_filter) + bytes([options]) for topic_filter in topic_filters)
    return packet(PacketType.SUBSCRIBE << 4 | 2, body)
