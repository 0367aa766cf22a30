"""The PUBLISHes of a read that a broker sends most: plain ones, one after the other on any topic, cut out at once."""

from typing import NamedTuple

from gateway.doors.mqtt.codes import MQTT_5


class Cut(NamedTuple):
    """What was found, in order: of each packet its topic as it was written, its identifier, 0 at QoS 0, and payload."""

    topics: list[bytes]
    packet_ids: list[int]
    payloads: list[bytes]
    stop: int  # where the last one ends


def cut_publishes(data: bytes, end: int, version: int) -> Cut:
    """Cut plain PUBLISHes out of a read of `end` bytes, up to the first packet that is none, or not whole.

    Plain is a PUBLISH at QoS 0 or 1 that is neither sent again nor retained, has a topic and no properties, and is as
    it should be.
    """
    topics: list[bytes] = []
    packet_ids: list[int] = []
    payloads: list[bytes] = []
    has_properties = version == MQTT_5
    position = 0
    while end - position >= 4:
        first, start, size = data[position], position + 2, data[position + 1]
        qos = first >> 1 & 3
        if first >> 4 != 3 or first & 9 or qos > 1:
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
        topics.append(data[topic:topic_stop])
        packet_ids.append(packet_id)
        payloads.append(data[payload:stop])
        position = stop
    return Cut(topics, packet_ids, payloads, position)
