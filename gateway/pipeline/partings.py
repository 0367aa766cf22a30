"""Devices that were removed, or have another owner: forgotten in a numbered transaction of their own, between batches.

So the order is the same after a crash, and each is told of once. Whoever changes the registry asks for it in the same
transaction; what was removed in another way, by a restored backup for instance, is found at the start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.clock import to_datetime
from devices.registry.partings import Why, end_partings, list_partings
from gateway.detect.model import AlarmChange
from gateway.pipeline.departed import list_left, list_strangers, put_forgotten, take_back
from gateway.pipeline.judge import Engine, Judge
from gateway.pipeline.registrar import Registrar
from gateway.pipeline.transactions import Transactions
from gateway.store.queries import BatchRow

Connection = AsyncConnection[TupleRow]

AT_ONCE: Final = 500
ASKED_AT_ONCE: Final = 20_000  # of the devices that detectors know, whether they are registered


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What one transaction has come to."""

    device_ids: Sequence[str]
    changes: Sequence[AlarmChange]


NOTHING: Final = Forgotten((), ())


class Partings:
    """Forgets devices, some at a time."""

    def __init__(self, engine: Engine, judge: Judge, transactions: Transactions, registrar: Registrar) -> None:
        self._engine = engine
        self._judge = judge
        self._transactions = transactions
        self._registrar = registrar
        self._left: list[str] | None = None  # removed without a word; None: not looked for yet

    async def go_on(self, now_s: float, alive_s: float) -> Forgotten:
        """Forget what was asked for; at the start also what is not registered any more."""
        if self._left is None:
            self._left = await self._find_left()
        asked = await self._transactions.until_done(partial(list_partings, limit=1))
        left = self._left[:AT_ONCE]
        if not asked and not left:
            return NOTHING
        row = BatchRow(self._transactions.batch_seq + 1, "forget", alive_s, now_s)
        done = await self._transactions.until_committed(row.batch_seq, partial(self._write, row=row, left=left))
        del self._left[: len(left)]
        return done

    async def _find_left(self) -> list[str]:
        known = self._engine.device_ids()
        left = set(await self._transactions.until_done(list_left))
        for start in range(0, len(known), ASKED_AT_ONCE):
            some = known[start : start + ASKED_AT_ONCE]
            left.update(await self._transactions.until_done(partial(list_strangers, device_ids=some)))
        return sorted(left)

    async def _write(self, conn: Connection, row: BatchRow, left: Sequence[str]) -> Forgotten:
        partings = await list_partings(conn, AT_ONCE)
        # One who was removed after a change of owners is removed: the later word counts.
        whys: dict[str, Why] = dict.fromkeys(left, Why.REMOVED) | {each.device_id: Why(each.why) for each in partings}
        changes, tenants = await take_back(conn, whys)
        owners: Mapping[str, str] = {name: self._registrar.tenant_of(name) for name in whys} | {
            each.device_id: each.tenant_id for each in partings
        }
        self._judge.forget(whys)
        await put_forgotten(conn, row.batch_seq, whys, {**owners, **tenants}, to_datetime(row.now_s))
        await self._registrar.take_back(conn, changes, tenants, whys, row)
        await end_partings(conn, partings)
        await self._registrar.number(conn, row)
        return Forgotten(sorted(whys), changes)
