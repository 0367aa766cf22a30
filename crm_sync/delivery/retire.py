"""Forgets what was delivered long ago."""

from datetime import datetime
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

Connection = AsyncConnection[TupleRow]

# What is dead waits for a person, and what is pending for its turn.
COUNT_DELIVERED: LiteralString = """
SELECT (SELECT count(*) FROM outbox_message WHERE state IN ('delivered', 'withdrawn') AND settled_at < %(before)s)
     + (SELECT count(*) FROM callback_received WHERE received_at < least(%(before)s, now() - interval '7 days'))
"""


async def count_delivered(conn: Connection, before: datetime) -> int:
    """Messages delivered or withdrawn, and callbacks received, before a moment."""
    row = await (await conn.execute(COUNT_DELIVERED, {"before": before})).fetchone()
    return int(row[0]) if row else 0


FIND_DELIVERED: LiteralString = """
SELECT message_id FROM outbox_message WHERE state IN ('delivered', 'withdrawn') AND settled_at < %s
ORDER BY number LIMIT %s FOR UPDATE SKIP LOCKED
"""
DELETE_ATTEMPTS: LiteralString = "DELETE FROM delivery_attempt WHERE message_id = ANY (%s)"
DELETE_MESSAGES: LiteralString = "DELETE FROM outbox_message WHERE message_id = ANY (%s)"


async def delete_delivered(conn: Connection, before: datetime, limit: int) -> int:
    """Delete some messages delivered or withdrawn before a moment, with their attempts; how many messages."""
    found = [row[0] for row in await (await conn.execute(FIND_DELIVERED, (before, limit))).fetchall()]
    await conn.execute(DELETE_ATTEMPTS, (found,))
    await conn.execute(DELETE_MESSAGES, (found,))
    return len(found)


DELETE_CALLBACKS: LiteralString = """
DELETE FROM callback_received WHERE (tenant_id, endpoint, webhook_id) IN (
    SELECT tenant_id, endpoint, webhook_id FROM callback_received
     WHERE received_at < least(%s, now() - interval '7 days') LIMIT %s)
"""  # whoever repeats a callback within a week must be recognised, however little is kept


async def delete_callbacks(conn: Connection, before: datetime, limit: int) -> int:
    """Delete some callbacks received before a moment; how many. One told again after that takes effect again."""
    return (await conn.execute(DELETE_CALLBACKS, (before, limit))).rowcount
