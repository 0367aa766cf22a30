"""How the first admin is told of, while the database comes and goes."""

import asyncio

import pytest
import structlog
from psycopg import OperationalError

from gateway.people.welcome import welcome


class _People:
    """Who cannot be looked up so many times."""

    def __init__(self, away: int, stop: asyncio.Event | None = None) -> None:
        self.away = away
        self.stop = stop

    async def welcome(self) -> str | None:
        self.away -= 1
        if self.stop is not None:
            self.stop.set()
        if self.away >= 0:
            raise OperationalError
        return "once"


async def test_a_database_that_is_killed_at_a_first_start_ends_no_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended with a traceback; nobody learnt the password."""
    monkeypatch.setattr("gateway.database.awaited.RETRY_S", 0.001)
    told: list[str] = []
    await welcome(_People(3), "http://here", told.append, asyncio.Event(), structlog.get_logger())
    assert told == ["sign in   http://here as admin, within a week, with the one-time password once"]


async def test_who_waits_to_look_people_up_can_be_told_to_stop() -> None:
    told: list[str] = []
    stop = asyncio.Event()
    await welcome(_People(1_000_000, stop), "http://here", told.append, stop, structlog.get_logger())
    assert told == []
