"""What changed, told to pages that are open: one look a second for all of them together, none while nobody looks."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final, LiteralString

from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from gateway.store.tallies import Tallies, read_tallies

Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]

LOOK_S: Final = 1.0
TICK_S: Final = 30.0
"""How often pages are refreshed though nothing has changed, for what they say of how long ago something was."""

# Each is the end of an index: no row is counted.
_NEWEST: Final[LiteralString] = """
SELECT (SELECT max(transition_id) FROM case_transition), (SELECT max(decision_id) FROM decision),
       (SELECT max(attempt_id) FROM delivery_attempt), (SELECT max(audit_id) FROM watch_audit),
       (SELECT max(number) FROM incident WHERE tenant_id = %(tenant_id)s),
       (SELECT sum(value) FROM pipeline_counter WHERE tenant_id = %(tenant_id)s)::bigint
"""


async def _look(conn: Connection, tenant_id: str) -> dict[str, object]:
    """What there is of each topic, as something that differs when it has changed."""
    tallies: Tallies = await read_tallies(conn, tenant_id)
    row = await (await conn.execute(_NEWEST, {"tenant_id": tenant_id})).fetchone()
    assert row is not None  # one row of sub-selects
    moves, decisions, attempts, modes, incidents, counters = row
    return {
        "cases": (tallies.cases, moves, decisions, tallies.outbox, attempts),
        "deliveries": (tallies.outbox, attempts),
        "alarms": tallies.alarms_by_kind,
        "quarantine": tallies.quarantined,
        "watches": modes,
        "fleet": (incidents, tallies.alarms_by_kind),
        "readings": counters,
    }


class Pulse:
    """Tells everybody who listens which of their tenant's topics have changed."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._listeners: dict[str, set[asyncio.Queue[frozenset[str]]]] = {}  # by tenant
        self._looking: dict[str, asyncio.Task[None]] = {}

    async def listen(self, tenant_id: str) -> AsyncGenerator[frozenset[str]]:
        """The topics that changed, whenever some did; an empty set as a sign of life."""
        told: asyncio.Queue[frozenset[str]] = asyncio.Queue(100)
        listeners = self._listeners.setdefault(tenant_id, set())
        listeners.add(told)
        if tenant_id not in self._looking:
            self._looking[tenant_id] = asyncio.create_task(self._watch(tenant_id), name="console-pulse")
        try:
            while True:
                try:
                    yield await asyncio.wait_for(told.get(), TICK_S)
                except TimeoutError:
                    yield frozenset()
        finally:
            listeners.discard(told)
            if not listeners and tenant_id in self._looking:
                self._looking.pop(tenant_id).cancel()

    async def _watch(self, tenant_id: str) -> None:
        before: dict[str, object] | None = None
        while True:
            with suppress(OperationalError, PoolTimeout):  # it is told elsewhere; pages go on when it is back
                async with self._pool.connection() as conn:
                    now = await _look(conn, tenant_id)
                if before is not None and now != before:
                    changed = frozenset(topic for topic, value in now.items() if value != before[topic])
                    for told in self._listeners[tenant_id]:
                        if not told.full():
                            told.put_nowait(changed)
                before = now
            await asyncio.sleep(LOOK_S)
