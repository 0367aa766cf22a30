"""While something is away the log tells so when it begins, now and then, and when it is back."""

import asyncio
from collections.abc import Mapping

import pytest

from gateway import registry_watch
from gateway.doors.authenticate import RegistryAuthenticator
from gateway.outage import Outage
from gateway.pipeline.directory import DeviceDirectory


class Remembered:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, Mapping[str, object]]] = []

    def info(self, event: str, **facts: object) -> object:
        """Keep it."""
        return self.lines.append(("info", event, facts))

    def warning(self, event: str, **facts: object) -> object:
        """Keep it."""
        return self.lines.append(("warning", event, facts))


def test_an_outage_is_told_when_it_begins_each_minute_and_when_it_is_over() -> None:
    log, now_s = Remembered(), [1000.0]
    outage = Outage(log, "sea.away", "sea.back", monotonic=lambda: now_s[0])
    outage.ends()
    for _ in range(150):
        outage.goes_on(detail="ebb")
        now_s[0] += 1.0
    outage.ends()
    outage.ends()
    outage.goes_on(detail="again")
    assert log.lines == [
        ("warning", "sea.away", {"detail": "ebb"}),
        ("warning", "sea.away", {"detail": "ebb", "for_s": 60}),
        ("warning", "sea.away", {"detail": "ebb", "for_s": 120}),
        ("info", "sea.back", {"after_s": 150.0}),
        ("warning", "sea.away", {"detail": "again"}),
    ]


async def test_a_database_that_is_away_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """There was a line for each attempt, and others beside it."""
    monkeypatch.setattr(registry_watch, "_RECONNECT_S", 0.0)
    log, tried, enough = Remembered(), list[int](), asyncio.Event()

    async def connect() -> registry_watch.Connection:
        await asyncio.sleep(0)
        tried.append(1)
        if len(tried) >= 20:
            enough.set()
        raise ConnectionRefusedError

    watching = asyncio.create_task(
        registry_watch.watch_registry(
            DeviceDirectory([]), RegistryAuthenticator(), connect, lambda _: None, asyncio.Event(), log
        )
    )
    await enough.wait()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert log.lines == [("warning", "registry.not_followed", {"detail": "ConnectionRefusedError"})]
