"""Whatever goes wrong is answered as a problem document: a body of another kind, and a fault of ours."""

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from gateway.api.problems import MEDIA_TYPE, install_problems


class _Said(BaseModel):
    text: str


def client() -> httpx.AsyncClient:
    """Somebody who asks an application that takes a body, and one that breaks."""
    app = FastAPI()
    install_problems(app)

    @app.post("/say")
    async def say(said: _Said) -> int:
        return len(said.text)

    @app.get("/break")
    async def break_() -> None:
        raise KeyError("of ours")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://careloop")


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"text": "x"}', "application/json", 200),
        (b'{"text": "x"}', "application/merge-patch+json; charset=utf-8", 200),
        (b"text=x", "application/x-www-form-urlencoded", 415),
        (b"x", "text/plain", 415),
        (b"{", "application/json", 422),
        (b"", "text/plain", 422),
    ],
)
async def test_a_body_that_is_no_json_is_of_an_unsupported_kind(content: bytes, kind: str, status: int) -> None:
    async with client() as asking:
        answer = await asking.post("/say", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status
    if status != 200:
        assert (answer.headers["content-type"], answer.json()["status"]) == (MEDIA_TYPE, status)


async def test_a_fault_of_ours_is_a_problem_document_too() -> None:
    async with client() as asking:
        answer = await asking.get("/break")
    assert (answer.status_code, answer.headers["content-type"]) == (500, MEDIA_TYPE)
    assert "of ours" not in answer.text
