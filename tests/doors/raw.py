"""MQTT by hand: packets as bytes, and a client that reads what comes back. Shares no code with the gateway."""

import asyncio
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self

CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 11, 13, 14


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def properties(raw: bytes = b"") -> bytes:
    return varint(len(raw)) + raw


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + varint(len(body)) + body


def connect(
    version: int = 5,
    client_id: str = "client",
    username: str | None = "d1",
    password: str | None = "correct horse",
    *,
    keep_alive: int = 0,
    flags: int = 0x02,
    extra: bytes = b"",
    will: tuple[str, bytes] | None = None,
    will_flags: int = 0,
) -> bytes:
    body = text("MQTT") + bytes([version])
    flags |= (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    flags |= (0x04 | will_flags) if will else 0
    body += bytes([flags]) + struct.pack(">H", keep_alive)
    if version == 5:
        body += properties(extra)
    body += text(client_id)
    if will:
        body += (properties() if version == 5 else b"") + text(will[0]) + text(will[1])
    if username is not None:
        body += text(username)
    if password is not None:
        body += text(password)
    return packet(0x10, body)


def publish(
    topic: str | bytes = "devices/d1/telemetry",
    payload: bytes = b"{}",
    packet_id: int = 1,
    *,
    version: int = 5,
    qos: int = 1,
    first: int | None = None,
    extra: bytes = b"",
) -> bytes:
    body = text(topic) + (struct.pack(">H", packet_id) if qos else b"")
    if version == 5:
        body += properties(extra)
    return packet(0x30 | qos << 1 if first is None else first, body + payload)


def subscribe(*filters: str, packet_id: int = 1, version: int = 5, qos: int = 1, extra: bytes = b"") -> bytes:
    body = struct.pack(">H", packet_id) + (properties(extra) if version == 5 else b"")
    return packet(0x82, body + b"".join(text(topic_filter) + bytes([qos]) for topic_filter in filters))


def unsubscribe(*filters: str, packet_id: int = 1, version: int = 5) -> bytes:
    body = struct.pack(">H", packet_id) + (properties() if version == 5 else b"")
    return packet(0xA2, body + b"".join(text(topic_filter) for topic_filter in filters))


PINGREQ = b"\xc0\0"
GOODBYE = b"\xe0\0"


@dataclass(frozen=True)
class Answer:
    """A packet from the server; `body` is what follows the fixed header."""

    kind: int
    flags: int
    body: bytes

    @property
    def code(self) -> int:
        """The reason code of CONNACK, PUBACK and DISCONNECT."""
        at = {CONNACK: 1, PUBACK: 2, DISCONNECT: 0}[self.kind]
        return self.body[at] if len(self.body) > at else 0

    @property
    def packet_id(self) -> int:
        """The packet identifier of PUBACK, SUBACK and UNSUBACK."""
        return int.from_bytes(self.body[:2], "big")


class RawClient:
    """A TCP connection that speaks packets; `async with` closes it."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.vanish()

    def send(self, *packets: bytes) -> None:
        """Send packets, or pieces of packets, in one piece."""
        self._writer.write(b"".join(packets))

    def vanish(self) -> None:
        """Be gone without a word."""
        self._writer.transport.abort()

    async def read(self) -> Answer:
        """The next packet; fails after a while, and when the server has closed."""
        async with asyncio.timeout(120):
            first = (await self._reader.readexactly(1))[0]
            size = shift = 0
            while True:
                byte = (await self._reader.readexactly(1))[0]
                size |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            return Answer(first >> 4, first & 0x0F, await self._reader.readexactly(size))

    async def read_to_end(self) -> list[Answer]:
        """Every packet until the server closes."""
        answers: list[Answer] = []
        while True:
            try:
                answers.append(await self.read())
            except (asyncio.IncompleteReadError, ConnectionResetError):
                return answers

    async def log_in(self, packet_bytes: bytes) -> Answer:
        """Send a CONNECT; its CONNACK."""
        self.send(packet_bytes)
        answer = await self.read()
        assert answer.kind == CONNACK
        return answer
