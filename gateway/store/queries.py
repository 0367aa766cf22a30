"""What an ingest transaction writes beside readings: events, status, quarantine, counters, and its own number."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString

import msgspec
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import TupleRow

from gateway.store.rows import EventRow, Fill, QuarantineRow
from gateway.store.times import datetime_of

Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One ingest transaction: when it was judged, and what it came to."""

    batch_seq: int
    kind: Literal["ingest", "timer", "rejudge", "forget", "prior"]
    alive_s: float  # the healthy clock
    now_s: float  # the gateway's clock
    packets: int = 0
    stored: int = 0
    duplicates: int = 0
    filled: int = 0
    quarantined: int = 0
    events: int = 0


PUT_BATCH: LiteralString = """
WITH owned AS (SELECT tenant_id FROM ingest_fence WHERE name = 'ingest' AND fence = %(fence)s FOR UPDATE)
INSERT INTO batch (tenant_id, batch_seq, fence, kind, alive_s, now_s,
                   packets, stored, duplicates, filled, quarantined, events)
SELECT %(tenant_id)s, %(batch_seq)s, %(fence)s, %(kind)s, %(alive_s)s, %(now_s)s,
       %(packets)s, %(stored)s, %(duplicates)s, %(filled)s, %(quarantined)s, %(events)s
FROM owned
"""


async def put_batch(conn: Connection, tenant_id: str, fence: int, row: BatchRow) -> AsyncCursor[TupleRow]:
    """Number the transaction; once that is answered, no row in `rowcount` says that another gateway owns ingest now.

    Takes the lock on the fence that `find_batch` waits for, and must be the last statement before the commit.
    """
    values = {name: getattr(row, name) for name in BatchRow.__slots__}
    return await conn.execute(PUT_BATCH, {"tenant_id": tenant_id, "fence": fence, **values})


LOCK_FENCE: LiteralString = "SELECT fence FROM ingest_fence WHERE name = 'ingest' FOR UPDATE"
FIND_BATCH: LiteralString = "SELECT fence FROM batch WHERE batch_seq = %s"


async def find_batch(conn: Connection, batch_seq: int) -> bool:
    """Whether a batch has been committed; waits for a transaction that may still be committing it."""
    await conn.execute(LOCK_FENCE)
    return await (await conn.execute(FIND_BATCH, (batch_seq,))).fetchone() is not None


LAST_BATCH: LiteralString = """
SELECT greatest(coalesce((SELECT max(batch_seq) FROM batch), 0),
                coalesce((SELECT max(batch_seq) FROM detector_checkpoint), 0)),
       greatest(coalesce((SELECT max(alive_s) FROM batch), 0),
                coalesce((SELECT max(healthy_s) FROM detector_checkpoint), 0))
"""


async def last_batch(conn: Connection) -> tuple[int, float]:
    """The greatest batch number given so far, and how far the healthy clock has come."""
    row = await (await conn.execute(LAST_BATCH)).fetchone()
    return (int(row[0]), float(row[1])) if row else (0, 0.0)


PUT_EVENTS: LiteralString = """
INSERT INTO device_event (tenant_id, device_id, ts, code, seq, data, received_at, batch_seq, batch_row)
SELECT tenant_id, device_id, ts, code, seq, data::jsonb, received_at, %(batch_seq)s, batch_row
FROM unnest(%(tenant_ids)s::text[], %(device_ids)s::text[], %(ts)s::timestamptz[], %(codes)s::text[],
            %(seqs)s::bigint[], %(data)s::text[], %(received_at)s::timestamptz[], %(rows)s::integer[])
     AS told (tenant_id, device_id, ts, code, seq, data, received_at, batch_row)
ON CONFLICT ON CONSTRAINT device_event_identity DO NOTHING
RETURNING batch_row
"""
PUT_STATUSES: LiteralString = """
INSERT INTO device_status (tenant_id, device_id, ts, code, seq, data, received_at, batch_seq, batch_row)
SELECT tenant_id, device_id, ts, code, seq, data::jsonb, received_at, %(batch_seq)s, batch_row
FROM unnest(%(tenant_ids)s::text[], %(device_ids)s::text[], %(ts)s::timestamptz[], %(codes)s::text[],
            %(seqs)s::bigint[], %(data)s::text[], %(received_at)s::timestamptz[], %(rows)s::integer[])
     AS told (tenant_id, device_id, ts, code, seq, data, received_at, batch_row)
ON CONFLICT ON CONSTRAINT device_status_identity DO NOTHING
RETURNING batch_row
"""


