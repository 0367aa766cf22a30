"""Packets other than PUBLISH, from their bytes (MQTT 3.1.1 and 5, chapter 3)."""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.doors.mqtt import properties
from gateway.doors.mqtt.codes import MQTT_5, MQTT_311, PacketType, Property, ReasonCode
from gateway.doors.mqtt.fields import Fields, PacketError, malformed, protocol_error
from gateway.doors.mqtt.packets import (
    Connect,
    Disconnect,
    Incoming,
    Pingreq,
    Puback,
    Subscribe,
    Unsubscribe,
    Will,
)
from gateway.doors.mqtt.topics import check_topic_name

_CLIENT_DISCONNECT_CODES: Final = frozenset(
    {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99}
)
_CLIENT_PUBACK_CODES: Final = frozenset({0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99})


def parse_version(fields: Fields) -> int:
    """The protocol version at the head of a CONNECT. Raises PacketError, also for a version that is not spoken here."""
    name = fields.binary()
    level = fields.byte()
    if name == b"MQTT" and level in (MQTT_311, MQTT_5):
        return level
    if name in (b"MQTT", b"MQIsdp"):
        raise PacketError(ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, f"protocol level {level}")
    detail = "the first packet is not an MQTT CONNECT"
    raise malformed(detail)


def parse_connect(fields: Fields, version: int) -> Connect:
    """The rest of a CONNECT, after its version."""
    flags = fields.byte()
    has_username, has_password, has_will = flags & 0x80, flags & 0x40, flags & 0x04
    if flags & 0x01:
        detail = "the reserved flag of CONNECT is set"
        raise malformed(detail)
    if version == MQTT_311 and has_password and not has_username:
        detail = "a password without a user name"
        raise malformed(detail)
    keep_alive_s = fields.two_bytes()
    given = properties.take_properties(fields, properties.CONNECT) if version == MQTT_5 else properties.NONE
    client_id = fields.text()
    will = _take_will(fields, version, flags) if has_will else None
    if not has_will and flags & 0x38:
        detail = "will flags without a will"
        raise malformed(detail)
    username = fields.text() if has_username else None
    password = fields.binary() if has_password else None
    _at_end(fields)
    return Connect(
        version=version,
        client_id=client_id,
        clean_start=bool(flags & 0x02),
        keep_alive_s=keep_alive_s,
        username=username,
        password=password,
        will=will,
        session_expiry_s=given.numbers.get(Property.SESSION_EXPIRY, 0),
        receive_maximum=given.numbers.get(Property.RECEIVE_MAXIMUM, 65_535),
        max_packet_bytes=given.numbers.get(Property.MAXIMUM_PACKET_SIZE),
        wants_reasons=given.numbers.get(Property.REQUEST_PROBLEM_INFORMATION, 1) == 1,
        authentication_method=given.texts.get(Property.AUTHENTICATION_METHOD),
    )


def _take_will(fields: Fields, version: int, flags: int) -> Will:
    qos = (flags >> 3) & 0x03
    if qos == 3:
        detail = "a will of QoS 3"
        raise malformed(detail)
    if version == MQTT_5:
        given = properties.take_properties(fields, properties.WILL)
        if Property.RESPONSE_TOPIC in given.texts:
            check_topic_name(given.texts[Property.RESPONSE_TOPIC])
    topic = fields.text()
    check_topic_name(topic)
    payload = fields.binary()
    if version == MQTT_5 and qos == 2:
        raise PacketError(ReasonCode.QOS_NOT_SUPPORTED, "a will of QoS 2")
    return Will(topic, payload)


def _parse_subscribe(fields: Fields, version: int) -> Subscribe:
    packet_id = fields.packet_id()
    if version == MQTT_5:
        given = properties.take_properties(fields, properties.SUBSCRIBE)
        if Property.SUBSCRIPTION_IDENTIFIER in given.numbers:
            raise PacketError(ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, "a subscription identifier")
    filters: list[tuple[str, int]] = []
    while fields.left:
        topic_filter = fields.text()
        options = fields.byte()
        if options & (0xC0 if version == MQTT_5 else 0xFC):
            detail = "reserved subscription options are set"
            raise malformed(detail)
        qos = options & 0x03
        if qos == 3 or options & 0x30 == 0x30:
            detail = "a subscription option of 3"
            raise protocol_error(detail)
        if options & 0x04 and topic_filter.startswith("$share/"):
            detail = "no local on a shared subscription"
            raise protocol_error(detail)
        filters.append((topic_filter, qos))
    if not filters:
        detail = "SUBSCRIBE without a topic filter"
        raise protocol_error(detail)
    return Subscribe(packet_id, tuple(filters))


def _parse_unsubscribe(fields: Fields, version: int) -> Unsubscribe:
    packet_id = fields.packet_id()
    if version == MQTT_5:
        properties.take_properties(fields, properties.UNSUBSCRIBE)
    filters: list[str] = []
    while fields.left:
        filters.append(fields.text())
    if not filters:
        detail = "UNSUBSCRIBE without a topic filter"
        raise protocol_error(detail)
    return Unsubscribe(packet_id, tuple(filters))


def _parse_puback(fields: Fields, version: int) -> Puback:
    packet_id = fields.packet_id()
    if version == MQTT_5 and fields.left:
        if fields.byte() not in _CLIENT_PUBACK_CODES:
            detail = "PUBACK with a reason code that it cannot have"
            raise protocol_error(detail)
        if fields.left:
            properties.take_properties(fields, properties.PUBACK)
    _at_end(fields)
    return Puback(packet_id)


def _parse_pingreq(fields: Fields, _version: int) -> Pingreq:
    _at_end(fields)
    return Pingreq()


def _parse_disconnect(fields: Fields, version: int) -> Disconnect:
    code = ReasonCode.SUCCESS.value
    session_expiry_s: int | None = None
    if version == MQTT_5 and fields.left:
        code = fields.byte()
        if code not in _CLIENT_DISCONNECT_CODES:
            detail = f"DISCONNECT with reason code 0x{code:02x}, which a client cannot give"
            raise malformed(detail)
        if fields.left:
            given = properties.take_properties(fields, properties.DISCONNECT)
            session_expiry_s = given.numbers.get(Property.SESSION_EXPIRY)
    _at_end(fields)
    return Disconnect(with_will=code != ReasonCode.SUCCESS, session_expiry_s=session_expiry_s)


def _at_end(fields: Fields) -> None:
    if fields.left:
        detail = "bytes after the last field of a packet"
        raise malformed(detail)


PARSERS: Final[Mapping[int, Callable[[Fields, int], Incoming]]] = {
    PacketType.SUBSCRIBE: _parse_subscribe,
    PacketType.UNSUBSCRIBE: _parse_unsubscribe,
    PacketType.PUBACK: _parse_puback,
    PacketType.PINGREQ: _parse_pingreq,
    PacketType.DISCONNECT: _parse_disconnect,
}
