"""What a client sends, as the server reads it."""

from typing import Final

from gateway.doors.mqtt import properties
from gateway.doors.mqtt.codes import PacketType, Property, ReasonCode
from gateway.doors.mqtt.fields import Fields, PacketError, protocol_error, to_text
from gateway.doors.mqtt.framing import FIRST_OTHER, Framing, meaning_of_other, meaning_of_publish
from gateway.doors.mqtt.native import CutRuns
from gateway.doors.mqtt.packets import Incoming, Publishes, Violation
from gateway.doors.mqtt.parse import PARSERS, parse_connect, parse_version
from gateway.doors.mqtt.topics import check_topic_name

TOPIC_ALIAS_MAXIMUM: Final = 16
LARGEST_CONNECT: Final = 131_072
"""Bytes of the largest CONNECT: whoever has not said a password yet cannot make us hold more."""

_REMEMBERED_TOPICS: Final = 64


def _meaning(first: int) -> int:
    is_publish = first >> 4 == PacketType.PUBLISH
    return meaning_of_publish(first) if is_publish else meaning_of_other(first, tuple(PARSERS))


_CONNECT: Final = FIRST_OTHER + PacketType.CONNECT
_BEFORE_CONNECT: Final = tuple(_CONNECT if first == 0x10 else -ReasonCode.PROTOCOL_ERROR for first in range(256))
_AFTER_CONNECT: Final = tuple(_meaning(first) for first in range(256))


class PacketStream(Framing[Incoming]):
    """Parses what one client sends; its state is what MQTT makes a connection remember.

    `version` is 0 until CONNECT has named one; of a version not spoken here, its level.
    """

    __slots__ = ("_aliases", "_cut", "_largest")

    def __init__(self, max_packet_bytes: int, cut: CutRuns | None = None) -> None:
        """`cut` is the compiled loop, where there is one."""
        super().__init__(0, _BEFORE_CONNECT, min(max_packet_bytes, LARGEST_CONNECT))
        self._largest = max_packet_bytes
        self._aliases: dict[int, str] = {}
        self._cut = cut

    def _split(self, data: bytes, found: "list[Publishes | Violation | Incoming]") -> int:
        """As of any stream; what nearly every read begins with goes the short way."""
        if self._cut is None or self._meanings is not _AFTER_CONNECT:
            return super()._split(data, found)
        runs, stop = self._cut(data, len(data), self.version, self._limit)
        topics = self._topics
        for raw, packet_ids, payloads in runs:
            found.append(Publishes(topics.get(raw) or self._topic(raw), packet_ids, payloads))
        return stop if stop == len(data) else stop + super()._split(data[stop:] if stop else data, found)

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
