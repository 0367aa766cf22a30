"""What a broker sends, as its client reads it."""

from typing import Final, cast

from gateway.doors.mqtt.answers import PARSERS, Answer
from gateway.doors.mqtt.codes import LARGEST_PACKET, MQTT_5, PacketType, ReasonCode
from gateway.doors.mqtt.cut import cut_publishes
from gateway.doors.mqtt.fields import Fields, PacketError
from gateway.doors.mqtt.framing import FIRST_OTHER, Framing, meaning_of_other, meaning_of_publish
from gateway.doors.mqtt.native import CutMixed
from gateway.doors.mqtt.packets import Messages, Publishes, Retained, Violation

_REMEMBERED_TOPICS: Final = 65_536
_LONGEST_REMEMBERED: Final = 200
_AGAIN: Final = FIRST_OTHER + PacketType.PUBLISH
_KEPT: Final = FIRST_OTHER + 0x10  # at QoS 0; one more at QoS 1, two where it is sent again
_DUP: Final = 0x08
_RETAIN: Final = 0x01


def _meaning(first: int) -> int:
    if first >> 4 != PacketType.PUBLISH:
        return meaning_of_other(first, tuple(PARSERS))
    meaning = meaning_of_publish(first)
    if meaning >= 0 and first & _RETAIN:
        return _KEPT + meaning + (first & _DUP > 0)
    return _AGAIN if meaning == 1 and first & _DUP else meaning


_CONNACK: Final = FIRST_OTHER + PacketType.CONNACK
_BEFORE_CONNACK: Final = tuple(_CONNACK if first == 0x20 else -ReasonCode.PROTOCOL_ERROR for first in range(256))
_AFTER_CONNACK: Final = tuple(
    -ReasonCode.PROTOCOL_ERROR if meaning == _CONNACK else meaning for meaning in map(_meaning, range(256))
)


class BrokerStream(Framing[Messages | Retained | Answer]):
    """Parses what a broker sends to one connection, on which no topic alias was offered.

    It judges what holds the connection together and lets messages pass as they are: a broker to which a message was
    good enough would only send it again on the next connection, and the one after that.
    """

    __slots__ = ("_cut", "redelivered")

    def __init__(self, version: int, cut: CutMixed | None = None) -> None:
        """Packets may be as large as they come: told a limit, the broker would drop what is above it.

        `cut` is the compiled loop, where there is one.
        """
        super().__init__(version, _BEFORE_CONNACK, LARGEST_PACKET)
        self._cut: CutMixed = cut or cut_publishes
        self.redelivered = 0  # PUBLISHes marked as sent before

    def _split(self, data: bytes, found: "list[Publishes | Violation | Messages | Retained | Answer]") -> int:
        """As of any stream; what nearly every read begins with, and most consist of, goes the short way."""
        if self._meanings is not _AFTER_CONNACK:
            return super()._split(data, found)
        topics, packet_ids, payloads, stop = self._cut(data, len(data), self.version)
        if stop:
            found.append(Messages(self._names(topics), packet_ids, payloads))
        return stop if stop == len(data) else stop + super()._split(data[stop:] if stop else data, found)

    def _other(self, kind: int, data: bytes, start: int, stop: int) -> Publishes | Retained | Answer:
        fields = Fields(data, start, stop)
        if kind >= _KEPT - FIRST_OTHER:
            return self._kept(fields, kind - (_KEPT - FIRST_OTHER))
        if kind == PacketType.PUBLISH:
            return self._again(fields)
        if kind == PacketType.CONNACK:
            self._meanings = _AFTER_CONNACK
        return PARSERS[kind](fields, self.version)

    def _kept(self, fields: Fields, how: int) -> Retained:
        """A PUBLISH that the broker had kept; `how` is 0 at QoS 0, 1 at QoS 1, 2 where it is sent again."""
        raw = fields.binary()
        packet_id = fields.packet_id() if how else 0
        self.redelivered += how == 2
        if self.version == MQTT_5:
            _skip_properties(fields)
        topic = self._topics.get(raw) or self._topic(raw)
        return Retained(topic, packet_id, fields.data[fields.position : fields.end])

    def _again(self, fields: Fields) -> Publishes:
        """A PUBLISH at QoS 1 that the broker has sent before."""
        raw = fields.binary()
        packet_id = fields.packet_id()
        if self.version == MQTT_5:
            _skip_properties(fields)
        self.redelivered += 1
        topic = self._topics.get(raw) or self._topic(raw)
        return Publishes(topic, [packet_id], [fields.data[fields.position : fields.end]])

    def _names(self, topics: list[bytes]) -> list[str]:
        known = list(map(self._topics.get, topics))
        if None not in known:
            return cast("list[str]", known)
        return [name or self._topic(raw) for name, raw in zip(known, topics, strict=True)]

    def _topic(self, raw: bytes) -> str:
        """A topic name that is not remembered; what is not UTF-8 in it, or U+0000, is replaced."""
        if not raw:
            raise PacketError(ReasonCode.TOPIC_ALIAS_INVALID, "a topic alias, though none was offered")
        topic = raw.decode("utf-8", "replace").replace("\0", "\ufffd")
        if len(raw) <= _LONGEST_REMEMBERED:
            if len(self._topics) >= _REMEMBERED_TOPICS:
                self._topics.clear()
            self._topics[raw] = topic
        return topic

    def _with_properties(self, raw: bytes, data: bytes, at: int, stop: int) -> tuple[str, int]:
        """A PUBLISH that bears properties, which are for its readers, and not of ours."""
        fields = Fields(data, at, stop)
        _skip_properties(fields)
        return self._topics.get(raw) or self._topic(raw), fields.position


def _skip_properties(fields: Fields) -> None:
    fields.skip(fields.variable())
