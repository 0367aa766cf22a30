"""Finds the readings that the database will never take, so that they cost nothing but themselves."""

from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from typing import Final

import psycopg
from psycopg.errors import CheckViolation, UniqueViolation

from gateway.pipeline.batch import Batch

_OF_THE_DATA: Final = frozenset({"22", "23", "54"})
"""SQLSTATE classes that speak of data: exceptions, integrity constraints, program limits."""


def is_about_data(error: BaseException) -> bool:
    """Whether a transaction failed for what it was to write, so that the same will fail again."""
    if isinstance(error, UniqueViolation | CheckViolation):
        return False  # another gateway has been faster; a partition has been dropped
    if isinstance(error, psycopg.DataError | UnicodeError):
        return True
    return isinstance(error, psycopg.Error) and (error.sqlstate or "")[:2] in _OF_THE_DATA


async def find_unstorable(batch: Batch, probe: Callable[[Batch], Awaitable[None]]) -> AbstractSet[int]:
    """The arrival positions that cannot be stored, by halving; `probe` writes, and undoes what it has written."""
    found: set[int] = set()
    waiting = [batch.rows()]
    while waiting:
        rows = waiting.pop()
        if not rows:
            continue
        try:
            await probe(batch.only(frozenset(rows)))
        except (psycopg.Error, UnicodeError) as error:
            if not is_about_data(error):
                raise
            if len(rows) == 1:
                found.update(rows)
            else:
                middle = len(rows) // 2
                waiting += [rows[:middle], rows[middle:]]
    return found
