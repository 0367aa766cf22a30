"""What is known of CRMs' records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from crm_sync.adapters.contract import RecordChange

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A case that a CRM has a record of."""

    case_id: str
    seen_status: str | None
    seen_outcome: str | None
    is_quiet: bool  # nothing is on its way to that record, or it waits for a person
    put_as: Sequence[str]  # in which words we have put it ourselves, and nobody has moved it since
    is_reopening: bool  # we are just opening it again
    external_id: str  # what it calls the case's record


_FIND: Final[LiteralString] = """
SELECT x.case_id, x.seen_status, x.seen_outcome,
       NOT EXISTS (SELECT FROM outbox_stream s
                    WHERE (s.tenant_id, s.endpoint, s.stream_key) = (x.tenant_id, x.endpoint, x.case_id)
                      AND s.head_seq < s.next_seq AND s.state = 'live'),
       x.put_as,
       EXISTS (SELECT FROM outbox_stream s JOIN outbox_message m ON m.stream_id = s.stream_id AND m.seq = s.head_seq
                WHERE (s.tenant_id, s.endpoint, s.stream_key) = (x.tenant_id, x.endpoint, x.case_id)
                  AND s.leased_until IS NOT NULL AND m.type = 'case.updated'
                  AND convert_from(m.body, 'UTF8')::jsonb -> 'data' ->> 'change' = 'reopened'),
       x.external_id
  FROM external_ref x
 WHERE x.tenant_id = %(tenant_id)s AND x.endpoint = %(endpoint)s
   AND (x.case_id = %(case_id)s OR x.external_id = %(external_id)s)
 ORDER BY x.case_id = %(case_id)s DESC, x.recorded_at DESC
 LIMIT 1
"""


async def find(conn: Connection, tenant_id: str, endpoint: str, change: RecordChange) -> Known | None:
    """The case that a record belongs to: by the case's id, else by what the CRM calls the record.

    All of it in one statement, the outbox's part too: what is on its way and what has been put must be of one moment,
    or our own word, settled in between, is taken for an agent's.
    """
    values = {
        "tenant_id": tenant_id,
        "endpoint": endpoint,
        "case_id": change.case_id or "",
        "external_id": change.external_id or "",
    }
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_FIND, values)
        row = await cursor.fetchone()
    return None if row is None else Known(*row)


_NOTE: Final[LiteralString] = """
UPDATE external_ref SET seen_status = %s, seen_outcome = %s, put_as = CASE WHEN %s THEN put_as ELSE '{}' END
 WHERE (tenant_id, endpoint, case_id) = (%s, %s, %s)
"""


async def note_seen(
    conn: Connection, tenant_id: str, endpoint: str, case_id: str, change: RecordChange, *, is_own: bool = False
) -> None:
    """Remember how a record was last seen, and whether it stands there by our own doing."""
    await conn.execute(_NOTE, [change.status, change.outcome, is_own, tenant_id, endpoint, case_id])


_ASKED_UNTIL: Final[LiteralString] = """
SELECT extract(epoch FROM asked_until)::float8 FROM record_poll WHERE (tenant_id, endpoint) = (%s, %s)
"""


async def asked_until_s(conn: Connection, tenant_id: str, endpoint: str) -> float | None:
    """Up to when an endpoint was asked for changes; None for never."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_ASKED_UNTIL, [tenant_id, endpoint])
        row = await cursor.fetchone()
    return None if row is None else float(row[0])


_NOTE_ASKED: Final[LiteralString] = """
INSERT INTO record_poll (tenant_id, endpoint, asked_until) VALUES (%s, %s, to_timestamp(%s))
ON CONFLICT (tenant_id, endpoint) DO UPDATE SET asked_until = excluded.asked_until
"""


async def note_asked(conn: Connection, tenant_id: str, endpoint: str, until_s: float) -> None:
    """Remember up to when an endpoint was asked."""
    await conn.execute(_NOTE_ASKED, [tenant_id, endpoint, until_s])


@dataclass(frozen=True, slots=True)
class Told:
    """A case that an endpoint was told of."""

    case_id: str
    external_id: str | None


_LIST_TOLD: Final[LiteralString] = """
SELECT c.case_id, x.external_id
  FROM service_case c
  JOIN case_endpoint e ON e.case_id = c.case_id AND e.endpoint = %(endpoint)s AND e.state = 'announced'
  LEFT JOIN external_ref x ON (x.tenant_id, x.endpoint, x.case_id) = (c.tenant_id, e.endpoint, c.case_id)
 WHERE c.tenant_id = %(tenant_id)s
   AND (c.closed_at IS NULL OR c.closed_at >= to_timestamp(%(since_s)s))
   AND EXISTS (SELECT FROM outbox_stream s
                WHERE (s.tenant_id, s.endpoint, s.stream_key) = (c.tenant_id, e.endpoint, c.case_id)
                  AND s.head_seq = s.next_seq)
 ORDER BY c.number
"""


async def list_told(conn: Connection, tenant_id: str, endpoint: str, since_s: float) -> list[Told]:
    """Cases that live, or ended since an instant, of which an endpoint has been told everything."""
    values = {"tenant_id": tenant_id, "endpoint": endpoint, "since_s": since_s}
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_LIST_TOLD, values)
        return [Told(*row) for row in await cursor.fetchall()]


_NOTE_FOUND: Final[LiteralString] = """
INSERT INTO record_found AS f (tenant_id, endpoint, hour, found)
VALUES (%s, %s, date_trunc('hour', to_timestamp(%s)), %s)
ON CONFLICT (tenant_id, endpoint, hour) DO UPDATE SET found = f.found + excluded.found
"""

_FORGET_FOUND: Final[LiteralString] = """
DELETE FROM record_found WHERE (tenant_id, endpoint) = (%s, %s) AND hour < to_timestamp(%s)
"""

KEEP_FOUND_S: Final = 7 * 86_400.0


async def note_found(conn: Connection, tenant_id: str, endpoint: str, found: int, now_s: float) -> None:
    """Count what polling found that no hook had told; a week of it is kept."""
    await conn.execute(_NOTE_FOUND, [tenant_id, endpoint, now_s, found])
    await conn.execute(_FORGET_FOUND, [tenant_id, endpoint, now_s - KEEP_FOUND_S])


_COUNT_CHANGES: Final[LiteralString] = """
SELECT (SELECT coalesce(sum(found), 0)::int FROM record_found
         WHERE (tenant_id, endpoint) = (%(tenant_id)s, %(endpoint)s) AND hour >= to_timestamp(%(since_s)s)),
       (SELECT count(*)::int FROM callback_received
         WHERE (tenant_id, endpoint) = (%(tenant_id)s, %(endpoint)s) AND received_at >= to_timestamp(%(since_s)s)
           AND effect LIKE '%%applied%%')
"""


async def count_changes(conn: Connection, tenant_id: str, endpoint: str, since_s: float) -> tuple[int, int]:
    """How many changes polling found, and how many hooks told, since an instant of real time."""
    values = {"tenant_id": tenant_id, "endpoint": endpoint, "since_s": since_s}
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_COUNT_CHANGES, values)
        row = await cursor.fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))
