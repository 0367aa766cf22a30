"""How many alarms, cases, messages and quarantined payloads there are, read without counting them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, LiteralString, get_args

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, tuple_row

from crm_sync.delivery.records import MessageState

Connection = AsyncConnection[TupleRow]

_MESSAGE_STATES: Final[tuple[str, ...]] = get_args(MessageState)


@dataclass(frozen=True, slots=True)
class Tallies:
    """Rows by what distinguishes them; states of messages are all named, the others where there are any."""

    alarms_by_kind: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])  # kind, state
    cases: Mapping[str, int] = field(default_factory=dict[str, int])  # by state
    inbox: Mapping[str, int] = field(default_factory=dict[str, int])  # by state
    outbox: dict[str, int] = field(default_factory=dict[str, int])  # by state
    quarantined: dict[str, int] = field(default_factory=dict[str, int])  # by reason

    @property
    def alarms(self) -> dict[str, int]:
        """Alarms by state."""
        by_state: dict[str, int] = {}
        for (_, state), count in self.alarms_by_kind.items():
            by_state[state] = by_state.get(state, 0) + count
        return by_state


READ_TALLIES: LiteralString = """
SELECT what, key, sum(n)::bigint
  FROM (SELECT what, key, n FROM tally WHERE tenant_id = %(tenant_id)s
        UNION ALL
        SELECT what, key, n FROM tally_change WHERE tenant_id = %(tenant_id)s) AS known
 GROUP BY what, key
HAVING sum(n) <> 0
"""


async def read_tallies(conn: Connection, tenant_id: str) -> Tallies:
    """A tenant's tallies, exact as of now."""
    found: dict[str, dict[str, int]] = {}
    async with conn.cursor(row_factory=tuple_row) as cursor:
        async for what, key, count in await cursor.execute(READ_TALLIES, {"tenant_id": tenant_id}):
            found.setdefault(what, {})[key] = count
    alarms: dict[tuple[str, str], int] = {}
    for key, count in found.get("alarms", {}).items():
        kind, _, state = key.rpartition(" ")
        alarms[kind, state] = count
    return Tallies(
        alarms_by_kind=alarms,
        cases=found.get("cases", {}),
        inbox=found.get("inbox", {}),
        outbox=dict.fromkeys(_MESSAGE_STATES, 0) | found.get("outbox", {}),
        quarantined=found.get("quarantined", {}),
    )


FOLD: LiteralString = """
WITH gone AS (DELETE FROM tally_change RETURNING what, tenant_id, key, n)
INSERT INTO tally AS t (what, tenant_id, key, n)
SELECT what, tenant_id, key, sum(n) FROM gone GROUP BY what, tenant_id, key ORDER BY what, tenant_id, key
ON CONFLICT (what, tenant_id, key) DO UPDATE SET n = t.n + excluded.n
"""


async def fold_changes(conn: Connection) -> None:
    """Add what has changed since the last time to the tallies, so that there stays little to add up."""
    await conn.execute(FOLD)


@dataclass(frozen=True, slots=True)
class Backlog:
    """How long messages to CRMs, and alarm notices, have been waiting; real seconds and the gateway's."""

    oldest_message_s: float
    oldest_notice_at_s: float | None  # when it was recorded, on the gateway's clock
    parked_streams: int
    disabled_endpoints: int


READ_BACKLOG: LiteralString = """
SELECT (SELECT coalesce(extract(epoch FROM clock_timestamp() - created_at), 0)::float8
          FROM outbox_message WHERE tenant_id = %(tenant_id)s AND state = 'pending' ORDER BY number LIMIT 1),
       (SELECT extract(epoch FROM recorded_at)::float8
          FROM inbox WHERE tenant_id = %(tenant_id)s AND state = 'pending' ORDER BY inbox_id LIMIT 1),
       (SELECT count(*) FROM outbox_stream WHERE tenant_id = %(tenant_id)s AND state = 'parked'),
       (SELECT count(*) FROM endpoint_state WHERE tenant_id = %(tenant_id)s AND disabled_at IS NOT NULL)
"""


async def read_backlog(conn: Connection, tenant_id: str) -> Backlog:
    """What waits for the CRM side and for CRMs."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        row = await (await cursor.execute(READ_BACKLOG, {"tenant_id": tenant_id})).fetchone()
    assert row is not None  # one row of sub-selects
    return Backlog(float(row[0] or 0.0), None if row[1] is None else float(row[1]), int(row[2]), int(row[3]))
