"""Quarantine as people and the replay see it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row, dict_row

Connection = AsyncConnection[TupleRow]

_SPECIAL: Final = re.compile(r"[][.\\*+?(){}|^$]")
_LEVELS: Final[Mapping[str, str]] = {"+": "[^/]*", "#": "\0"}  # NUL is in no topic


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
class Requested:
    """What a replay takes of an entry."""

    quarantine_id: int
    device_id: str
    topic: str
    codec: str
    route: int
    raw: bytes
    first_received_at: datetime
    retained: bool  # by a broker: nobody knows of when it is
    counted_from: datetime | None  # the time of its first reading without one, where that is settled


class Stage(StrEnum):
    """How far an entry has come."""

    OPEN = "open"  # no replay has brought it in
    REPLAYED = "replayed"  # one has
    WAITING = "waiting"  # its replay is asked for


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries; None and an empty tuple stand for all."""

    tenant_id: str | None = None
    ids: tuple[int, ...] = ()
    device_id: str | None = None
    reason: str | None = None
    topic: str | None = None  # MQTT's wildcards may stand in it
    since: datetime | None = None  # last received at or after this
    until: datetime | None = None  # and before this
    stage: Stage | None = None
    after: int = 0  # entries with a greater id
    before: int | None = None  # entries with a smaller id
    limit: int | None = None


# Alike for a list and for a replay: what one shows, the other takes.
FILTER: LiteralString = """
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (cardinality(%(ids)s::bigint[]) = 0 OR quarantine_id = ANY (%(ids)s::bigint[]))
  AND (%(device_id)s::text IS NULL OR device_id = %(device_id)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(topic)s::text IS NULL OR topic ~ %(topic)s)
  AND (%(since)s::timestamptz IS NULL OR last_received_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR last_received_at < %(until)s)
  AND CASE %(stage)s::text WHEN 'open' THEN outcome IS NULL OR outcome = 'quarantined'
                           WHEN 'replayed' THEN outcome <> 'quarantined'
                           WHEN 'waiting' THEN replay_requested_at IS NOT NULL ELSE true END
  AND quarantine_id > %(after)s AND (%(before)s::bigint IS NULL OR quarantine_id < %(before)s)
"""
ENTRIES: LiteralString = """
SELECT quarantine_id, device_id, topic, codec, route, reason, detail, raw, encode(digest, 'hex') AS digest,
       first_received_at, last_received_at, seen, replay_requested_at, replayed_at, outcome
FROM quarantine
"""
LIST_ENTRIES: LiteralString = ENTRIES + FILTER + "ORDER BY quarantine_id LIMIT %(limit)s"


async def list_entries(conn: Connection, wanted: Wanted) -> list[Entry]:
    """Entries in the order in which they came in."""
    async with conn.cursor(row_factory=class_row(Entry)) as cursor:
        return await (await cursor.execute(LIST_ENTRIES, _values(wanted))).fetchall()


SUMMARIES: LiteralString = """
SELECT quarantine_id, device_id, topic, codec, reason, detail, encode(digest, 'hex') AS digest, length(raw) AS bytes,
       first_received_at, last_received_at, seen, replay_requested_at, replayed_at, outcome
FROM quarantine
"""
LIST_NEWEST: LiteralString = SUMMARIES + FILTER + "ORDER BY quarantine_id DESC LIMIT %(limit)s"


async def list_newest(conn: Connection, wanted: Wanted) -> list[dict[str, object]]:
    """Entries, the newest first, with the size of their bytes instead of these."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(LIST_NEWEST, _values(wanted))).fetchall()


REQUEST: LiteralString = """
UPDATE quarantine SET replay_requested_at = clock_timestamp(), replayed_at = NULL, outcome = NULL
"""
REQUEST_REPLAY: LiteralString = REQUEST + FILTER + "RETURNING quarantine_id"


async def request_replay(conn: Connection, wanted: Wanted) -> list[int]:
    """Ask the gateway to take entries through the pipeline again; their ids."""
    rows = await (await conn.execute(REQUEST_REPLAY, _values(wanted))).fetchall()
    return sorted(row[0] for row in rows)


COUNT_WAITING: LiteralString = """
SELECT count(*) FROM quarantine WHERE quarantine_id = ANY (%s::bigint[]) AND replay_requested_at IS NOT NULL
"""


async def count_waiting(conn: Connection, ids: Sequence[int]) -> int:
    """How many of these are still to be replayed."""
    row = await (await conn.execute(COUNT_WAITING, (list(ids),))).fetchone()
    return int(row[0]) if row else 0


def _values(wanted: Wanted) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(wanted, name) for name in Wanted.__slots__}
    topic = None if wanted.topic is None else pattern_of(wanted.topic)
    return {**values, "ids": list(wanted.ids), "topic": topic, "stage": wanted.stage and str(wanted.stage)}


def pattern_of(topic_filter: str) -> str:
    """A regular expression of PostgreSQL for an MQTT topic filter."""
    levels = [_LEVELS.get(level, _SPECIAL.sub(r"\\\g<0>", level)) for level in topic_filter.split("/")]
    return f"^{'/'.join(levels)}$".replace("/\0", "(/.*)?").replace("\0", ".*")


STILL_REQUESTED: LiteralString = """
WHERE replay_requested_at IS NOT NULL AND quarantine_id <> ALL (%s::bigint[])
ORDER BY quarantine_id LIMIT %s
"""
REQUESTED: LiteralString = """
SELECT quarantine_id, device_id, topic, codec, route, raw, first_received_at, retained, counted_from FROM quarantine
"""
LIST_REQUESTED: LiteralString = REQUESTED + STILL_REQUESTED


async def list_requested(conn: Connection, but: Sequence[int], limit: int) -> list[Requested]:
    """Entries whose replay was asked for, other than those on their way already."""
    async with conn.cursor(row_factory=class_row(Requested)) as cursor:
        return await (await cursor.execute(LIST_REQUESTED, (list(but), limit))).fetchall()


FINISH_REPLAYS: LiteralString = """
UPDATE quarantine q SET replay_requested_at = NULL, replayed_at = clock_timestamp(), outcome = told.outcome
FROM unnest(%s::bigint[], %s::text[]) AS told (quarantine_id, outcome)
WHERE q.quarantine_id = told.quarantine_id
"""


async def finish_replays(conn: Connection, outcomes: Sequence[tuple[int, str]]) -> None:
    """Write down what replays came to."""
    await conn.execute(FINISH_REPLAYS, ([one for one, _ in outcomes], [outcome for _, outcome in outcomes]))
