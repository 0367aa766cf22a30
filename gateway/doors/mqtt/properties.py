"""MQTT 5 properties: which, where, how often, in what range (section 2.2.2)."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from gateway.doors.mqtt.codes import Property
from gateway.doors.mqtt.fields import Fields, malformed, protocol_error


class Properties(NamedTuple):
    """The properties of one packet, by identifier; user properties and binary data are checked and left out."""

    numbers: Mapping[int, int]
    texts: Mapping[int, str]


NONE: Final = Properties({}, {})

_MESSAGE: Final = frozenset(
    {
        Property.PAYLOAD_FORMAT,
        Property.MESSAGE_EXPIRY,
        Property.CONTENT_TYPE,
        Property.RESPONSE_TOPIC,
        Property.CORRELATION_DATA,
        Property.USER_PROPERTY,
    }
)
PUBLISH: Final = _MESSAGE | {Property.TOPIC_ALIAS, Property.SUBSCRIPTION_IDENTIFIER}
WILL: Final = _MESSAGE | {Property.WILL_DELAY}
CONNECT: Final = frozenset(
    {
        Property.SESSION_EXPIRY,
        Property.AUTHENTICATION_METHOD,
        Property.AUTHENTICATION_DATA,
        Property.REQUEST_PROBLEM_INFORMATION,
        Property.REQUEST_RESPONSE_INFORMATION,
        Property.RECEIVE_MAXIMUM,
        Property.TOPIC_ALIAS_MAXIMUM,
        Property.USER_PROPERTY,
        Property.MAXIMUM_PACKET_SIZE,
    }
)
SUBSCRIBE: Final = frozenset({Property.SUBSCRIPTION_IDENTIFIER, Property.USER_PROPERTY})
UNSUBSCRIBE: Final = frozenset({Property.USER_PROPERTY})
PUBACK: Final = frozenset({Property.REASON_STRING, Property.USER_PROPERTY})
DISCONNECT: Final = frozenset({Property.SESSION_EXPIRY, Property.REASON_STRING, Property.USER_PROPERTY})
CONNACK: Final = frozenset(
    {
        Property.SESSION_EXPIRY,
        Property.RECEIVE_MAXIMUM,
        Property.MAXIMUM_QOS,
        Property.RETAIN_AVAILABLE,
        Property.MAXIMUM_PACKET_SIZE,
        Property.ASSIGNED_CLIENT_ID,
        Property.TOPIC_ALIAS_MAXIMUM,
        Property.REASON_STRING,
        Property.USER_PROPERTY,
        Property.WILDCARD_SUBSCRIPTION_AVAILABLE,
        Property.SUBSCRIPTION_IDENTIFIERS_AVAILABLE,
        Property.SHARED_SUBSCRIPTION_AVAILABLE,
        Property.SERVER_KEEP_ALIVE,
        Property.RESPONSE_INFORMATION,
        Property.SERVER_REFERENCE,
        Property.AUTHENTICATION_METHOD,
        Property.AUTHENTICATION_DATA,
    }
)
SUBACK: Final = frozenset({Property.REASON_STRING, Property.USER_PROPERTY})
SERVER_DISCONNECT: Final = SUBACK | {Property.SERVER_REFERENCE}

_NUMBERS: Final[Mapping[int, Callable[[Fields], int]]] = {
    Property.PAYLOAD_FORMAT: Fields.byte,
    Property.MESSAGE_EXPIRY: Fields.four_bytes,
    Property.SUBSCRIPTION_IDENTIFIER: Fields.variable,
    Property.SESSION_EXPIRY: Fields.four_bytes,
    Property.REQUEST_PROBLEM_INFORMATION: Fields.byte,
    Property.WILL_DELAY: Fields.four_bytes,
    Property.REQUEST_RESPONSE_INFORMATION: Fields.byte,
    Property.RECEIVE_MAXIMUM: Fields.two_bytes,
    Property.TOPIC_ALIAS_MAXIMUM: Fields.two_bytes,
    Property.TOPIC_ALIAS: Fields.two_bytes,
    Property.MAXIMUM_PACKET_SIZE: Fields.four_bytes,
    Property.SERVER_KEEP_ALIVE: Fields.two_bytes,
    Property.MAXIMUM_QOS: Fields.byte,
    Property.RETAIN_AVAILABLE: Fields.byte,
    Property.WILDCARD_SUBSCRIPTION_AVAILABLE: Fields.byte,
    Property.SUBSCRIPTION_IDENTIFIERS_AVAILABLE: Fields.byte,
    Property.SHARED_SUBSCRIPTION_AVAILABLE: Fields.byte,
}
_TEXTS: Final = frozenset(
    {
        Property.CONTENT_TYPE,
        Property.RESPONSE_TOPIC,
        Property.AUTHENTICATION_METHOD,
        Property.REASON_STRING,
        Property.ASSIGNED_CLIENT_ID,
        Property.RESPONSE_INFORMATION,
        Property.SERVER_REFERENCE,
    }
)
_SWITCHES: Final = frozenset(
    {Property.PAYLOAD_FORMAT, Property.REQUEST_PROBLEM_INFORMATION, Property.REQUEST_RESPONSE_INFORMATION}
)
_NEVER_ZERO: Final = frozenset(
    {Property.RECEIVE_MAXIMUM, Property.MAXIMUM_PACKET_SIZE, Property.SUBSCRIPTION_IDENTIFIER}
)


def take_properties(fields: Fields, allowed: frozenset[Property]) -> Properties:
    """Take a packet's properties, its length first. Raises PacketError."""
    size = fields.variable()
    if size == 0:
        return NONE
    if size > fields.left:
        detail = "the properties run past the end of their packet"
        raise malformed(detail)
    section = Fields(fields.data, fields.position, fields.position + size)
    fields.position += size
    numbers: dict[int, int] = {}
    texts: dict[int, str] = {}
    binaries: set[int] = set()
    while section.left:
        identifier = section.variable()
        if identifier not in allowed:
            detail = f"property 0x{identifier:02x} does not belong here"
            raise malformed(detail)
        if identifier == Property.USER_PROPERTY:
            section.text()
            section.text()
            continue
        if identifier in numbers or identifier in texts or identifier in binaries:
            detail = f"property 0x{identifier:02x} is given twice"
            raise protocol_error(detail)
        if identifier in _TEXTS:
            texts[identifier] = section.text()
        elif (take := _NUMBERS.get(identifier)) is not None:
            numbers[identifier] = _checked(identifier, take(section))
        else:
            section.binary()
            binaries.add(identifier)
    if Property.AUTHENTICATION_DATA in binaries and Property.AUTHENTICATION_METHOD not in texts:
        detail = "authentication data without a method"
        raise protocol_error(detail)
    return Properties(numbers, texts)


def _checked(identifier: int, value: int) -> int:
    if (identifier in _SWITCHES and value > 1) or (identifier in _NEVER_ZERO and value == 0):
        detail = f"property 0x{identifier:02x} must not be {value}"
        raise protocol_error(detail)
    return value