async def put_events(conn: Connection, events: Sequence[EventRow], batch_seq: int) -> set[int]:
    """Store events; the `row` of each that is new."""
    return await _put_told(conn, PUT_EVENTS, events, batch_seq)


async def put_statuses(conn: Connection, statuses: Sequence[EventRow], batch_seq: int) -> set[int]:
    """Store births and wills; the `row` of each that is new."""
    return await _put_told(conn, PUT_STATUSES, statuses, batch_seq)


async def _put_told(conn: Connection, statement: LiteralString, told: Sequence[EventRow], batch_seq: int) -> set[int]:
    if not told:
        return set()
    values = {
        "batch_seq": batch_seq,
        "tenant_ids": [row.tenant_id for row in told],
        "device_ids": [row.device_id for row in told],
        "ts": [datetime_of(row.ts_us) for row in told],
        "codes": [row.code for row in told],
        "seqs": [row.seq for row in told],
        "data": [row.data for row in told],
        "received_at": [datetime_of(row.received_us) for row in told],
        "rows": [row.row for row in told],
    }
    return {row[0] for row in await (await conn.execute(statement, values)).fetchall()}


PUT_QUARANTINE: LiteralString = """
INSERT INTO quarantine AS q (tenant_id, device_id, topic, codec, route, reason, detail, raw, digest,
                             first_received_at, last_received_at, seen, retained, counted_from)
SELECT tenant_id, device_id, topic, codec, route, reason, detail, raw, digest, first_at, last_at,
       CASE WHEN came > 0 THEN came
            WHEN EXISTS (SELECT FROM quarantine k WHERE (k.device_id, k.topic, k.digest)
                                                      = (told.device_id, told.topic, told.digest)) THEN 0
            ELSE 1 END, -- a part that a replay brought to light
       retained, counted_from
FROM unnest(%(tenant_ids)s::text[], %(device_ids)s::text[], %(topics)s::text[], %(codecs)s::text[],
            %(routes)s::smallint[], %(reasons)s::text[], %(details)s::text[], %(raws)s::bytea[], %(digests)s::bytea[],
            %(first_at)s::timestamptz[], %(last_at)s::timestamptz[], %(came)s::integer[],
            %(retained)s::boolean[], %(counted_from)s::timestamptz[])
     AS told (tenant_id, device_id, topic, codec, route, reason, detail, raw, digest, first_at, last_at, came, retained,
              counted_from)
ON CONFLICT ON CONSTRAINT quarantine_identity DO UPDATE
SET seen = q.seen + excluded.seen, last_received_at = greatest(q.last_received_at, excluded.last_received_at),
    reason = excluded.reason, detail = excluded.detail, retained = q.retained AND excluded.retained,
    replayed_at = NULL, outcome = NULL -- it came in again; a replay's outcome is written after this
"""


