"""People and tokens for tests of what they may do, on a database of the test's own."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import httpx
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from crm_sync.settings import CrmSettings
from crm_sync.wording.catalogue import load_wordings
from crm_sync.wording.wording import Wording
from gateway.api.problems import install_problems
from gateway.api.router import Router
from gateway.api.session import session_router
from gateway.people import passwords
from gateway.people.administer import Office
from gateway.people.audit import record_command
from gateway.people.door import install_people
from gateway.people.headers import SecurityHeaders
from gateway.people.model import Role
from gateway.people.people import People, Pool
from gateway.people.settings import PeopleSettings

ROOT = "the-settings-own-token"
GOOD = "a quiet washing machine"
CHEAP_N = 2**10


@dataclass
class Hands:
    """Clocks that are moved by hand."""

    now: datetime = datetime(2026, 3, 3, 11, 0, tzinfo=UTC)
    monotonic_s: float = 0.0

    def pass_(self, **span: float) -> None:
        """Let time pass."""
        self.now += timedelta(**span)
        self.monotonic_s += timedelta(**span).total_seconds()


@dataclass
class House:
    """An application with people in it."""

    app: FastAPI
    people: People
    pool: Pool
    hands: Hands = field(default_factory=Hands)

    def client(self, token: str | None = ROOT, *, base_url: str = "http://careloop") -> httpx.AsyncClient:
        """A caller, with a bearer token or without."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=base_url, headers=headers)

    @asynccontextmanager
    async def office(self, tenant_id: str = "default") -> AsyncGenerator[Office]:
        """Where people are administered."""
        async with self.pool.connection() as conn, conn.transaction():

            async def keep(what: str, subject: str, inputs: dict[str, object]) -> None:
                await record_command(conn, tenant_id, what, subject, **inputs)

            yield Office(conn, tenant_id, self.hands.now, keep)

    async def token(self, role: Role, tenant_id: str = "default") -> str:
        """A new token."""
        async with self.office(tenant_id) as office:
            return await office.create_token(f"{tenant_id}-{role}", role, None)

    async def rows(self, query: Any, *values: object) -> list[Any]:
        """What the database holds."""
        async with self.pool.connection() as conn:
            return await (await conn.execute(query, values)).fetchall()


@asynccontextmanager
async def open_house(
    url: str,
    build: Callable[[Pool], list[Router]] = lambda _: [],
    *,
    public_url: str = "",
    pool: Pool | None = None,
    **settings: Any,
) -> AsyncGenerator[House]:
    """An application of these routers, below /v1, behind the door."""
    own: Pool = AsyncConnectionPool(url, min_size=1, max_size=4, open=False, kwargs={"options": "-c timezone=UTC"})
    with patch.object(passwords, "_N", CHEAP_N):  # else a test of people would be a test of scrypt for most of its time
        async with own:
            used = pool or own
            hands = Hands()
            people = People(
                used,
                "default",
                PeopleSettings.model_validate(settings),
                ROOT,
                now=lambda: hands.now,
                monotonic=lambda: hands.monotonic_s,
            )
            app = FastAPI()
            install_problems(app)
            install_people(app, people, public_url)
            app.add_middleware(SecurityHeaders, is_https=public_url.startswith("https://"))
            session_router().install(app, "/v1")
            for router in build(used):
                router.install(app, "/v1")
            yield House(app, people, used, hands)


def wording() -> Wording:
    """The words that agents are told in, by default."""
    settings = CrmSettings()
    return load_wordings(settings.language, settings.wording_folder).of()
