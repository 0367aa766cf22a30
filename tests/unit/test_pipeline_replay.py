"""Replays whose verdict comes while the one before is being written down."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from gateway.intake import Verdict
from gateway.pipeline import replay
from gateway.pipeline.queue import PacketQueue
from gateway.pipeline.settings import BatchSettings
from gateway.store.quarantine import Entry

CONN = cast("Any", None)


async def test_a_verdict_that_comes_while_others_are_written_down_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[int, str]] = []

    async def finish(conn: object, outcomes: Sequence[tuple[int, str]]) -> None:
        assert conn is CONN
        written.extend(outcomes)
        if len(written) == 1:
            replays.settle([2], [Verdict(stored=1)])

    async def nothing_more(conn: object, but: Sequence[int], limit: int) -> list[Entry]:
        return []

    monkeypatch.setattr(replay, "finish_replays", finish)
    monkeypatch.setattr(replay, "list_requested", nothing_more)
    replays = replay.Replays(PacketQueue(BatchSettings()))
    replays.settle([1], [Verdict(duplicates=1)])
    await replays.go_on(CONN)
    assert replays.is_under_way
    await replays.go_on(CONN)
    assert not replays.is_under_way
    assert written == [(1, "duplicate"), (2, "stored")]
