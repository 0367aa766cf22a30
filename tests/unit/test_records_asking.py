"""Asking again: patient with a CRM that says when, and not stopped by one that breaks."""

import asyncio

import psycopg
import pytest
import structlog

from crm_sync.records.asking import LONGEST_WAIT_S, Troubles, keep_asking
from devices.errors import Retryable

TROUBLES = Troubles("x.not_asked", "x.database_unavailable", "x.failed")


async def test_no_trouble_ends_the_asking_and_each_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    comes = [
        Retryable("throttled", "later", retry_after_s=600.0),
        Retryable("throttled", "much later", retry_after_s=1e9),
        psycopg.OperationalError("gone"),
        ValueError("a CRM that nobody foresaw"),
        None,
    ]
    waits: list[float] = []

    async def ask() -> None:
        trouble = comes.pop(0)
        if trouble is not None:
            raise trouble

    async def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        if not comes:
            raise asyncio.CancelledError

    monkeypatch.setattr("crm_sync.records.asking.asyncio.sleep", sleep)
    with structlog.testing.capture_logs() as told, pytest.raises(asyncio.CancelledError):
        await keep_asking(ask, 60.0, TROUBLES, structlog.get_logger())
    assert waits == [600.0, LONGEST_WAIT_S, 60.0, 60.0, 60.0]
    assert [each["event"] for each in told] == [
        "x.not_asked",
        "x.not_asked",
        "x.database_unavailable",
        "x.failed",
    ]
