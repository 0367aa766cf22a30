"""A body that is too long is refused before it is in memory, whoever sends it."""

from collections.abc import AsyncGenerator

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

from gateway.api.limits import MOST_BYTES, BodyLimit
from gateway.api.problems import MEDIA_TYPE, install_problems


class _Said(BaseModel):
    text: str


def client() -> httpx.AsyncClient:
    """Somebody who asks an application that takes a body."""
    app = FastAPI()
    install_problems(app)
    app.add_middleware(BodyLimit)

    @app.post("/say")
    async def say(said: _Said) -> int:
        return len(said.text)

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://careloop")


async def test_a_body_that_says_how_long_it_is_is_refused_unread() -> None:
    async with client() as asking:
        assert (await asking.post("/say", json={"text": "x" * 1000})).json() == 1000
        refused = await asking.post("/say", content=b" " * (MOST_BYTES + 1))
        assert (refused.status_code, refused.headers["content-type"]) == (413, MEDIA_TYPE)
        assert (await asking.post("/say", content=b"{}", headers={"Content-Length": "many"})).status_code == 413


async def test_a_body_that_never_ends_is_refused_once_it_is_too_long() -> None:
    sent = 0

    async def pieces() -> AsyncGenerator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b" " * 65536

    async with client() as asking:
        refused = await asking.post("/say", content=pieces(), headers={"Content-Type": "application/json"})
    assert (refused.status_code, refused.headers["content-type"]) == (413, MEDIA_TYPE)
    assert sent <= MOST_BYTES // 65536 + 2
