"""Quarantine as people and the replay see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies in quarantine."""

    quarantine_id: int
    device_id: str
    topic: str
    codec: str
    route: int
    reason: str
    detail: str
    raw: bytes
    digest: str  # SHA-256 of the raw bytes, hexadecimal
    first_received_at: datetime
    last_received_at: datetime
    seen: int
    replay_requested_at: datetime | None
    replayed_at: datetime | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries; None and an empty tuple stand for all."""

    tenant_id: str | None = None
    ids: tuple[int, ...] = ()
    device_id: str | None = None
    reason: str | None = None
    is_open: bool = False  # only those that no replay has brought in
    after: int = 0  # entries with a greater id
    limit: int | None = None


LIST_ENTRIES: LiteralString = """
SELECT quarantine_id, device_id, topic, codec, route, reason, detail, raw, encode(digest, 'hex') AS digest,
       first_received_at, last_received_at, seen, replay_requested_at, replayed_at, outcome
FROM quarantine
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (cardinality(%(ids)s::bigint[]) = 0 OR quarantine_id = ANY (%(ids)s::bigint[]))
  AND (%(device_id)s::text IS NULL OR device_id = %(device_id)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (NOT %(is_open)s OR outcome IS NULL OR outcome = 'quarantined')
  AND quarantine_id > %(after)s
ORDER BY quarantine_id
LIMIT %(limit)s
"""


async def list_entries(conn: Connection, wanted: Wanted) -> list[Entry]:
    """Entries in the order in which they came in."""
    async with conn.cursor(row_factory=class_row(Entry)) as cursor:
        return await (await cursor.execute(LIST_ENTRIES, _values(wanted))).fetchall()


REQUEST_REPLAY: LiteralString = """
UPDATE quarantine SET replay_requested_at = clock_timestamp(), replayed_at = NULL, outcome = NULL
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (cardinality(%(ids)s::bigint[]) = 0 OR quarantine_id = ANY (%(ids)s::bigint[]))
  AND (%(device_id)s::text IS NULL OR device_id = %(device_id)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (NOT %(is_open)s OR outcome IS NULL OR outcome = 'quarantined')
  AND quarantine_id > %(after)s
RETURNING quarantine_id
"""


async def request_replay(conn: Connection, wanted: Wanted) -> list[int]:
    """Ask the gateway to take entries through the pipeline again; their ids."""
    rows = await (await conn.execute(REQUEST_REPLAY, _values(wanted))).fetchall()
    return sorted(row[0] for row in rows)


def _values(wanted: Wanted) -> dict[str, object]:
    return {
        "tenant_id": wanted.tenant_id,
        "ids": list(wanted.ids),
        "device_id": wanted.device_id,
        "reason": wanted.reason,
        "is_open": wanted.is_open,
        "after": wanted.after,
        "limit": wanted.limit,
    }


LIST_REQUESTED: LiteralString = """
SELECT quarantine_id, device_id, topic, codec, route, reason, detail, raw, encode(digest, 'hex') AS digest,
       first_received_at, last_received_at, seen, replay_requested_at, replayed_at, outcome
FROM quarantine
WHERE replay_requested_at IS NOT NULL AND quarantine_id <> ALL (%s::bigint[])
ORDER BY quarantine_id LIMIT %s
"""


async def list_requested(conn: Connection, but: Sequence[int], limit: int) -> list[Entry]:
    """Entries whose replay was asked for, other than those on their way already."""
    async with conn.cursor(row_factory=class_row(Entry)) as cursor:
        return await (await cursor.execute(LIST_REQUESTED, (list(but), limit))).fetchall()


FINISH_REPLAYS: LiteralString = """
UPDATE quarantine q SET replay_requested_at = NULL, replayed_at = clock_timestamp(), outcome = told.outcome
FROM unnest(%s::bigint[], %s::text[]) AS told (quarantine_id, outcome)
WHERE q.quarantine_id = told.quarantine_id
"""


async def finish_replays(conn: Connection, outcomes: Sequence[tuple[int, str]]) -> None:
    """Write down what replays came to."""
    await conn.execute(FINISH_REPLAYS, ([one for one, _ in outcomes], [outcome for _, outcome in outcomes]))
