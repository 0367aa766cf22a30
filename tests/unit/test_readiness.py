"""What /readyz says, part by part; and what an error of the database is in words."""

from dataclasses import dataclass, field
from typing import Any, cast

import psycopg
import pytest
from psycopg import errors

from gateway.pipeline.troubles import words_of
from gateway.readiness import DATABASE_ANSWERS_S, QUEUE_FULL_S, Readiness, Watched


@dataclass
class Part:
    """A door, a queue and a part with troubles in one."""

    healthy: bool = True
    is_full: bool = False
    trouble: str | None = None


@dataclass
class NoPool:
    """A pool that has no connection to give."""

    error: Exception = field(default_factory=lambda: psycopg.OperationalError("no"))

    def connection(self) -> Any:
        """Raise."""
        raise self.error


@dataclass
class World:
    """Everything that is watched, and the time."""

    door: Part = field(default_factory=Part)
    queue: Part = field(default_factory=Part)
    pipeline: Part = field(default_factory=Part)
    crm: Part = field(default_factory=Part)
    pool: NoPool = field(default_factory=NoPool)
    now_s: float = 1000.0

    def readiness(self) -> Readiness:
        """What looks at all this."""
        watched = Watched({"listen": self.door}, self.queue, self.pipeline, self.crm, cast("Any", self.pool), "PG 18")
        return Readiness(watched, lambda: self.now_s)


def test_all_is_well() -> None:
    checks = World().readiness().checks()
    assert {name: check.ok for name, check in checks.items()} == dict.fromkeys(
        ("listen", "database", "pipeline", "queue", "crm"), True
    )
    assert checks["database"].says == "PG 18"


@pytest.mark.parametrize(
    ("part", "world", "says"),
    [
        ("listen", World(door=Part(healthy=False)), "not reachable for devices"),
        ("listen", World(door=Part(trouble="the same messages come again")), "the same messages come again"),
        ("pipeline", World(pipeline=Part(trouble="the disk is full")), "the disk is full"),
        ("crm", World(crm=Part(trouble="it hangs")), "it hangs"),
    ],
)
def test_each_part_says_what_keeps_it(part: str, world: World, says: str) -> None:
    readiness = world.readiness()
    check = readiness.checks()[part]
    assert not check.ok
    assert check.says == says
    assert [name for name, truth in readiness.truths().items() if not truth] == [part]


async def test_a_queue_is_trouble_when_it_has_been_full_for_long() -> None:
    world = World()
    readiness = world.readiness()
    readiness.look_at_queue()
    world.queue.is_full = True
    readiness.look_at_queue()
    world.now_s += QUEUE_FULL_S - 1
    readiness.look_at_queue()
    assert readiness.checks()["queue"].ok
    world.now_s += 2
    check = readiness.checks()["queue"]
    assert not check.ok
    assert "full for 16 s; the doors hold back" in check.says
    world.queue.is_full = False
    readiness.look_at_queue()
    assert readiness.checks()["queue"].ok


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (psycopg.OperationalError("connection refused"), "cannot be reached"),
        (errors.TooManyConnections("sorry"), "no connection left for us"),
        (psycopg.OperationalError("FATAL: sorry, too many clients already"), "no connection left for us"),
    ],
)
async def test_a_silent_database_is_told_with_its_reason(error: Exception, says: str) -> None:
    world = World(pool=NoPool(error))
    readiness = world.readiness()
    await readiness.ask_database()
    assert readiness.checks()["database"].ok  # it may only be restarting
    world.now_s += DATABASE_ANSWERS_S + 1
    check = readiness.checks()["database"]
    assert not check.ok
    assert check.says.startswith("has not answered for 5 s (")
    assert says in check.says


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (errors.DiskFull("could not extend file"), "disk is full"),
        (
            psycopg.OperationalError('PANIC: could not write to file "pg_wal/x": No space left on device'),
            "disk is full",
        ),
        (OSError(28, "No space left on device"), "disk is full"),
        # of a server that speaks German: its code tells
        (errors.DiskFull("konnte Datei nicht erweitern: Auf dem Gerät ist kein Speicherplatz mehr verfügbar"), "full"),
        (OSError(28, "Auf dem Gerät ist kein Speicherplatz mehr verfügbar"), "disk is full"),
        (errors.TooManyConnections("tut mir leid, schon zu viele Clients"), "raise max_connections"),
        (errors.ReadOnlySqlTransaction("x"), "read-only"),
        (errors.InsufficientPrivilege("x"), "may not write"),
        (errors.CannotConnectNow("x"), "starting up, shutting down or recovering"),
        (errors.AdminShutdown("x"), "being shut down"),
        (TimeoutError(), "does not answer"),
        (psycopg.OperationalError("x"), "cannot be reached"),
        (errors.DeadlockDetected("x"), "in each other's way"),
        (ValueError("secret"), "ValueError"),
    ],
)
def test_errors_have_words_and_none_of_their_own(error: Exception, says: str) -> None:
    assert says in words_of(error)
    assert "secret" not in words_of(error)
