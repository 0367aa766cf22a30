"""Work done behind a savepoint, so that what fails by itself holds up nothing else."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg import AsyncConnection

Connection = AsyncConnection[Any]
Log = structlog.typing.FilteringBoundLogger
T = TypeVar("T")


async def attempt(
    conn: Connection, log: Log, event: str, work: Callable[[], Awaitable[T]], **about: object
) -> T | None:
    """What a piece of work gives; None if it failed, which is logged as `event`, and all that it wrote is taken back.

    Raises what concerns the whole transaction, which is to be tried again.
    """
    try:
        async with conn.transaction():
            return await work()
    except Exception as error:
        if concerns_all(error):
            raise
        log.exception(event, **about)
        return None


def concerns_all(error: Exception) -> bool:
    """Whether the database or the moment is to blame rather than a row; what exceeds a limit is the row's."""
    if isinstance(error, psycopg.errors.ProgramLimitExceeded):
        return False
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
