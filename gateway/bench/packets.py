"""MQTT packets of devices, encoded before the clock starts (MQTT 3.1.1, chapter 3)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from gateway.bench.rows import PASSWORD, Block, Fleet, payloads
from gateway.doors.mqtt.write import text, variable

_CONNECT: Final = 0x10
_PUBLISH_QOS_1: Final = 0x32
_CLEAN_WITH_NAME_AND_PASSWORD: Final = 0xC2
_PACKET_IDS: Final = 65_535


@dataclass(frozen=True, slots=True)
class Stream:
    """Everything that one connection sends."""

    connect: bytes
    publishes: bytes
    ends: Sequence[int]  # where each PUBLISH ends in `publishes`


def connect(device_id: str, keep_alive_s: int = 0) -> bytes:
    """CONNECT of a device, with a clean session; 0 is no keep-alive."""
    body = text("MQTT") + bytes([4, _CLEAN_WITH_NAME_AND_PASSWORD]) + keep_alive_s.to_bytes(2, "big")
    body += text(device_id) + text(device_id) + text(PASSWORD)
    return bytes([_CONNECT]) + variable(len(body)) + body


def publish(topic: str, packet_id: int, payload: bytes) -> bytes:
    """PUBLISH at QoS 1."""
    head = text(topic) + packet_id.to_bytes(2, "big")
    return bytes([_PUBLISH_QOS_1]) + variable(len(head) + len(payload)) + head + payload


def packet_id(number: int) -> int:
    """The identifier of a connection's PUBLISH number 0, 1, …: 1 to 65535, round and round."""
    return number % _PACKET_IDS + 1


def stream(device_id: str, its_payloads: Iterable[bytes]) -> Stream:
    """A device's connection, on which it sends these payloads as telemetry."""
    topic = f"devices/{device_id}/telemetry"
    packets = [publish(topic, packet_id(number), payload) for number, payload in enumerate(its_payloads)]
    return Stream(connect(device_id), b"".join(packets), list(accumulate(len(packet) for packet in packets)))


def streams(fleet: Fleet, block: Block) -> list[Stream]:
    """One connection for each device, since a device speaks for itself only."""
    encoded = payloads(block)
    return [stream(name, encoded[at :: fleet.senders]) for at, name in enumerate(fleet.device_ids)]
