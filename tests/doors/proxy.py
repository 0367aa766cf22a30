"""A TCP proxy that can cut its connections, or pretend to be a broker of the past."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

REFUSED_VERSION = b"\x20\x02\x00\x01"  # how 3.1.1 refuses a protocol level


class _Side(asyncio.Protocol):
    """One end of a proxied connection; `other` is where its bytes go."""

    def __init__(self, proxy: "Proxy") -> None:
        self.proxy = proxy
        self.other: _Side | None = None
        self.waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.proxy.sides.add(self)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)
            return
        if not self.waiting and not self.proxy.lets_through(data):
            self.transport.write(REFUSED_VERSION)
            self.transport.close()
            return
        self.waiting += data
        self.proxy.connect_later(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.proxy.sides.discard(self)
        if self.other is not None:
            self.other.transport.abort()


class Proxy:
    """Between a client and the broker on `port`; remembers the protocol level of every CONNECT."""

    def __init__(self, port: int, *, is_old: bool) -> None:
        self.versions: list[int] = []
        self.sides: set[_Side] = set()
        self._broker_port = port
        self._is_old = is_old
        self._connecting: set[asyncio.Task[None]] = set()

    async def open(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.get_running_loop().create_server(lambda: _Side(self), "127.0.0.1", 0)
        self.port: int = server.sockets[0].getsockname()[1]
        return server

    def lets_through(self, connect: bytes) -> bool:
        """Whether a CONNECT is passed on."""
        version = connect[8]
        self.versions.append(version)
        return version == 4 or not self._is_old

    def connect_later(self, side: _Side) -> None:
        """Connect a side to the broker and pass on what has been waiting."""
        task = asyncio.create_task(self._connect(side))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, side: _Side) -> None:
        _, there = await asyncio.get_running_loop().create_connection(
            lambda: _Side(self), "127.0.0.1", self._broker_port
        )
        side.other, there.other = there, side
        there.transport.write(side.waiting)

    def cut(self) -> None:
        """End every connection without a word."""
        for side in tuple(self.sides):
            side.transport.abort()


@asynccontextmanager
async def proxied(port: int, *, is_old: bool = False) -> AsyncGenerator[Proxy]:
    """A proxy for the length of a `with`; with `is_old` it refuses MQTT 5."""
    proxy = Proxy(port, is_old=is_old)
    server = await proxy.open()
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await server.wait_closed()
