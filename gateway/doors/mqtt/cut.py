"""The PUBLISHes of a read that a broker sends most: plain ones, one after the other on any topic, cut out at once."""

from typing import NamedTuple

from gateway.doors.mqtt.codes import MQTT_5
from gateway.doors.mqtt.native import FindPublishes, Places

_WORTH_A_CALL = 2048  # bytes


class Cut(NamedTuple):
    """What was found, in order: of each packet its topic as it was written, its identifier, 0 at QoS 0, and payload."""

    topics: list[bytes]
    packet_ids: list[int]
    payloads: list[bytes]
    stop: int  # where the last one ends


def cut_publishes(data: bytes, version: int, find: FindPublishes | None) -> Cut:
    """Cut plain PUBLISHes out of a read, up to the first packet that is none, or not whole.

    Plain is a PUBLISH at QoS 0 or 1 that is not sent again, has a topic and no properties, and is as it should be.
    Where the compiled loop `find` is not at hand, or the read is short, `find_publishes` does the same.
    """
    found = (find if find is not None and len(data) > _WORTH_A_CALL else find_publishes)(data, 0, version)
    topic_at, topic_end, packet_ids, payload_at, payload_end = found
    return Cut(
        [data[at:end] for at, end in zip(topic_at, topic_end, strict=True)],
        packet_ids,
        [data[at:end] for at, end in zip(payload_at, payload_end, strict=True)],
        payload_end[-1] if payload_end else 0,
    )


def find_publishes(data: bytes, position: int, version: int) -> Places:
    """Where the parts of plain PUBLISHes are, from a position on."""
    found: Places = ([], [], [], [], [])
    topic_at, topic_end, packet_ids, payload_at, payload_end = found
    has_properties = version == MQTT_5
    end = len(data)
    while end - position >= 4:
        first, start, size = data[position], position + 2, data[position + 1]
        qos = first >> 1 & 3
        if first >> 4 != 3 or first & 8 or qos > 1:
            break
        if size > 0x7F:
            high = data[start]
            if not 0 < high < 0x80:
                break
            size += (high << 7) - 0x80
            start += 1
        stop = start + size
        if size < 2 or stop > end:
            break
        topic = start + 2
        topic_stop = topic + (data[start] << 8 | data[start + 1])
        payload = topic_stop + 2 * qos + has_properties
        if topic_stop == topic or payload > stop or (has_properties and data[payload - 1]):
            break
        packet_id = data[topic_stop] << 8 | data[topic_stop + 1] if qos else 0
        if qos and not packet_id:
            break
        topic_at.append(topic)
        topic_end.append(topic_stop)
        packet_ids.append(packet_id)
        payload_at.append(payload)
        payload_end.append(stop)
        position = stop
    return found
