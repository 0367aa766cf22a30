"""Statements that share a round trip to the database: it is mostly the way there and back that a case waits for.

Where a connection is in pipeline mode, what only writes is answered with the next read. Reads that do not depend on
each other can share their answer, too: each is sent before the first of them is waited for.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, overload

import psycopg
from psycopg import AsyncConnection

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


@asynccontextmanager
async def without_waiting(conn: AsyncConnection[Any]) -> AsyncGenerator[None]:
    """What only writes is not waited for in here; all of it has been answered at the end.

    Raises the error that the database reported. At its end psycopg may tell of the statements behind that one instead,
    which were not worked, and calls that an operational error: it would be taken for trouble of the database's.
    """
    try:
        async with conn.pipeline():
            yield
    except psycopg.errors.PipelineAborted as error:
        reported = error.__context__
        if isinstance(reported, psycopg.Error):
            raise reported from None
        raise


@overload
async def together(a: Awaitable[A], b: Awaitable[B], /) -> tuple[A, B]: ...
@overload
async def together(a: Awaitable[A], b: Awaitable[B], c: Awaitable[C], /) -> tuple[A, B, C]: ...
@overload
async def together(a: Awaitable[A], b: Awaitable[B], c: Awaitable[C], d: Awaitable[D], /) -> tuple[A, B, C, D]: ...
async def together(*reads: Awaitable[object]) -> tuple[object, ...]:
    """What reads give that use one connection, which is sent their statements in the order given.

    All of them have ended when this returns or raises. Raises the error that the database reported, if it did: what
    the others then complain of is that they were not answered.
    """
    found = await asyncio.gather(*reads, return_exceptions=True)
    errors = [each for each in found if isinstance(each, BaseException)]
    if errors:
        raise min(errors, key=_is_consequence)
    return tuple(found)


def _is_consequence(error: BaseException) -> bool:
    return not isinstance(error, psycopg.Error) or error.sqlstate is None