async def put_quarantine(conn: Connection, refused: Sequence[QuarantineRow]) -> None:
    """Keep what could not be stored; the same bytes on the same topic are kept once, and counted as often as they came.

    What a replay has brought back did not come again.
    """
    if not refused:
        return
    kept: dict[tuple[str, str, bytes], tuple[QuarantineRow, datetime, int]] = {}
    for row in refused:
        key = (row.device_id, row.topic, hashlib.sha256(row.raw).digest())
        first = kept.get(key)
        came = (0 if first is None else first[2]) + (not row.is_replay)
        kept[key] = (row if first is None else first[0], datetime_of(row.received_us), came)
    # In the order of their identity, so that two writers never wait for each other's rows in a circle.
    ordered = sorted(kept.items(), key=lambda item: item[0])
    rows = [row for _, (row, _, _) in ordered]
    values = {
        "tenant_ids": [row.tenant_id for row in rows],
        "device_ids": [row.device_id for row in rows],
        "topics": [row.topic for row in rows],
        "codecs": [row.codec for row in rows],
        "routes": [row.route for row in rows],
        "reasons": [str(row.reason) for row in rows],
        "details": [row.detail for row in rows],
        "raws": [row.raw for row in rows],
        "digests": [digest for (_, _, digest), _ in ordered],
        "first_at": [datetime_of(row.received_us) for row in rows],
        "last_at": [last_at for _, (_, last_at, _) in ordered],
        "came": [came for _, (_, _, came) in ordered],
        "retained": [row.retained for row in rows],
        "counted_from": [None if row.counted_from_us is None else datetime_of(row.counted_from_us) for row in rows],
    }
    await conn.execute(PUT_QUARANTINE, values)


PUT_FILLS: LiteralString = """
INSERT INTO reading_fill (tenant_id, batch_seq, batch_row, model, device_id, ts, metrics)
SELECT %(tenant_id)s, %(batch_seq)s, batch_row, %(model)s, device_id, ts, metrics::jsonb
FROM unnest(%(rows)s::integer[], %(device_ids)s::text[], %(ts)s::timestamptz[], %(metrics)s::text[])
     AS told (batch_row, device_id, ts, metrics)
"""


async def put_fills(conn: Connection, tenant_id: str, model: str, fills: Sequence[Fill], batch_seq: int) -> None:
    """Remember what completed stored readings, and when, for the detectors to be rebuilt from."""
    if fills:
        values = {
            "tenant_id": tenant_id,
            "model": model,
            "batch_seq": batch_seq,
            "rows": [fill.row for fill in fills],
            "device_ids": [fill.device_id for fill in fills],
            "ts": [datetime_of(fill.ts_us) for fill in fills],
            "metrics": [msgspec.json.encode(fill.metrics).decode() for fill in fills],
        }
        await conn.execute(PUT_FILLS, values)


PUT_TIMER_DECISION: LiteralString = """
INSERT INTO timer_decision (tenant_id, batch_seq, alive_s, now_s, changes) VALUES (%s, %s, %s, %s, %s)
"""


async def put_timer_decision(conn: Connection, tenant_id: str, row: BatchRow, changes: int) -> None:
    """Remember a moment at which silences were judged and something came of it."""
    await conn.execute(PUT_TIMER_DECISION, (tenant_id, row.batch_seq, row.alive_s, row.now_s, changes))


ADD_COUNTERS: LiteralString = """
INSERT INTO pipeline_counter AS c (tenant_id, name, value)
SELECT %s, name, value FROM unnest(%s::text[], %s::bigint[]) AS told (name, value)
ON CONFLICT (tenant_id, name) DO UPDATE SET value = c.value + excluded.value
"""


async def add_counters(conn: Connection, tenant_id: str, counts: Mapping[str, int]) -> None:
    """Add to the persistent totals."""
    names = sorted(name for name, count in counts.items() if count)
    if names:
        await conn.execute(ADD_COUNTERS, (tenant_id, names, [counts[name] for name in names]))


ADD_DEVICE_COUNTERS: LiteralString = """
INSERT INTO device_counter AS c (tenant_id, device_id, name, value)
SELECT %s, device_id, name, value FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS told (device_id, name, value)
ON CONFLICT (device_id, name) DO UPDATE SET value = c.value + excluded.value
"""


async def add_device_counters(conn: Connection, tenant_id: str, counts: Counter[tuple[str, str]]) -> None:
    """Add to what is counted per device and name."""
    keys = sorted(counts)
    if keys:
        device_ids, names = [key[0] for key in keys], [key[1] for key in keys]
        await conn.execute(ADD_DEVICE_COUNTERS, (tenant_id, device_ids, names, [counts[key] for key in keys]))
