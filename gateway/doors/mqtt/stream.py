"""From a connection's bytes to packets, however they were cut into reads."""

from typing import Final

from gateway.doors.mqtt import properties
from gateway.doors.mqtt.codes import MQTT_5, PacketType, Property, ReasonCode
from gateway.doors.mqtt.fields import Fields, PacketError, malformed, protocol_error, to_text
from gateway.doors.mqtt.packets import Incoming, Publish, Violation
from gateway.doors.mqtt.parse import PARSERS, parse_connect, parse_version
from gateway.doors.mqtt.topics import check_topic_name

TOPIC_ALIAS_MAXIMUM: Final = 16
LARGEST_CONNECT: Final = 131_072
"""Bytes of the largest CONNECT: whoever has not said a password yet cannot make us hold more."""

_REMEMBERED_TOPICS: Final = 64
_INCOMPLETE: Final = -1

# What a first byte leads to: 0 or 1 is a PUBLISH of that QoS, FIRST_OTHER + n is packet type n, negative is a fault.
_FIRST_OTHER: Final = 0x10
_RESERVED_FLAGS: Final = {PacketType.SUBSCRIBE: 2, PacketType.UNSUBSCRIBE: 2, PacketType.PUBREL: 2}


def _meaning_of_publish(first: int) -> int:
    qos = (first >> 1) & 0x03
    if qos == 3 or (qos == 0 and first & 0x08):
        return -ReasonCode.MALFORMED_PACKET
    return -ReasonCode.QOS_NOT_SUPPORTED if qos == 2 else qos


def _meaning(first: int) -> int:
    kind = first >> 4
    if kind == PacketType.PUBLISH:
        return _meaning_of_publish(first)
    if kind == 0 or first & 0x0F != _RESERVED_FLAGS.get(PacketType(kind), 0):
        return -ReasonCode.MALFORMED_PACKET
    return _FIRST_OTHER + kind if kind in PARSERS else -ReasonCode.PROTOCOL_ERROR


_CONNECT: Final = _FIRST_OTHER + PacketType.CONNECT
_BEFORE_CONNECT: Final = tuple(_CONNECT if first == 0x10 else -ReasonCode.PROTOCOL_ERROR for first in range(256))
_AFTER_CONNECT: Final = tuple(_meaning(first) for first in range(256))


