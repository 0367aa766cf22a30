"""One budget of an account for all processes that use it: each counts in the database what it spends.

A process that cannot reach the database counts for itself until it can.
"""

from collections.abc import Callable
from typing import Any, Final, LiteralString

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from crm_sync.adapters.rest.limits import Budget

Connection = AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]

_AWAY: Final = (psycopg.Error, PoolTimeout, OSError)


_LEFT: Final[LiteralString] = """
SELECT least(%(size)s, tokens + %(per_second)s
             * greatest(extract(epoch FROM to_timestamp(%(now_s)s) - counted_at), 0))::float8,
       extract(epoch FROM rests_until)::float8
  FROM account_budget WHERE (tenant_id, account) = (%(tenant_id)s, %(account)s)
"""


async def read_left(conn: Connection, values: dict[str, object]) -> tuple[float, float | None] | None:
    """The tokens left and until when the account rests; None where nobody has used it yet."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        row = await (await cursor.execute(_LEFT, values)).fetchone()
    return None if row is None else (float(row[0]), row[1])


_SPEND: Final[LiteralString] = """
INSERT INTO account_budget AS b (tenant_id, account, tokens, counted_at)
VALUES (%(tenant_id)s, %(account)s, %(size)s - 1, to_timestamp(%(now_s)s))
ON CONFLICT (tenant_id, account) DO UPDATE
   SET tokens = least(%(size)s, b.tokens + %(per_second)s
                      * greatest(extract(epoch FROM excluded.counted_at - b.counted_at), 0)) - 1,
       counted_at = greatest(b.counted_at, excluded.counted_at)
"""


async def spend_one(conn: Connection, values: dict[str, object]) -> None:
    """A request goes."""
    await conn.execute(_SPEND, values)


_REST: Final[LiteralString] = """
INSERT INTO account_budget AS b (tenant_id, account, tokens, counted_at, rests_until)
VALUES (%(tenant_id)s, %(account)s, %(size)s, to_timestamp(%(now_s)s), to_timestamp(%(until_s)s))
ON CONFLICT (tenant_id, account) DO UPDATE SET rests_until = greatest(b.rests_until, excluded.rests_until)
"""


async def note_rest(conn: Connection, values: dict[str, object]) -> None:
    """The account wants to be left alone."""
    await conn.execute(_REST, values)


class SharedBudget(Budget):
    """An account's budget, as all processes together use it up."""

    def __init__(self, own: Budget, pool: Pool, tenant_id: str, account: str) -> None:
        super().__init__(own.bucket)
        self._pool = pool
        self._tenant_id = tenant_id
        self._account = account

    async def wait_s(self, now_s: float, *, can_wait: bool = False) -> float:
        """How long something must wait for its first request, whoever spent what it lacks."""
        alone_s = await super().wait_s(now_s, can_wait=can_wait)
        try:
            async with self._pool.connection() as conn:
                left = await read_left(conn, self._values(now_s))
        except _AWAY:
            return alone_s
        if left is None:
            return alone_s
        tokens, rests_until_s = left  # of what went while the database was away, only this process knows
        return max(self.bucket.short_s(tokens, can_wait=can_wait), (rests_until_s or 0.0) - now_s, alone_s)

    async def spend(self, now_s: float) -> None:
        """A request goes."""
        await super().spend(now_s)
        await self._tell(spend_one, self._values(now_s))

    async def rest(self, now_s: float, until_s: float) -> None:
        """The other side wants no more of this account before then."""
        await super().rest(now_s, until_s)
        await self._tell(note_rest, self._values(now_s) | {"until_s": until_s})

    async def _tell(self, work: Callable[[Connection, dict[str, object]], Any], values: dict[str, object]) -> None:
        try:
            async with self._pool.connection() as conn:
                await work(conn, values)
        except _AWAY:
            return  # it is counted here

    def _values(self, now_s: float) -> dict[str, object]:
        size, per_second = self.bucket.size, self.bucket.per_second
        named = {"tenant_id": self._tenant_id, "account": self._account}
        return {**named, "size": size, "per_second": per_second, "now_s": now_s}


def share(pool: Pool, tenant_id: str, account: str, budget: Any) -> Any:
    """The budget as all processes share it; another's, which no database keeps, as it is."""
    return SharedBudget(budget, pool, tenant_id, account) if isinstance(budget, Budget) else budget
