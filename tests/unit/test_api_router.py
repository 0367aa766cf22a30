"""What is declared in a router is built where it is installed, below its prefix, behind what all of it is behind."""

from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request

from gateway.api.router import Router


def note(request: Request) -> None:
    """Stands before the others, and lets nobody named eve in."""
    request.state.seen = ["router"]
    if request.headers.get("from") == "eve":
        raise HTTPException(403)


def own(request: Request) -> list[str]:
    return [*request.state.seen, "route"]


def made() -> Router:
    router = Router(prefix="/things", tags=["things"])

    @router.get("/{name}")
    async def thing(name: str, seen: Annotated[list[str], Depends(own)]) -> list[str]:
        return [name, *seen]

    @router.put("", status_code=202)
    async def all_of_them() -> str:
        return "done"

    return router


async def ask(app: FastAPI, method: str, path: str, sender: str = "ada") -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://careloop") as client:
        return await client.request(method, path, headers={"from": sender})


async def test_its_routes_stand_below_both_prefixes_and_behind_what_is_asked_of_all() -> None:
    app = FastAPI()
    made().install(app, "/v1", [Depends(note)])
    assert (await ask(app, "GET", "/v1/things/bell")).json() == ["bell", "router", "route"]
    assert (await ask(app, "GET", "/v1/things/bell", "eve")).status_code == 403
    assert (await ask(app, "PUT", "/v1/things")).status_code == 202
    assert (await ask(app, "GET", "/v1/things")).status_code == 405
    assert (await ask(app, "GET", "/things/bell")).status_code == 404
    assert app.openapi()["paths"]["/v1/things"]["put"]["tags"] == ["things"]


async def test_it_may_be_installed_twice() -> None:
    router, app = made(), FastAPI()
    router.install(app)
    router.install(app, "/again", [Depends(note)], include_in_schema=False)
    assert (await ask(app, "PUT", "/again/things")).status_code == 202
    assert {*app.openapi()["paths"]} == {"/things", "/things/{name}"}


def test_what_fastapi_does_not_take_is_refused_when_it_is_installed() -> None:
    router = Router()
    router.get("/", statuscode=201)(made)
    with pytest.raises(TypeError, match="statuscode"):
        router.install(FastAPI())