class PacketStream:
    """Parses what one client sends; its state is what MQTT makes a connection remember.

    `feed` gives the same packets for any way of cutting the bytes. A Violation is the last packet it ever gives.
    """

    __slots__ = ("_aliases", "_dead", "_held", "_largest", "_limit", "_meanings", "_needed", "_topics", "version")

    def __init__(self, max_packet_bytes: int) -> None:
        self.version = 0  # until CONNECT has named one; of a version not spoken here, its level
        self._meanings = _BEFORE_CONNECT
        self._largest = max_packet_bytes
        self._limit = min(max_packet_bytes, LARGEST_CONNECT)
        self._held = bytearray()
        self._needed = 0  # bytes that must be held before parsing again makes sense
        self._topics: dict[bytes, str] = {}
        self._aliases: dict[int, str] = {}
        self._dead = False

    @property
    def is_midway(self) -> bool:
        """Whether a packet has begun and not yet ended."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[Incoming]:
        """The packets that are complete now, in order."""
        if self._dead:
            return []
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return []
            data = bytes(self._held)
            self._held.clear()
        found: list[Incoming] = []
        try:
            rest = self._split(data, found)
        except PacketError as error:
            self._dead = True
            found.append(Violation(error.code, error.detail))
            return found
        if rest < len(data):
            self._held += data[rest:]
        return found

    def _split(self, data: bytes, found: list[Incoming]) -> int:  # noqa: C901 - flat: every packet passes here
        """Append the complete packets of `data` to `found`; the position of the first incomplete one."""
        meanings, limit, topics, with_properties = self._meanings, self._limit, self._topics, self.version == MQTT_5
        append, make = found.append, Publish._make  # _make takes 2/3 of the time of a call
        position, end = 0, len(data)
        while position < end:
            meaning = meanings[data[position]]
            if meaning < 0:
                raise self._fault(-meaning)
            start = position + 2
            size = data[position + 1] if start <= end else 0x80
            if size > 0x7F:
                size, start = self._remaining_length(data, position, end)
                if size == _INCOMPLETE:
                    return position
            stop = start + size
            if stop - position > limit:
                raise PacketError(
                    ReasonCode.PACKET_TOO_LARGE, f"a packet of {stop - position} bytes; {limit} are allowed"
                )
            if stop > end:
                self._needed = stop - position
                return position
            position = stop
            if meaning > 1:
                append(self._other(meaning - _FIRST_OTHER, data, start, stop))
                meanings, limit, with_properties = self._meanings, self._limit, self.version == MQTT_5
                continue
            id_at = start + 2 + (data[start] << 8 | data[start + 1]) if size > 1 else stop + 1
            payload = id_at + 2 * meaning + with_properties
            if payload > stop:
                raise self._fault(ReasonCode.MALFORMED_PACKET)
            topic_bytes = data[start + 2 : id_at]
            packet_id = data[id_at] << 8 | data[id_at + 1] if meaning else 0
            if meaning and not packet_id:
                raise self._fault(ReasonCode.PROTOCOL_ERROR)
            topic = topics.get(topic_bytes)
            if with_properties and data[payload - 1]:
                topic, payload = self._with_properties(topic_bytes, data, payload - 1, stop)
            elif topic is None:
                topic = self._topic(topic_bytes)
            append(make((topic, packet_id, data[payload:stop])))
        return position

    @staticmethod
    def _fault(code: int) -> PacketError:
        reason = ReasonCode(code)
        return PacketError(reason, f"a packet is wrong in its header: {reason.name.lower()}")

    def _remaining_length(self, data: bytes, position: int, end: int) -> tuple[int, int]:
        """The size that a fixed header tells and where its packet's body starts, or _INCOMPLETE."""
        size = 0
        at = position + 1
        for shift in (0, 7, 14, 21):
            if at >= end:
                self._needed = end - position + 1
                return _INCOMPLETE, at
            byte = data[at]
            at += 1
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                if shift and not byte and self.version == MQTT_5:
                    break
                return size, at
        detail = "a remaining length is too long"
        raise malformed(detail)

    def _other(self, kind: int, data: bytes, start: int, stop: int) -> Incoming:
        fields = Fields(data, start, stop)
        if kind != PacketType.CONNECT:
            return PARSERS[kind](fields, self.version)
        try:
            self.version = parse_version(fields)
        except PacketError as error:
            if error.code is ReasonCode.UNSUPPORTED_PROTOCOL_VERSION:
                self.version = data[fields.position - 1]
            raise
        connect = parse_connect(fields, self.version)
        self._meanings = _AFTER_CONNECT
        self._limit = self._largest
        return connect

    def _topic(self, raw: bytes) -> str:
        """A topic name seen for the first time."""
        topic = to_text(raw)
        check_topic_name(topic)
        if len(self._topics) < _REMEMBERED_TOPICS:
            self._topics[raw] = topic
        return topic

    def _with_properties(self, raw: bytes, data: bytes, at: int, stop: int) -> tuple[str, int]:
        """A PUBLISH that bears properties: its topic, perhaps by alias, and where its payload starts."""
        fields = Fields(data, at, stop)
        given = properties.take_properties(fields, properties.PUBLISH)
        if Property.SUBSCRIPTION_IDENTIFIER in given.numbers:
            detail = "a subscription identifier in a client's PUBLISH"
            raise protocol_error(detail)
        if Property.RESPONSE_TOPIC in given.texts:
            check_topic_name(given.texts[Property.RESPONSE_TOPIC])
        alias = given.numbers.get(Property.TOPIC_ALIAS)
        if alias is None:
            return self._topics.get(raw) or self._topic(raw), fields.position
        if not 0 < alias <= TOPIC_ALIAS_MAXIMUM:
            raise PacketError(
                ReasonCode.TOPIC_ALIAS_INVALID, f"topic alias {alias}; 1 to {TOPIC_ALIAS_MAXIMUM} are allowed"
            )
        if raw:
            self._aliases[alias] = self._topics.get(raw) or self._topic(raw)
        elif alias not in self._aliases:
            detail = f"topic alias {alias} stands for no topic yet"
            raise protocol_error(detail)
        return self._aliases[alias], fields.position
