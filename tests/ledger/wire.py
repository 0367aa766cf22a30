"""A TCP road that can be cut, or go dead without anybody being told: bytes vanish, and closes with them."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, cast

_Result = TypeVar("_Result")


class Tap(Protocol):
    """Hears what passes over one connection."""

    def up(self, data: bytes) -> None:
        """Bytes from the one who connected."""
        ...

    def down(self, data: bytes) -> None:
        """Bytes to the one who connected."""
        ...


class Roads:
    """The event loop, in a thread of its own, that the wires run in."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="roads", daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run something in the loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        """Stop, once every wire is closed."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)
        self.loop.close()


class _End(asyncio.Protocol):
    """One end of a connection. What comes in here goes out at `other`, unless this direction is dead."""

    def __init__(self, pair: "_Pair", *, is_near: bool) -> None:
        self.pair = pair
        self.is_near = is_near
        self.is_dead = False  # what is said here is not heard there
        self.other: _End | None = None
        self.waiting = b""
        self.is_gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        tap = self.pair.tap
        if tap is not None and not self.is_dead:
            (tap.up if self.is_near else tap.down)(data)
        if self.other is None:
            self.waiting += data
        elif not self.is_dead and not self.other.is_gone:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.is_gone:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.is_gone = True
        self.pair.ended(self)
        if self.other is not None and not self.is_dead and not self.other.is_gone:
            self.other.transport.close()


class _Pair:
    """A connection: its near end, and the far one."""

    def __init__(self, wire: "Wire") -> None:
        self.wire = wire
        self.tap = None if wire.new_tap is None else wire.new_tap()
        self.near = _End(self, is_near=True)
        self.far = _End(self, is_near=False)

    def ended(self, end: _End) -> None:
        """One end is closed; where it had been left in the dark, it has noticed by itself."""
        if end is self.far and self.near.is_dead:
            self.wire.ended_by_far += 1
        if self.near.is_gone and (self.far.is_gone or self.far.other is None):
            self.wire.pairs.discard(self)

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.far, "127.0.0.1", self.wire.far_port)
        except OSError:
            self.wire.pairs.discard(self)
            self.near.transport.abort()
            return
        self.near.other, self.far.other = self.far, self.near
        self.far.transport.write(self.near.waiting)
        if self.near.is_gone:
            self.far.transport.close()


class Wire:
    """Listens on a port of its own and leads to `far_port`; both on the loopback address."""

    def __init__(self, roads: Roads, far_port: int, new_tap: Callable[[], Tap] | None = None) -> None:
        self.far_port = far_port
        self.new_tap = new_tap
        self.pairs: set[_Pair] = set()
        self.ended_by_far = 0  # dead connections that the far party has ended by itself
        self._roads = roads
        self._connecting: set[asyncio.Task[None]] = set()
        self._server = roads.do(self._open())
        self.port = int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> int:
        """End every connection at once; how many there were."""

        async def abort() -> int:
            pairs = list(self.pairs)
            for pair in pairs:
                for end in (pair.near, pair.far):
                    end.is_dead = False
                    if not end.is_gone and hasattr(end, "transport"):
                        end.transport.abort()
            return len(pairs)

        return self._roads.do(abort())

    def deaden(self, *, up: bool, down: bool) -> int:
        """Let what is said over the present connections vanish in one direction or both; how many they are."""

        async def mark() -> int:
            pairs = [pair for pair in self.pairs if pair.far.other is not None]
            for pair in pairs:
                pair.near.is_dead, pair.far.is_dead = up, down
            return len(pairs)

        return self._roads.do(mark())

    def close(self) -> None:
        """End everything."""

        async def shut() -> None:
            self._server.close()

        self._roads.do(shut())
        self.cut()

    async def _open(self) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(self._accept, "127.0.0.1", 0)

    def _accept(self) -> asyncio.Protocol:
        pair = _Pair(self)
        self.pairs.add(pair)
        task = asyncio.get_running_loop().create_task(pair.connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return pair.near
