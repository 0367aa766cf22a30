"""Who may read /metrics without the token."""

import httpx
import pytest
from fastapi import FastAPI

from gateway.api.metrics import metrics_router
from gateway.people.door import install_people
from gateway.people.model import Actor, Role
from gateway.people.people import People
from gateway.people.settings import PeopleSettings
from gateway.settings import ApiSettings


class OneToken(People):
    """People of whom nobody signs in."""

    def __init__(self) -> None:
        super().__init__(None, "default", PeopleSettings(), "settings-own")  # pyright: ignore[reportArgumentType]

    async def bearer(self, token: str) -> Actor | None:
        """There is one token."""
        return Actor("default", "prometheus", Role.VIEWER, "token") if token == "right" else None


@pytest.mark.parametrize(
    ("whom", "address", "status"),
    [
        ("loopback", "127.0.0.1", 200),
        ("loopback", "::1", 200),
        ("loopback", "::ffff:127.0.0.1", 200),
        ("loopback", "10.1.2.3", 401),
        ("loopback", "testclient", 401),
        ("anyone", "10.1.2.3", 200),
        ("nobody", "127.0.0.1", 401),
    ],
)
async def test_the_setting_says_who_needs_the_token(whom: str, address: str, status: int) -> None:
    app = FastAPI()
    settings = ApiSettings.model_validate({"metrics": whom})
    metrics_router(lambda _accept: (b"up 1\n", "text/plain"), settings).install(app)
    install_people(app, OneToken())
    transport = httpx.ASGITransport(app, raise_app_exceptions=True, client=(address, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answer = await client.get("/metrics")
        assert answer.status_code == status
        assert ("up 1" in answer.text) == (status == 200)
        for token, expected in (("right", 200), ("wrong", status)):
            again = await client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
            assert again.status_code == expected
