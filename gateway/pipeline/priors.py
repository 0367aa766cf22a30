"""What devices of a model have in common, looked for once a day and put in force by a numbered transaction.

So the order is the same after a crash: whoever is born after that batch is given what it says, whenever that is judged.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.clock import to_datetime
from gateway.detect.cohort import Habits, Prior, decode, encode
from gateway.pipeline.judge import Engine
from gateway.pipeline.registrar import Registrar
from gateway.pipeline.transactions import Transactions
from gateway.store.queries import BatchRow

Connection = AsyncConnection[TupleRow]

EVERY_S: Final = 86_400.0  # the gateway's clock
AGAIN_S: Final = 3600.0  # while the fleet is too small or too young
KEPT_S: Final = 400 * 86_400.0


class Priors:
    """Asks the detectors once a day."""

    def __init__(self, engine: Engine, transactions: Transactions, registrar: Registrar) -> None:
        self._engine = engine
        self._transactions = transactions
        self._registrar = registrar
        self._next_s: float | None = None

    async def go_on(self, now_s: float, alive_s: float) -> int:
        """Do what is due; gives of how many watches something is known now, 0 where nothing was done."""
        if self._next_s is None:
            made_at = await self._transactions.until_done(newest_prior)
            self._next_s = now_s if made_at is None else made_at.timestamp() + EVERY_S
        if now_s < self._next_s:
            return 0
        habits: list[Habits] = []
        for some in self._engine.survey():
            habits += some
            await asyncio.sleep(0)  # doors and API have their turn in between
        self._next_s = now_s + (EVERY_S if habits else AGAIN_S)
        if habits:
            row = BatchRow(self._transactions.batch_seq + 1, "prior", alive_s, now_s)
            prior = Prior(row.batch_seq, habits)
            await self._transactions.until_committed(row.batch_seq, partial(self._write, row=row, prior=prior))
            self._engine.adopt(prior)
        return len(habits)

    async def _write(self, conn: Connection, row: BatchRow, prior: Prior) -> None:
        await put_prior(conn, self._registrar.sources.settings.tenant_id, prior, row.now_s)
        await self._registrar.number(conn, row)


NEWEST: LiteralString = "SELECT max(made_at) FROM cohort_prior"


async def newest_prior(conn: Connection) -> datetime | None:
    """When the devices were last asked."""
    row = await (await conn.execute(NEWEST)).fetchone()
    return None if row is None else row[0]


PUT_PRIOR: LiteralString = "INSERT INTO cohort_prior (tenant_id, batch_seq, made_at, body) VALUES (%s, %s, %s, %s)"
DROP_OLD: LiteralString = "DELETE FROM cohort_prior WHERE made_at < %s"


async def put_prior(conn: Connection, tenant_id: str, prior: Prior, now_s: float) -> None:
    """Write down what is in force from a batch on; what is more than a year old is of no use to anybody."""
    await conn.execute(PUT_PRIOR, (tenant_id, prior.number, to_datetime(now_s), encode(prior)))
    await conn.execute(DROP_OLD, (to_datetime(now_s - KEPT_S),))


READ_PRIOR: LiteralString = "SELECT body FROM cohort_prior WHERE batch_seq = %s"


async def read_prior(conn: Connection, number: int) -> Prior | None:
    """What was in force from a batch on; None where that is not kept, or nothing was."""
    row = await (await conn.execute(READ_PRIOR, (number,))).fetchone()
    return None if row is None else decode(row[0])


READ_PRIORS: LiteralString = """
SELECT body FROM cohort_prior
WHERE batch_seq > %(after)s OR batch_seq = (SELECT max(batch_seq) FROM cohort_prior WHERE batch_seq <= %(after)s)
ORDER BY batch_seq
"""


async def read_priors(conn: Connection, after: int) -> Sequence[Prior]:
    """What was in force at a batch and what came into force since, in order."""
    return [decode(row[0]) for row in await (await conn.execute(READ_PRIORS, {"after": after})).fetchall()]
