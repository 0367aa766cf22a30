"""A webhook receiver whose answers a test chooses, down to the bytes on the wire."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import msgspec
import pytest

from tests.services.http_by_hand import HttpByHand, Request
from tests.services.patience import PATIENCE_S


@dataclass(frozen=True, slots=True)
class Heard:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    method: str = "POST"

    @property
    def data(self) -> dict[str, object]:
        """The message's data."""
        return cast("dict[str, object]", msgspec.json.decode(self.body)["data"])


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def reply(status: int, body: bytes = b"{}", **headers: str) -> Answer:
    """A plain answer; `retry_after` becomes Retry-After."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return answer


def reset() -> Answer:
    """The connection breaks after the request was read."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        cast("asyncio.Transport", writer.transport).abort()

    return answer


def hang() -> Answer:
    """No answer, ever."""

    async def answer(_: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    return answer


def slow_body(status: int) -> Answer:
    """A status at once, and a body that never ends."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} Slow\r\nContent-Length: 1000\r\n\r\n".encode() + b"{")
        await writer.drain()
        await asyncio.Event().wait()

    return answer


def huge_body(status: int) -> Answer:
    """A body that goes on for as long as anybody reads."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} Huge\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"x" * 8192
        while True:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()

    return answer


class Receiver(HttpByHand):
    """Answers from `script` first, then with `usually`."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Heard] = []
        self.script: deque[Answer] = deque()
        self.usually: Answer = reply(200)
        self.in_flight = 0
        self.most_in_flight = 0
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        """Where messages go."""
        return f"http://127.0.0.1:{self.port}/hook"

    async def hears(self, count: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(self.heard) >= count)

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Remember it, and do what the script says."""
        async with self._changed:
            self.heard.append(Heard(request.target, dict(request.headers), request.body, request.method))
            self._changed.notify_all()
        answer = self.script.popleft() if self.script else self.usually
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await answer(writer)
        finally:
            self.in_flight -= 1
        return True


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of the test's own."""
    async with Receiver() as found:
        yield found
