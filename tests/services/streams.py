"""Servers of the tests' own that leave no connection behind."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def serving(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """A server on a port of the loopback address, which is given; with the block everything that it serves ends.

    asyncio by itself leaves a connection open whose handler is cancelled before it has begun.
    """
    tasks: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(handle(reader, writer))
        tasks.add(task)
        writers.add(writer)

        def end(done: asyncio.Task[None]) -> None:
            tasks.discard(done)
            writer.close()
            if not done.cancelled() and (error := done.exception()) is not None:
                message = {"message": "a test's server has failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(message)

        task.add_done_callback(end)

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            while tasks:  # and such as came meanwhile
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.sleep(0)  # they are taken from the set a moment later
            for writer in writers:
                writer.transport.abort()  # though what it was to write is read by nobody
