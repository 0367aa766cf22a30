"""An HTTP server by hand, for receivers that answer as no library would: it reads requests, its heirs answer them."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.services.streams import serving


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class HttpByHand(ABC):
    """Listens on a port of the loopback address for the length of a `with`."""

    def __init__(self) -> None:
        self._open = AsyncExitStack()
        self.port = 0
        """The port it listens on."""

    @abstractmethod
    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer it, or not; whether the connection goes on."""

    async def __aenter__(self) -> Self:
        self.port = await self._open.enter_async_context(serving(self._accept))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # the caller is done with us
            while await self.answer(await _read(reader), writer):
                pass


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = head[0].split(" ")
    return Request(method, target, headers, body)
