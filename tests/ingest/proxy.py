"""A way to the database that breaks where it hurts: around a COMMIT."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Literal

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.services.streams import serving

Break = Literal["before_commit", "after_commit"]


class Proxy:
    """Passes bytes to and fro; at a COMMIT it does what was asked for, once for each time it was asked."""

    def __init__(self, upstream: str) -> None:
        parts = conninfo_to_dict(upstream)
        self._upstream = (str(parts["host"]), int(str(parts["port"])))
        self._parts = parts
        self._breaks: list[Break | None] = []
        self._port = 0
        self._is_blocked = False
        self._writers: set[asyncio.StreamWriter] = set()
        self.broken: list[Break] = []

    @property
    def url(self) -> str:
        """The way through the proxy."""
        return make_conninfo("", **{**self._parts, "host": "127.0.0.1", "port": self._port})

    def block(self) -> None:
        """Cut every connection, and let none through."""
        self._is_blocked = True
        for writer in self._writers:
            writer.transport.abort()

    def unblock(self) -> None:
        """Let connections through again."""
        self._is_blocked = False

    def at_commits(self, *breaks: Break | None) -> None:
        """What happens at each of the next COMMITs that have more than one statement before them."""
        self._breaks += breaks

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Proxy"]:
        """Listen on a free port."""
        async with serving(self._serve) as self._port:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_blocked:
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            return
        if self._is_blocked:  # meanwhile
            up_writer.close()
            return
        down = asyncio.create_task(_pump(up_reader, writer))
        self._writers.add(writer)
        try:
            with suppress(ConnectionError):
                await self._up(reader, up_writer, down)
        finally:
            self._writers.discard(writer)
            down.cancel()
            with suppress(asyncio.CancelledError):
                await down
            up_writer.close()

    async def _up(self, reader: asyncio.StreamReader, up: asyncio.StreamWriter, down: asyncio.Task[None]) -> None:
        stored = False
        while data := await reader.read(1 << 16):
            stored = stored or b"INSERT INTO batch" in data or b"INSERT INTO detector_checkpoint" in data
            wanted = self._breaks.pop(0) if stored and b"COMMIT" in data and self._breaks else None
            if wanted is not None:
                self.broken.append(wanted)
            if wanted == "before_commit":
                return
            if wanted == "after_commit":
                down.cancel()  # nobody hears the answer
            up.write(data)
            await up.drain()
            if wanted == "after_commit":
                await asyncio.sleep(0.2)  # the server gets to read it
                return


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
