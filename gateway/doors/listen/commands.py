"""Commands on their way to one device."""

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
        self._unacknowledged: set[int] | None = None  # most devices are sent none

    def write(self, topic: str, payload: bytes, qos: int) -> bytes | None:
        """The PUBLISH, or None when the device cannot take it: too large, or too many unacknowledged."""
        packet_id = 0
        if qos:
            if self._unacknowledged is None:
                self._unacknowledged = set()
            if len(self._unacknowledged) >= self._most:
                return None
            packet_id = self._free_id(self._unacknowledged)
        packet = write.publish(self._version, topic, payload, packet_id)
        if self._largest is not None and len(packet) > self._largest:
            return None
        if self._unacknowledged is not None and packet_id:
            self._unacknowledged.add(packet_id)
        return packet

    def acknowledged(self, packet_id: int) -> None:
        """The device has the command; an identifier that is not known is let pass."""
        if self._unacknowledged is not None:
            self._unacknowledged.discard(packet_id)

    def _free_id(self, taken: set[int]) -> int:
        while True:
            self._last = self._last % 65_535 + 1
            if self._last not in taken:
                return self._last
