"""The narrow door through which alarms reach cases: rows written inside the ingest transaction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, LiteralString

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

Connection = AsyncConnection[TupleRow]
AlarmEvent = Literal["raised", "updated", "unknown", "cleared", "retracted"]


@dataclass(frozen=True, slots=True)
class AlarmExplanation:
    """Why an alarm was raised, in words and numbers."""

    text: str
    expected: str
    observed: str
    window_s: float
    evidence: tuple[tuple[float, float], ...] = ()  # (device time in epoch seconds, value)


@dataclass(frozen=True, slots=True)
class AlarmNotice:
    """One thing that happened to one alarm."""

    tenant_id: str
    alarm_id: str
    device_id: str
    watch: str
    kind: str
    metric: str | None
    problem: str
    severity: str
    event: AlarmEvent
    started_at_s: float  # device time; with device and watch it names the episode
    ts_s: float  # device time of the decision
    head_ts_s: float  # newest device time known for that device when this was committed
    recorded_at_s: float  # the gateway's clock
    score: float
    explanation: AlarmExplanation
    incident_id: str | None = None  # of many devices, which it is part of
    hold_until_s: float | None = None  # its case waits so long for what its cohort does; the gateway's clock
    because: str = ""  # why an alarm is retracted that nothing refutes: device_removed, owner_changed
    is_renewed: bool = False  # the CRM side's own, of what it knew: the gateway may have ended the alarm meanwhile


_PUT_ALARMS: Final[LiteralString] = """
INSERT INTO inbox (tenant_id, device_id, alarm_id, event, notice, recorded_at)
VALUES (%s, %s, %s, %s, %s::jsonb, to_timestamp(%s))
ON CONFLICT DO NOTHING
"""


async def put_alarms(conn: Connection, notices: Sequence[AlarmNotice]) -> None:
    """Hand alarm notices over, in the caller's transaction; the order given is the order they are worked in."""
    rows = [
        (
            notice.tenant_id,
            notice.device_id,
            notice.alarm_id,
            notice.event,
            msgspec.json.encode(_storable(notice)).decode(),
            notice.recorded_at_s,
        )
        for notice in notices
    ]
    if rows:
        async with conn.cursor() as cursor:
            await cursor.executemany(_PUT_ALARMS, rows)


def _storable(notice: AlarmNotice) -> AlarmNotice:
    """A notice without what JSON and text columns cannot hold: a strange metric must not fail the batch it is in."""
    explanation = notice.explanation
    return replace(
        notice,
        metric=None if notice.metric is None else notice.metric.replace("\x00", ""),
        score=_finite(notice.score),
        explanation=AlarmExplanation(
            text=explanation.text.replace("\x00", ""),
            expected=explanation.expected.replace("\x00", ""),
            observed=explanation.observed.replace("\x00", ""),
            window_s=_finite(explanation.window_s),
            evidence=tuple(point for point in explanation.evidence if all(map(math.isfinite, point))),
        ),
    )


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A notice that waits; `raw` is decoded by whoever works it, so that an unreadable one harms only itself."""

    inbox_id: int
    device_id: str
    alarm_id: str
    raw: bytes


def decode_notice(raw: bytes) -> AlarmNotice:
    """The notice of a row. Raises msgspec.DecodeError."""
    return msgspec.json.decode(raw, type=AlarmNotice)


_TAKE_TURN: Final[LiteralString] = """
SELECT pg_try_advisory_xact_lock((%s::bigint << 32) | 'inbox'::regclass::oid::bigint)
"""
_WAIT_FOR_TURN: Final[LiteralString] = """
SELECT pg_advisory_xact_lock((%s::bigint << 32) | 'inbox'::regclass::oid::bigint)
"""
_TURN: Final = 0x636C  # "cl"; with the table's oid it names this inbox, in whatever schema it lives


async def take_turn(conn: Connection) -> bool:
    """Become the only one who works the inbox until the transaction ends; False while somebody else is."""
    cursor = await conn.execute(_TAKE_TURN, [_TURN])
    row = await cursor.fetchone()
    return row is not None and row[0] is True


_WAITING: Final[LiteralString] = """
SELECT inbox_id, device_id, alarm_id, notice::text FROM inbox WHERE state = 'pending' ORDER BY inbox_id LIMIT %s
"""


async def waiting(conn: Connection, limit: int) -> list[InboxRow]:
    """The next notices, in order."""
    cursor = await conn.execute(_WAITING, [limit])
    return [InboxRow(inbox_id, device, alarm, text.encode()) async for inbox_id, device, alarm, text in cursor]


_LAST_ENDINGS: Final[LiteralString] = """
SELECT alarm_id, max(inbox_id) FROM inbox
 WHERE state = 'pending' AND event IN ('cleared', 'retracted') AND alarm_id = ANY(%s)
 GROUP BY alarm_id
