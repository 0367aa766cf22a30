"""From a connection's bytes to packets, however they were cut into reads: what both ends of a connection share."""

from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from gateway.doors.mqtt.codes import MQTT_5, PacketType, ReasonCode
from gateway.doors.mqtt.fields import PacketError, malformed
from gateway.doors.mqtt.packets import Publishes, Violation

FIRST_OTHER: Final = 0x10
"""A first byte leads to 0 or 1, a PUBLISH of that QoS; to FIRST_OTHER + n, packet type n; or to a fault, negative."""

_INCOMPLETE: Final = -1
_RESERVED_FLAGS: Final = {PacketType.SUBSCRIBE: 2, PacketType.UNSUBSCRIBE: 2, PacketType.PUBREL: 2}

Other = TypeVar("Other")


def meaning_of_publish(first: int) -> int:
    """What the first byte of a PUBLISH leads to."""
    qos = (first >> 1) & 0x03
    if qos == 3 or (qos == 0 and first & 0x08):
        return -ReasonCode.MALFORMED_PACKET
    return -ReasonCode.QOS_NOT_SUPPORTED if qos == 2 else qos


def meaning_of_other(first: int, known: Sequence[int]) -> int:
    """What any other first byte leads to, where packets of the types `known` may come."""
    kind = first >> 4
    if kind == 0 or first & 0x0F != _RESERVED_FLAGS.get(PacketType(kind), 0):
        return -ReasonCode.MALFORMED_PACKET
    return FIRST_OTHER + kind if kind in known else -ReasonCode.PROTOCOL_ERROR


class Framing(Generic[Other]):
    """Cuts bytes into packets, and reads PUBLISHes; what the other packets mean is told by each end's own stream.

    `feed` gives the same packets for any way of cutting the bytes. A Violation is the last packet it ever gives.
    """

    __slots__ = ("_dead", "_held", "_limit", "_meanings", "_needed", "_topics", "version")

    def __init__(self, version: int, meanings: Sequence[int], limit: int) -> None:
        """`meanings` tells what each first byte leads to, `limit` the bytes of the largest packet."""
        self.version = version
        self._meanings = meanings
        self._limit = limit
        self._held = bytearray()
        self._needed = 0  # bytes that must be held before parsing again makes sense
        self._topics: dict[bytes, str] = {}
        self._dead = False

    @property
    def is_between(self) -> bool:
        """Whether what was read last ended with a whole packet."""
        return not self._held

    def feed(self, data: bytes) -> list[Publishes | Violation | Other]:
        """The packets that are complete now, in order."""
        if self._dead:
            return []
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return []
            data = bytes(self._held)
            self._held.clear()
        found: list[Publishes | Violation | Other] = []
        try:
            rest = self._split(data, found)
        except PacketError as error:
            self._dead = True
            found.append(Violation(error.code, error.detail))
            return found
        if rest < len(data):
            self._held += data[rest:]
        return found

    def _split(self, data: bytes, found: list[Publishes | Violation | Other]) -> int:  # noqa: C901, PLR0912, PLR0915 - flat: every packet passes here
        """Append the complete packets of `data` to `found`; the position of the first incomplete one."""
        meanings, limit, topics, with_properties = self._meanings, self._limit, self._topics, self.version == MQTT_5
        append, make, is_next = found.append, Publishes._make, data.startswith  # _make takes 2/3 of the time of a call
        position, end = 0, len(data)
        head = b""  # the topic of the last PUBLISH as it was written, while others may follow on it
        packet_ids: list[int] = []
        payloads: list[bytes] = []
        while position < end:
            meaning = meanings[data[position]]
            if meaning < 0:
                raise self._fault(-meaning)
            start = position + 2
            size = data[position + 1] if start <= end else 0x80
            if size > 0x7F:
                high = data[start] if start < end else 0
                if 0 < high < 0x80:  # nearly always: two bytes tell the length
                    size += (high << 7) - 0x80
                    start += 1
                else:
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
                append(self._other(meaning - FIRST_OTHER, data, start, stop))
                meanings, limit, with_properties = self._meanings, self._limit, self.version == MQTT_5
                head = b""
                continue
            is_same = head and is_next(head, start)
            if is_same:
                id_at = start + len(head)
            else:
                id_at = start + 2 + (data[start] << 8 | data[start + 1]) if size > 1 else stop + 1
            payload = id_at + 2 * meaning + with_properties
            if payload > stop:
                raise self._fault(ReasonCode.MALFORMED_PACKET)
            packet_id = data[id_at] << 8 | data[id_at + 1] if meaning else 0
            if meaning and not packet_id:
                raise self._fault(ReasonCode.PROTOCOL_ERROR)
            if is_same and not (with_properties and data[payload - 1]):
                packet_ids.append(packet_id)
                payloads.append(data[payload:stop])
                continue
            raw = data[start + 2 : id_at]
            if with_properties and data[payload - 1]:
                topic, payload = self._with_properties(raw, data, payload - 1, stop)
                head = b""  # what these bytes stand for may be an alias
            else:
                topic = topics.get(raw) or self._topic(raw)
                head = data[start:id_at]
            packet_ids, payloads = [packet_id], [data[payload:stop]]
            append(make((topic, packet_ids, payloads)))
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

    def _other(self, kind: int, data: bytes, start: int, stop: int) -> Publishes | Violation | Other:
        """A packet that the table of meanings leads here, from its body."""
        raise NotImplementedError

    def _topic(self, raw: bytes) -> str:
        """A topic name that is not remembered."""
        raise NotImplementedError

    def _with_properties(self, raw: bytes, data: bytes, at: int, stop: int) -> tuple[str, int]:
        """A PUBLISH that bears properties: its topic, and where its payload starts."""
        raise NotImplementedError
