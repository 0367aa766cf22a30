"""Reading MQTT's data types out of a packet (MQTT 5, section 1.5)."""

from gateway.doors.mqtt.codes import ReasonCode


class PacketError(Exception):
    """A packet that breaks the specification; `code` is the reason to answer with."""

    def __init__(self, code: ReasonCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def malformed(detail: str) -> PacketError:
    """The bytes cannot be parsed."""
    return PacketError(ReasonCode.MALFORMED_PACKET, detail)


def protocol_error(detail: str) -> PacketError:
    """The bytes can be parsed, and say something that is not allowed."""
    return PacketError(ReasonCode.PROTOCOL_ERROR, detail)


def to_text(raw: bytes) -> str:
    """A UTF-8 string as MQTT wants it: no overlong forms, no surrogates, no U+0000 (section 1.5.4)."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        detail = "a string is not UTF-8"
        raise malformed(detail) from error
    if "\0" in text:
        detail = "a string contains U+0000"
        raise malformed(detail)
    return text


class Fields:
    """A packet's fields from `position` up to `end`, taken in order; each take raises PacketError past the end."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self.data = data
        self.position = position
        self.end = end

    def _take(self, size: int) -> bytes:
        start = self.position
        stop = start + size
        if stop > self.end:
            detail = "a field runs past the end of its packet"
            raise malformed(detail)
        self.position = stop
        return self.data[start:stop]

    @property
    def left(self) -> int:
        """Bytes not yet taken."""
        return self.end - self.position

    def byte(self) -> int:
        """One byte."""
        return self._take(1)[0]

    def two_bytes(self) -> int:
        """A two byte integer."""
        return int.from_bytes(self._take(2), "big")

    def four_bytes(self) -> int:
        """A four byte integer."""
        return int.from_bytes(self._take(4), "big")

    def variable(self) -> int:
        """A variable byte integer of at most four bytes, in its shortest form (section 1.5.5)."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if shift and byte == 0:
                    break
                return value
        detail = "a variable byte integer is too long"
        raise malformed(detail)

    def skip(self, size: int) -> None:
        """Leave bytes out."""
        self._take(size)

    def text(self) -> str:
        """A UTF-8 string."""
        return to_text(self._take(self.two_bytes()))

    def binary(self) -> bytes:
        """Binary data with its length in front."""
        return self._take(self.two_bytes())

    def packet_id(self) -> int:
        """A packet identifier, which is never 0."""
        packet_id = self.two_bytes()
        if packet_id == 0:
            detail = "a packet identifier is 0"
            raise protocol_error(detail)
        return packet_id
