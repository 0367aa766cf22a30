"""What the diagnosis asks the database; each function takes a connection and changes nothing."""

from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class ServerState:
    """The server's settings that decide what a commit is worth, and how much room it has left."""

    fsync: str
    full_page_writes: str
    synchronous_commit: str
    autovacuum: str
    is_replica: bool
    may_create: bool  # tables, in the schema that is ours
    connections: int
    max_connections: int  # without those kept for superusers
    oldest_transaction: int  # transactions since the database was last frozen
    freeze_limit: int
    now_s: float


SERVER_STATE: Final[LiteralString] = """
SELECT current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('autovacuum') AS autovacuum,
       pg_is_in_recovery() AS is_replica,
       has_schema_privilege(current_schema(), 'CREATE') AS may_create,
       (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           AS max_connections,
       (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()) AS oldest_transaction,
       current_setting('autovacuum_freeze_max_age')::int AS freeze_limit,
       extract(epoch FROM clock_timestamp())::float8 AS now_s
"""


async def server_state(conn: Connection) -> ServerState:
    """How the server is set up, and how full it is."""
    async with conn.cursor(row_factory=class_row(ServerState)) as cursor:
        found = await (await cursor.execute(SERVER_STATE)).fetchone()
    assert found is not None  # one row of expressions
    return found


DATA_DIRECTORY: Final[LiteralString] = """
SELECT setting FROM pg_settings WHERE name = 'data_directory' AND inet_server_addr() = inet_client_addr()
"""


async def data_directory(conn: Connection) -> str | None:
    """Where a server on this machine keeps its files; None where we may not know, or it is another machine's."""
    row = await (await conn.execute(DATA_DIRECTORY)).fetchone()
    return None if row is None else str(row[0])


NEGLECTED: Final[LiteralString] = """
SELECT relname::text, n_dead_tup
  FROM pg_stat_user_tables
 WHERE schemaname = current_schema() AND n_dead_tup > %(least)s AND n_dead_tup > n_live_tup
   AND coalesce(last_autovacuum, last_vacuum, 'epoch') < now() - interval '1 day'
 ORDER BY n_dead_tup DESC
 LIMIT 3
"""


async def neglected_tables(conn: Connection, least: int) -> list[tuple[str, int]]:
    """Tables with more dead rows than living ones that nobody has cleaned for a day."""
    return [(name, dead) for name, dead in await (await conn.execute(NEGLECTED, {"least": least})).fetchall()]


@dataclass(frozen=True, slots=True)
class Quarantine:
    """What lies in quarantine, and what came in of late."""

    rows: int
    of_late: int  # within the last day
    most: str | None  # the most frequent reason of these
    packets: int  # all that ever came


QUARANTINE: Final[LiteralString] = """
WITH late AS MATERIALIZED (
    SELECT reason FROM quarantine WHERE tenant_id = %(tenant_id)s AND last_received_at > %(since)s LIMIT 100000
)
SELECT (SELECT coalesce(sum(n), 0)::bigint
          FROM (SELECT n FROM tally WHERE what = 'quarantined' AND tenant_id = %(tenant_id)s
                UNION ALL
                SELECT n FROM tally_change WHERE what = 'quarantined' AND tenant_id = %(tenant_id)s) AS known) AS rows,
       (SELECT count(*) FROM late) AS of_late,
       (SELECT reason FROM late GROUP BY reason ORDER BY count(*) DESC, reason LIMIT 1) AS most,
       (SELECT coalesce(sum(value), 0)::bigint FROM pipeline_counter
         WHERE tenant_id = %(tenant_id)s AND name = 'packets') AS packets
"""


async def quarantine_state(conn: Connection, tenant_id: str, since: object) -> Quarantine:
    """How much lies in quarantine, and how much has come in since then."""
    async with conn.cursor(row_factory=class_row(Quarantine)) as cursor:
        found = await (await cursor.execute(QUARANTINE, {"tenant_id": tenant_id, "since": since})).fetchone()
    assert found is not None  # one row of sub-selects
    return found


@dataclass(frozen=True, slots=True)
class Outreach:
    """What waits for a person on the CRM side."""

    dead: int  # messages that no CRM took
    parked: int  # alarm notices that could not be worked
    disabled: list[str]  # endpoints


OUTREACH: Final[LiteralString] = """
SELECT (SELECT count(*) FROM outbox_message WHERE tenant_id = %(tenant_id)s AND state = 'dead') AS dead,
       (SELECT count(*) FROM inbox WHERE tenant_id = %(tenant_id)s AND state = 'parked') AS parked,
       (SELECT coalesce(array_agg(endpoint ORDER BY endpoint), '{}') FROM endpoint_state
         WHERE tenant_id = %(tenant_id)s AND disabled_at IS NOT NULL) AS disabled
"""


async def outreach_state(conn: Connection, tenant_id: str) -> Outreach:
    """Dead letters, parked notices, and endpoints that are told nothing any more."""
    async with conn.cursor(row_factory=class_row(Outreach)) as cursor:
        found = await (await cursor.execute(OUTREACH, {"tenant_id": tenant_id})).fetchone()
    assert found is not None  # one row of sub-selects
    return found
