"""Connections to the database that are given up when it does not answer, rather than waited on for ever.

A connection can go dead without either side being told: a firewall has forgotten it, or the machine at the other end
has vanished. The kernel finds out where it can (`KEEPALIVE`); a proxy in between may answer in the dead server's place,
so that only the missing answer tells.
"""

import select
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from psycopg import AsyncConnection, OperationalError
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

_Value = TypeVar("_Value")

STATEMENT_S: Final = 30.0  # after which the server itself ends a statement of the pool's
ANSWER_S: Final = 35.0  # after which nobody is there to answer
CHECK_S: Final = 3.0
FRESH_S: Final = 1.0
"""For so long after an answer a connection is taken to be alive, as long as the server has not hung up."""

KEEPALIVE: Final[Mapping[str, int]] = MappingProxyType(
    {
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,  # ms; keepalives are not sent while something is on its way
    }
)
"""libpq's words for: half a minute without a sign of life from the other machine ends the connection."""


def with_keepalive(conninfo: str) -> str:
    """A connection string that asks for it."""
    return make_conninfo(conninfo, **KEEPALIVE)


class PatientConnection(AsyncConnection[TupleRow]):
    """Closes itself, and raises OperationalError, when a statement is not answered within `patience_s`."""

    patience_s = ANSWER_S
    has_given_up = False
    answered_s = float("-inf")  # when it answered last, monotonic

    async def wait(
        self,
        gen: PQGen[_Value],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own signature
    ) -> _Value:
        """What psycopg waits with; it gives `timeout` where nothing may come, as with notifications."""
        if timeout is not None:
            return await super().wait(gen, interval, timeout=timeout)
        try:
            answer = await super().wait(gen, interval, timeout=self.patience_s)
        except OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.has_given_up = True
                self.pgconn.finish()  # an answer that still came would be taken for that to another statement
            raise
        self.answered_s = time.monotonic()
        return answer


async def check_answers(conn: PatientConnection) -> None:
    """A pool's check of a connection that nobody uses: it answers at once, or is of no use.

    One that has just answered is not asked: that would be one more round trip for each request.
    """
    if time.monotonic() - conn.answered_s < FRESH_S and not _has_news(conn):
        return
    conn.patience_s = CHECK_S
    try:
        await AsyncConnectionPool.check_connection(conn)
    finally:
        conn.patience_s = ANSWER_S


def _has_news(conn: PatientConnection) -> bool:
    """Whether the server has said something that nobody asked for, such as goodbye."""
    poll = select.poll()
    poll.register(conn.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))
