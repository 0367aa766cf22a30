"""Whether the gateway can do its work, looked at all the time, so that whoever asks gets an answer at once."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from psycopg import AsyncConnection, Error
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from gateway.api.health import Check
from gateway.pipeline.troubles import words_of

DATABASE_ASKED_S: Final = 1.0
DATABASE_ANSWERS_S: Final = 4.0
QUEUE_LOOKED_AT_S: Final = 0.25
QUEUE_FULL_S: Final = 15.0


class Door(Protocol):
    """Where readings come in."""

    @property
    def healthy(self) -> bool:
        """Whether devices can reach us through it."""
        ...

    @property
    def trouble(self) -> str | None:
        """What is wrong although it is open, in words; None when nothing."""
        ...


class Queue(Protocol):
    """What waits for a batch."""

    @property
    def is_full(self) -> bool:
        """Whether the doors should stop reading."""
        ...


class Working(Protocol):
    """A part of the gateway that knows how it is."""

    @property
    def trouble(self) -> str | None:
        """What keeps it from its work, in words; None when nothing does."""
        ...


@dataclass(frozen=True, slots=True)
class Watched:
    """What readiness depends on."""

    doors: Mapping[str, Door]
    queue: Queue
    pipeline: Working
    crm: Working
    pool: AsyncConnectionPool[AsyncConnection[TupleRow]]
    edition: str  # in words


class Readiness:
    """Looks at the database and the queue again and again; asks the other parts when it is asked."""

    def __init__(self, watched: Watched, now_s: Callable[[], float] = time.monotonic) -> None:
        self._watched = watched
        self._now_s = now_s
        self._answered_s = now_s()
        self._failed: str | None = None
        self._full_since_s: float | None = None
        self.answer_s = 0.0  # how long the database took to answer when it last did

    async def watch(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_database(), name="readiness database")
            tasks.create_task(self._watch_queue(), name="readiness queue")

    async def _watch_database(self) -> None:
        while True:
            await self.ask_database()
            await asyncio.sleep(DATABASE_ASKED_S)

    async def _watch_queue(self) -> None:
        while True:
            self.look_at_queue()
            await asyncio.sleep(QUEUE_LOOKED_AT_S)

    async def ask_database(self) -> None:
        """See whether the database answers."""
        asked_s = self._now_s()
        try:
            async with asyncio.timeout(DATABASE_ANSWERS_S), self._watched.pool.connection() as conn:
                await conn.execute("SELECT 1")
        except (Error, PoolTimeout, OSError) as error:
            self._failed = "no connection is to be had" if isinstance(error, PoolTimeout) else words_of(error)
        else:
            self._answered_s, self._failed = self._now_s(), None
            self.answer_s = self._answered_s - asked_s

    def look_at_queue(self) -> None:
        """See since when there has been no room for more packets."""
        if not self._watched.queue.is_full:
            self._full_since_s = None
        elif self._full_since_s is None:
            self._full_since_s = self._now_s()

    async def probe(self) -> Mapping[str, Check]:
        """Each part, and how it is."""
        return self.checks()

    def truths(self) -> Mapping[str, bool]:
        """Each part, and whether it is well."""
        return {name: check.ok for name, check in self.checks().items()}

    def checks(self) -> Mapping[str, Check]:
        """Each part, and how it is in words."""
        checks = {name: _of_door(door) for name, door in self._watched.doors.items()}
        checks["database"] = self._of_database()
        checks["pipeline"] = _of_part(self._watched.pipeline, "stores and judges")
        checks["queue"] = self._of_queue()
        checks["crm"] = _of_part(self._watched.crm, "makes cases and delivers")
        return checks

    def _of_database(self) -> Check:
        silent_s = self._now_s() - self._answered_s
        if silent_s < DATABASE_ANSWERS_S:
            return Check(ok=True, says=self._watched.edition)
        why = f" ({self._failed})" if self._failed else ""
        return Check(ok=False, says=f"has not answered for {silent_s:.0f} s{why}")

    def _of_queue(self) -> Check:
        if self._full_since_s is None:
            return Check(ok=True, says="has room")
        full_s = self._now_s() - self._full_since_s
        says = f"full for {full_s:.0f} s; the doors hold back"
        return Check(ok=full_s < QUEUE_FULL_S, says=says)


def _of_door(door: Door) -> Check:
    if door.trouble is not None:
        return Check(ok=False, says=door.trouble)
    return Check(ok=door.healthy, says="open" if door.healthy else "not reachable for devices")


def _of_part(part: Working, well: str) -> Check:
    trouble = part.trouble
    return Check(ok=trouble is None, says=trouble or well)
