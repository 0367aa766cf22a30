"""A broker by hand: the test says what it answers to each connection."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from tests.doors import raw
from tests.services.streams import serving

CONNECT, SUBSCRIBE, PINGREQ = 1, 8, 12
WELCOME = raw.packet(0x20, b"\0\0\0")


class Guest(raw.RawClient):
    """A client's connection, as the broker sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(0)
        self._reader, self._writer = reader, writer

    async def let_in(self, properties: bytes = b"") -> None:
        """Take its CONNECT and its SUBSCRIBEs of eight filters at most, and grant them."""
        assert (await self.read()).kind == CONNECT
        self.send(raw.packet(0x20, b"\0\0" + raw.properties(properties)))
        await self.grant()

    async def grant(self) -> raw.Answer:
        """Take one SUBSCRIBE, and grant QoS 1."""
        subscribe = await self.read()
        assert subscribe.kind == SUBSCRIBE
        self.send(suback(subscribe, count_filters(subscribe)))
        return subscribe

    async def pubacks(self, count: int) -> list[int]:
        """The identifiers of the next acknowledgements; pings between them are answered."""
        found: list[int] = []
        while len(found) < count:
            answer = await self.read()
            if answer.kind == PINGREQ:
                self.send(b"\xd0\0")
                continue
            assert answer.kind == raw.PUBACK, answer
            found.append(answer.packet_id)
        return found


def count_filters(subscribe: raw.Answer) -> int:
    """How many topic filters an MQTT 5 SUBSCRIBE names."""
    at, count = 3, 0
    while at < len(subscribe.body):
        at += 3 + int.from_bytes(subscribe.body[at : at + 2], "big")
        count += 1
    return count


def suback(subscribe: raw.Answer, filters: int, code: int = 1) -> bytes:
    """The answer to a SUBSCRIBE of so many filters."""
    return raw.packet(0x90, subscribe.body[:2] + b"\0" + bytes([code]) * filters)


@asynccontextmanager
async def scripted(serve: Callable[[Guest], Awaitable[None]]) -> AsyncGenerator[int]:
    """A broker that serves each connection so, and then closes it; its port."""

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # the client has left
            await serve(Guest(reader, writer))

    async with serving(welcome) as port:
        yield port
