"""How far CRMs have been asked, kept in the database: after a restart asking goes on from there."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from crm_sync.adapters.contract import Answered, News
from crm_sync.records import queries
from crm_sync.records.walking import Walk, Walks

Pool = AsyncConnectionPool[AsyncConnection[Any]]


class Progress:
    """The ways through what changed, by the names under which it is remembered how far they have come."""

    def __init__(self, pool: Pool, tenant_id: str, first_look_back_s: float, real_now_s: Callable[[], float]) -> None:
        """`first_look_back_s` is how much of the past is asked for where nothing is remembered."""
        self._pool = pool
        self._tenant_id = tenant_id
        self._first_look_back_s = first_look_back_s
        self._real_now_s = real_now_s
        self._walks = Walks()

    async def go(
        self,
        name: str,
        ask: Callable[[float, object | None], Awaitable[Answered[News]]],
        take: Callable[[Sequence[News]], Awaitable[bool]],
    ) -> bool:
        """Take a bounded number of pieces, from where this was left; whether that was all. See Walks.go."""
        walk = self._walks.resume(name) or await self._begin(name)
        return await self._walks.go(name, walk, ask, take, partial(self._reached, name))

    async def _begin(self, name: str) -> Walk:
        began_s = self._real_now_s()
        async with self._pool.connection() as conn:
            until_s = await queries.asked_until_s(conn, self._tenant_id, name)
        return Walk(began_s, began_s - self._first_look_back_s if until_s is None else until_s)

    async def _reached(self, name: str, until_s: float) -> None:
        async with self._pool.connection() as conn, conn.transaction():
            await queries.note_asked(conn, self._tenant_id, name, until_s)
