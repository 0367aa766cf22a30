"""Reads along between a broker and careloop: which readings careloop has acknowledged to the broker."""

from collections.abc import Iterator

from tests.ledger.book import Key
from tests.ledger.plan import keys_in

CONNECT, PUBLISH, PUBACK = 1, 3, 4


class Frames:
    """Cuts a stream of bytes into MQTT packets."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The whole packets: first byte, and what follows the fixed header."""
        self._rest += data
        while (found := _header(self._rest)) is not None:
            start, end = found
            if len(self._rest) < end:
                return
            yield self._rest[0], bytes(self._rest[start:end])
            del self._rest[:end]


def _header(data: bytearray | bytes, at: int = 1) -> tuple[int, int] | None:
    """Where what a variable length at `at` announces starts and ends; None where the length is not there yet."""
    size, shift = 0, 0
    for byte in data[at : at + 4]:
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return at, at + size
    return None


class Witness:
    """What has passed between the broker and careloop, over all connections."""

    def __init__(self) -> None:
        self.acknowledged: set[Key] = set()

    def new_tap(self) -> "_Connection":
        """Ears for one connection more."""
        return _Connection(self)


class _Connection:
    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._up, self._down = Frames(), Frames()
        self._version = 5
        self._open: dict[int, tuple[Key, ...]] = {}

    def up(self, data: bytes) -> None:
        """From careloop."""
        for first, body in self._up.feed(data):
            if first >> 4 == CONNECT:
                self._version = body[6]
            elif first >> 4 == PUBACK:
                self._witness.acknowledged.update(self._open.pop(int.from_bytes(body[:2], "big"), ()))

    def down(self, data: bytes) -> None:
        """From the broker."""
        for first, body in self._down.feed(data):
            if first >> 4 != PUBLISH or not first & 0x06:
                continue
            at = 2 + int.from_bytes(body[:2], "big")
            topic, packet_id = body[2:at].decode(), int.from_bytes(body[at : at + 2], "big")
            at += 2
            if self._version == 5:  # properties follow
                _, at = _header(body, at) or (0, at)
            self._open[packet_id] = tuple(keys_in(topic.split("/")[1], body[at:]))