"""


async def last_endings(conn: Connection, alarm_ids: Sequence[str]) -> dict[str, int]:
    """Of these alarms, those for which an ending waits further down the inbox, and its place."""
    cursor = await conn.execute(_LAST_ENDINGS, [list(alarm_ids)])
    return {alarm_id: inbox_id async for alarm_id, inbox_id in cursor}


_FINISH: Final[LiteralString] = "UPDATE inbox SET state = 'done', processed_at = %s WHERE inbox_id = ANY(%s)"


async def finish(conn: Connection, inbox_ids: Sequence[int], at: datetime) -> None:
    """Mark notices as worked, in the transaction that worked them."""
    await conn.execute(_FINISH, [at, list(inbox_ids)])


_PARK: Final[LiteralString] = "UPDATE inbox SET state = 'parked', error = %s, processed_at = %s WHERE inbox_id = %s"


async def park(conn: Connection, inbox_id: int, error: str, at: datetime) -> None:
    """Set aside a notice that cannot be worked, so that it does not stop those behind it."""
    await conn.execute(_PARK, [error, at, inbox_id])


@dataclass(frozen=True, slots=True)
class ParkedNotice:
    """A notice that could not be worked, and why."""

    inbox_id: int
    device_id: str  # of an incident: the incident's own id
    alarm_id: str
    event: str
    recorded_at: datetime
    parked_at: datetime
    error: str


_PARKED: Final[LiteralString] = """
SELECT inbox_id, device_id, alarm_id, event, recorded_at, processed_at AS parked_at, coalesce(error, '') AS error
  FROM inbox WHERE tenant_id = %s AND state = 'parked' AND inbox_id > %s ORDER BY inbox_id LIMIT %s
"""


async def list_parked(conn: Connection, tenant_id: str, limit: int, after: int = 0) -> list[ParkedNotice]:
    """A tenant's notices that could not be worked, the oldest first, from behind number `after` on."""
    async with conn.cursor(row_factory=class_row(ParkedNotice)) as cursor:
        await cursor.execute(_PARKED, [tenant_id, after, limit])
        return await cursor.fetchall()


@dataclass(frozen=True, slots=True)
class Unparked:
    """What became of parked notices, by number."""

    again: Sequence[int]  # they wait in their place, and are worked again
    over: Sequence[int]  # what they told of has ended since, and that was worked: there is nothing left to do


_LET_OVER_BE: Final[LiteralString] = """
UPDATE inbox AS told SET state = 'done', processed_at = %(at)s
 WHERE tenant_id = %(tenant_id)s AND state = 'parked' AND (%(ids)s::bigint[] IS NULL OR inbox_id = ANY(%(ids)s))
   AND EXISTS (
       SELECT FROM inbox AS ending
        WHERE ending.alarm_id = told.alarm_id AND ending.inbox_id > told.inbox_id AND ending.state = 'done'
          AND ending.event IN ('cleared', 'retracted', 'ended'))
RETURNING inbox_id
"""
_UNPARK: Final[LiteralString] = """
UPDATE inbox SET state = 'pending', error = NULL, processed_at = NULL
 WHERE tenant_id = %(tenant_id)s AND state = 'parked' AND (%(ids)s::bigint[] IS NULL OR inbox_id = ANY(%(ids)s))
RETURNING inbox_id
"""


async def unpark(conn: Connection, tenant_id: str, at: datetime, ids: Sequence[int] | None = None) -> Unparked:
    """Let parked notices be worked again after a fix, all of a tenant or those of these numbers.

    A notice whose alarm has ended since is not: its case would have nobody to close it. For the turn of the inbox it
    waits, and keeps it until the caller's transaction ends: an ending may be under way.
    """
    await conn.execute(_WAIT_FOR_TURN, [_TURN])
    inputs = {"tenant_id": tenant_id, "at": at, "ids": None if ids is None else list(ids)}
    over = [row[0] async for row in await conn.execute(_LET_OVER_BE, inputs)]
    again = [row[0] async for row in await conn.execute(_UNPARK, inputs)]
    return Unparked(sorted(again), sorted(over))


_PRUNE: Final[LiteralString] = "DELETE FROM inbox WHERE state = 'done' AND processed_at < %s"


async def prune(conn: Connection, before: datetime) -> None:
    """Forget notices that were worked before this moment; what came of them is kept by their cases."""
    await conn.execute(_PRUNE, [before])
