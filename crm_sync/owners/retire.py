"""Forgets what owners and others said long ago, and what nothing depends on any more."""

from datetime import datetime
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

Connection = AsyncConnection[TupleRow]

# An open ticket and a hold that lasts still keep somebody quiet, however long ago they began.
COUNT_SAID: LiteralString = """
SELECT (SELECT count(*) FROM owner_contact WHERE contacted_at < %(before)s)
     + (SELECT count(*) FROM human_case WHERE closed_at < %(before)s)
     + (SELECT count(*) FROM owner_answer WHERE greatest(answered_at, expires_at) < %(before)s)
     + (SELECT count(*) FROM owner_hold WHERE least(released_at, until_at) < %(before)s)
"""


async def count_said(conn: Connection, before: datetime) -> int:
    """Contacts made, tickets closed, answers given and holds ended before a moment."""
    row = await (await conn.execute(COUNT_SAID, {"before": before})).fetchone()
    return int(row[0]) if row else 0


DELETE_CONTACTS: LiteralString = """
DELETE FROM owner_contact WHERE contact_id IN (
    SELECT contact_id FROM owner_contact WHERE contacted_at < %s LIMIT %s)
"""
DELETE_TICKETS: LiteralString = """
DELETE FROM human_case WHERE (tenant_id, endpoint, external_id) IN (
    SELECT tenant_id, endpoint, external_id FROM human_case WHERE closed_at < %s LIMIT %s)
"""
DELETE_ANSWERS: LiteralString = """
DELETE FROM owner_answer WHERE (tenant_id, case_id, expires_at) IN (
    SELECT tenant_id, case_id, expires_at FROM owner_answer WHERE greatest(answered_at, expires_at) < %s LIMIT %s)
"""  # a link that still works must be known to have been answered
DELETE_HOLDS: LiteralString = """
DELETE FROM owner_hold WHERE hold_id IN (
    SELECT hold_id FROM owner_hold WHERE least(released_at, until_at) < %s LIMIT %s)
"""


async def delete_said(conn: Connection, before: datetime, limit: int) -> int:
    """Delete some of each kind; how many in all. More than `limit` of one kind are left for the next time."""
    gone = 0
    for delete in (DELETE_CONTACTS, DELETE_TICKETS, DELETE_ANSWERS, DELETE_HOLDS):
        gone += (await conn.execute(delete, (before, limit))).rowcount
    return gone
