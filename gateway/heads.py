"""How far the stored readings of devices go, by their own times."""

from collections.abc import Iterable, Sequence
from typing import LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

Connection = AsyncConnection[TupleRow]

FIND_HEADS: LiteralString = """
SELECT wanted.device_id, extract(epoch FROM head.ts)::double precision
FROM unnest(%s::text[]) AS wanted (device_id)
CROSS JOIN LATERAL (SELECT ts FROM {table} t WHERE t.device_id = wanted.device_id ORDER BY ts DESC LIMIT 1) AS head
"""


async def find_heads(conn: Connection, device_ids: Sequence[str], tables: Iterable[str]) -> dict[str, float]:
    """The newest device time stored for each device, epoch seconds."""
    heads: dict[str, float] = {}
    statements = [sql.SQL(FIND_HEADS).format(table=sql.Identifier(table)) for table in tables]
    # All are asked before the first answer is waited for.
    for found in [await conn.execute(statement, (list(device_ids),)) for statement in statements]:
        for device_id, head_s in await found.fetchall():
            heads[device_id] = max(head_s, heads.get(device_id, head_s))
    return heads


TABLES: LiteralString = "SELECT table_name FROM reading_table"


async def find_heads_anywhere(conn: Connection, device_ids: Sequence[str]) -> dict[str, float]:
    """The same for who does not know the tables: in whichever model's each device is."""
    tables = [str(table) for (table,) in await (await conn.execute(TABLES)).fetchall()]
    return await find_heads(conn, device_ids, tables)
