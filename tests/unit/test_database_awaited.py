"""A database that does not answer yet is asked again until it does, or until nobody wants to know."""

import asyncio

import pytest
import structlog
from psycopg import OperationalError
from structlog.testing import capture_logs

from devices.errors import Retryable
from gateway.database.awaited import until_it_answers
from gateway.outage import Outage


async def test_why_the_database_does_not_answer_is_said_each_time_and_logged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.database.awaited.RETRY_S", 0.001)
    answers: list[Exception | int] = [OperationalError("it is\n  full"), Retryable("standby", "it is read-only"), 7]
    said: list[str] = []

    async def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with capture_logs() as lines:
        outage = Outage(structlog.get_logger(), "sea.awaited", "sea.answers")
        assert await until_it_answers(ask, asyncio.Event(), outage, said.append) == 7
    assert said[0] == "it is full"
    assert "it is read-only" in said[1]
    assert [(line["event"], line.get("detail")) for line in lines] == [
        ("sea.awaited", "it is full"),
        ("sea.answers", None),
    ]


async def test_what_is_wrong_otherwise_is_not_waited_for() -> None:
    async def ask() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await until_it_answers(ask, asyncio.Event(), Outage(structlog.get_logger(), "sea.awaited", "sea.answers"))
