"""Which gateway may write: one at a time, by an advisory lock, and by a fence that a late writer cannot pass."""

from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.errors import Retryable

Connection = AsyncConnection[TupleRow]

STANDBY_POLL_S: Final = 0.5


class OwnershipLostError(Retryable):
    """Another gateway has taken over: what this one knows is out of date, and it must start anew."""

    def __init__(self) -> None:
        super().__init__("ownership_lost", "another gateway has taken over this database")


TRY_LOCK: LiteralString = "SELECT pg_try_advisory_lock(hashtextextended('careloop ingest ' || current_schema(), 0))"


async def try_lock(conn: Connection) -> bool:
    """Take the lock for as long as this session lives, unless another gateway has it."""
    return await (await conn.execute(TRY_LOCK)).fetchone() == (True,)


UNLOCK: LiteralString = "SELECT pg_advisory_unlock(hashtextextended('careloop ingest ' || current_schema(), 0))"


async def is_owned(conn: Connection) -> bool:
    """Whether some gateway runs on this database now."""
    if not await try_lock(conn):
        return True
    await conn.execute(UNLOCK)
    return False


RAISE_FENCE: LiteralString = """
UPDATE ingest_fence SET fence = fence + 1, owner = %s, acquired_at = clock_timestamp()
WHERE name = 'ingest' RETURNING fence
"""


async def raise_fence(conn: Connection, owner: str) -> int:
    """Shut out every earlier owner, and return the new fence."""
    row = await (await conn.execute(RAISE_FENCE, (owner,))).fetchone()
    if row is None:
        raise OwnershipLostError
    return int(row[0])


READ_FENCE: LiteralString = "SELECT fence FROM ingest_fence WHERE name = 'ingest'"


async def read_fence(conn: Connection) -> int:
    """The fence of the present owner."""
    row = await (await conn.execute(READ_FENCE)).fetchone()
    return int(row[0]) if row else 0


HOLD_FENCE: LiteralString = "SELECT FROM ingest_fence WHERE name = 'ingest' AND fence = %s FOR UPDATE"


async def hold_fence(conn: Connection, fence: int) -> bool:
    """Keep everybody else from taking over until this transaction ends; False where somebody has."""
    return await (await conn.execute(HOLD_FENCE, (fence,))).fetchone() is not None


END_OWN_SESSIONS: LiteralString = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()
"""


async def end_own_sessions(conn: Connection, application_name: str) -> None:
    """End what is left of this gateway's own broken sessions, which may still hold the lock."""
    await conn.execute(END_OWN_SESSIONS, (application_name,))
