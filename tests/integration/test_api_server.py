"""HEAD is answered for every GET, and holds nobody up."""

import asyncio
from collections.abc import AsyncGenerator

import httpx
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from gateway.api.server import ApiServer
from gateway.settings import ApiSettings
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S


def _client(url: str) -> httpx.AsyncClient:
    """Somebody whose requests follow one another on one connection."""
    return httpx.AsyncClient(
        base_url=url, limits=httpx.Limits(max_connections=1), verify=IN_THE_CLEAR, timeout=PATIENCE_S
    )


async def test_the_head_of_a_stream_that_says_nothing_yet_is_over_at_once() -> None:
    app, ended = FastAPI(), asyncio.Event()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(silent(), media_type="text/event-stream")

    @app.get("/said")
    async def said() -> str:
        return "x"

    async def silent() -> AsyncGenerator[bytes]:
        try:
            await asyncio.Event().wait()
            yield b"never"
        finally:
            ended.set()

    server = ApiServer(ApiSettings(port=0))
    server.use(app)
    task = asyncio.create_task(server.run())
    async with asyncio.timeout(PATIENCE_S), _client(server.url) as client:
        head = await client.head("/stream")
        assert (head.status_code, head.content) == (200, b"")
        known = await client.head("/said")
        assert (known.status_code, known.content, known.headers["content-length"]) == (200, b"", "3")
        assert (await client.get("/said")).json() == "x"
        await ended.wait()
        server.stop()
        await task
