"""Commands on their way to one device."""

from collections.abc import Container

from gateway.doors.mqtt import write
from gateway.doors.mqtt.packets import Connect


class Commands:
    """Packet identifiers of commands that the device has not acknowledged; as many as its receive maximum allows."""

    __slots__ = ("_largest", "_last", "_most", "_unacknowledged", "_version")

    def __init__(self, connect: Connect) -> None:
        self._version = connect.version
        self._most = connect.receive_maximum
        self._largest = connect.max_packet_bytes
        self._last = 0
        self._unacknowledged: dict[int, str] | None = None  # their topics; most devices are sent none

    def write(self, topic: str, payload: bytes, qos: int, expires_in_s: int | None = None) -> bytes | None:
        """The PUBLISH, or None when the device cannot take it: too large, under way already, or too many are."""
        packet_id = 0
        if qos:
            if self._unacknowledged is None:
                self._unacknowledged = {}
            if len(self._unacknowledged) >= self._most or topic in self._unacknowledged.values():
                return None
            packet_id = self._free_id(self._unacknowledged)
        packet = write.publish(self._version, topic, payload, packet_id, expires_in_s)
        if self._largest is not None and len(packet) > self._largest:
            return None
        if self._unacknowledged is not None and packet_id:
            self._unacknowledged[packet_id] = topic
        return packet

    def acknowledged(self, packet_id: int) -> str | None:
        """The device has a message; its topic, or None for an identifier that is not known, which is let pass."""
        return None if self._unacknowledged is None else self._unacknowledged.pop(packet_id, None)

    def _free_id(self, taken: Container[int]) -> int:
        while True:
            self._last = self._last % 65_535 + 1
            if self._last not in taken:
                return self._last
