"""What a stream of packets gave, message by message."""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from gateway.doors.mqtt.packets import Messages, Publishes

Other = TypeVar("Other")


class Publish(NamedTuple):
    """One message; `packet_id` is 0 at QoS 0."""

    topic: str
    packet_id: int
    payload: bytes


def unfold(packets: "Iterable[Messages | Publishes | Other]") -> "list[Publish | Other]":
    """The packets, each message by itself."""
    found: list[Publish | Other] = []
    for packet in packets:
        if isinstance(packet, Publishes):
            assert packet.packet_ids
            pairs = zip(packet.packet_ids, packet.payloads, strict=True)
            found += [Publish(packet.topic, packet_id, payload) for packet_id, payload in pairs]
        elif isinstance(packet, Messages):
            assert packet.topics
            found += map(Publish, packet.topics, packet.packet_ids, packet.payloads)
        else:
            found.append(packet)
    return found
